/**
 * Quality: how good a network is, by the pings that were answered and the ones that were not. It measures; it never pings.
 */

/** A grade: the worst of what latency (ms), jitter (ms) and loss (%) allow; see {@link createQuality}. `unknown`: no ping yet. */
export type Quality = 'excellent' | 'good' | 'fair' | 'poor' | 'unknown';

/** What was measured. */
export interface QualityReport {
  readonly quality: Quality;
  /** The mean round trip of the last 10 answers, ms; null: there is none. */
  readonly latency: number | null;
  /** The mean deviation of round trips as RFC 3550 §6.4.1 smooths it (by 1/16), ms; null: there are less than two answers. */
  readonly jitter: number | null;
  /** Pings that were not answered, % of the window. */
  readonly loss: number;
  /** What would help, a sentence each; empty: nothing is wrong. */
  readonly suggestions: string[];
}

/** Measures a network. */
export interface QualityMeter {
  /** A ping was answered after so many ms. What is no number ≥ 0 is ignored. */
  sample(rttMs: number): void;
  /** A ping was not answered. */
  lost(): void;
  /** What the window holds. */
  read(): QualityReport;
}

/** Pings that count: the last so many, none of them older than half an hour. */
const WINDOW = 100;
const AGE = 1_800_000;
const RECENT = 10;

/** Limits of `good`, which suggestions go by too: ms of latency, ms of jitter, % of loss. */
const GOOD = [150, 50, 1];
/** Each grade with its limits, the best first. */
const GRADES: [Quality, number[]][] = [
  ['excellent', [50, 25, 0.1]],
  ['good', GOOD],
  ['fair', [300, 100, 3]],
];
/** What helps where a limit of `good` is passed, in the same order. */
const HINTS = [
  'High latency: send in batches or use a nearer endpoint',
  'Unsteady latency: buffer before showing',
  'Pings lost: allow longer timeouts',
];

/**
 * A meter without samples. Grades: `excellent` ≤ 50 ms latency, 25 ms jitter and 0.1 % loss; `good` ≤ 150, 50, 1; `fair` ≤ 300, 100,
 * 3; else `poor`.
 */
export function createQuality({ now }: { now: () => number }): QualityMeter {
  /** When each ping ended and its round trip; null: not answered. Oldest first. */
  let pings: (readonly [at: number, rtt: number | null])[] = [];
  const add = (rtt: number | null) => {
    pings = [...pings.slice(1 - WINDOW), [now(), rtt]];
  };
  return {
    sample(rttMs) {
      if (rttMs >= 0 && rttMs < Infinity) add(rttMs);
    },
    lost: () => add(null),
    read() {
      pings = pings.filter(([at]) => now() - at <= AGE);
      const rtts = pings.flatMap(([, rtt]) => rtt ?? []);
      const recent = rtts.slice(-RECENT);
      const latency = recent.length > 0 ? recent.reduce((sum, rtt) => sum + rtt) / recent.length : null;
      const jitter =
        rtts.length > 1
          ? rtts.reduce((jitter, rtt, i) => (i ? jitter + (Math.abs(rtt - (rtts[i - 1] as number)) - jitter) / 16 : 0), 0)
          : null;
      const loss = pings.length > 0 ? (100 * (pings.length - rtts.length)) / pings.length : 0;
      // No answer at all is within no limit of latency.
      const values = [latency ?? Infinity, jitter ?? 0, loss];
      const beyond = (limits: number[]) => HINTS.filter((_, i) => (values[i] as number) > (limits[i] as number));
      if (!pings[0]) return { quality: 'unknown', latency, jitter, loss, suggestions: [] };
      const quality = GRADES.find(([, limits]) => !beyond(limits)[0])?.[0] ?? 'poor';
      return { quality, latency, jitter, loss, suggestions: beyond(GOOD) };
    },
  };
}
