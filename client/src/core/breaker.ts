/**
 * Circuit breaker: no attempts for a while once many in a row have failed. It only counts and says whether to try; it never tries
 * and sets no timer.
 */

/** `closed`: attempts are made. `open`: none. `half-open`: attempts are made, and one failure opens it again. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** When a breaker opens and closes. */
export interface BreakerOptions {
  /** Failures in a row that open it. @default 5 */
  readonly failures?: number;
  /** How long it stays open, ms. @default 60000 */
  readonly timeout?: number;
  /** Successes in a row that close it once it is half-open. @default 3 */
  readonly successes?: number;
  /** Time in ms. */
  readonly now: () => number;
}

/** Whether attempts are worth making. */
export interface Breaker {
  readonly state: BreakerState;
  /** Whether an attempt may be made now. */
  allows(): boolean;
  /** An attempt succeeded, or what it opened gave a sign of life. Ignored while open: it belongs to an attempt of before. */
  succeeded(): void;
  /** An attempt failed. */
  failed(): void;
  /** In how many ms an attempt may be made; 0: now. */
  retryIn(): number;
}

/** A closed breaker. */
export function createBreaker({ failures = 5, timeout = 60_000, successes = 3, now }: BreakerOptions): Breaker {
  /** In a row: failures while closed, successes while half-open. */
  let count = 0;
  /** When it opened; undefined: closed. */
  let opened: number | undefined;
  const retryIn = () => (opened === undefined ? 0 : Math.max(0, opened + timeout - now()));
  const state = (): BreakerState => (opened === undefined ? 'closed' : retryIn() > 0 ? 'open' : 'half-open');
  return {
    get state() {
      return state();
    },
    allows: () => state() !== 'open',
    succeeded() {
      const was = state();
      if (was === 'closed') count = 0;
      else if (was === 'half-open' && ++count >= successes) {
        opened = undefined;
        count = 0;
      }
    },
    failed() {
      const was = state();
      // While open its end stays where it is: late failures of attempts from before would put it off again and again.
      if (was === 'half-open' || (was === 'closed' && ++count >= failures)) {
        opened = now();
        count = 0;
      }
    },
    retryIn,
  };
}
