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

/** The limits of each grade, ms, ms, %; and what exceeding the ones of `good` suggests. */
const GRADES = [
  ['excellent', 50, 25, 0.1],
  ['good', 150, 50, 1],
  ['fair', 300, 100, 3],
] as const;
const HINTS = [
  'High latency: use a nearer endpoint or send in batches',
  'Unsteady latency: buffer what is shown and send less often',
  'Pings are lost: allow longer timeouts and queue what must arrive',
] as const;

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
      // Nothing measured is within every limit, but no answer at all is no latency to be proud of.
      const values = [latency ?? Infinity, jitter ?? 0, loss];
      const within = (grade: (typeof GRADES)[number]) => values.every((value, i) => value <= (grade[i + 1] as number));
      const quality = pings.length > 0 ? (GRADES.find(within)?.[0] ?? 'poor') : 'unknown';
      const suggestions =
        quality === 'unknown' ? [] : HINTS.filter((_, i) => (values[i] as number) > (GRADES[1][i + 1] as number));
      return { quality, latency, jitter, loss, suggestions };
    },
  };
}
