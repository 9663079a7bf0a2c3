/**
 * Limiter: how fast a client may send, as a token bucket that a server can slow down. It says yes, no and when; it never queues
 * and sets no timer.
 */

/** The size of the bucket. */
export interface LimiterOptions {
  /** Messages that may be sent at once. @default 1000 */
  readonly capacity?: number;
  /** Messages per second in the long run. @default 100 */
  readonly refill?: number;
  /** Time in ms. */
  readonly now: () => number;
}

/**
 * What a server says about the rate: the payload of a `rate_limit_warning`, or of an `error` with code `RATE_LIMITED`, as it came.
 * Members that are no number ≥ 0 count as absent.
 */
export interface RateWarning {
  /** Seconds to wait. @default 1 */
  readonly retry_after?: unknown;
  /** The same in another spelling that servers use. */
  readonly retryAfter?: unknown;
  /** The server's own capacity, messages. */
  readonly limit?: unknown;
  /** Messages the server would still take; 0 or absent: nothing is sent until the wait is over. */
  readonly remaining?: unknown;
}

/** A token bucket. */
export interface Limiter {
  /** Take one message's token; false: there is none, send later. */
  take(): boolean;
  /**
   * The server's word. Halves the rate (down to a sixteenth), holds no more tokens than the server does, and stops altogether for the
   * time asked for (at most 300 s) where nothing remains. The rate grows back by a tenth of the full one each second.
   */
  warn(warning?: RateWarning | null): void;
  /** In how many ms {@link take} says yes, at the latest; 0: now. */
  retryIn(): number;
}

const number = (value: unknown): number | undefined => (typeof value === 'number' && value >= 0 ? value : undefined);

/** A full bucket. */
export function createLimiter({ capacity = 1_000, refill = 100, now }: LimiterOptions): Limiter {
  let tokens = capacity;
  /** Tokens per second at present. */
  let rate = refill;
  let at = now();
  /** Nothing is sent before. */
  let until = at;

  const fill = () => {
    const time = now();
    const seconds = (time - at) / 1_000;
    const grown = Math.min(refill, rate + (seconds * refill) / 10);
    // The mean of both rates: it has grown evenly between the two. Where it reached the full one it is a little less than due.
    tokens = Math.min(capacity, tokens + (seconds * (rate + grown)) / 2);
    rate = grown;
    at = time;
    return time;
  };

  const retryIn = () => {
    const time = fill();
    return Math.max(0, until - time, Math.ceil(((1 - tokens) / rate) * 1_000));
  };

  return {
    take() {
      if (retryIn() > 0) return false;
      tokens--;
      return true;
    },
    warn(warning) {
      const time = fill();
      const { retry_after, retryAfter, limit, remaining } = warning ?? {};
      const left = number(remaining) ?? 0;
      capacity = Math.min(capacity, Math.max(1, number(limit) ?? capacity));
      tokens = Math.min(tokens, capacity, left);
      rate = Math.max(rate / 2, refill / 16);
      if (left < 1) until = Math.max(until, time + Math.min(300, number(retry_after) ?? number(retryAfter) ?? 1) * 1_000);
    },
    retryIn,
  };
}
