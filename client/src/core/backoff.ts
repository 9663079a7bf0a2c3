/**
 * Backoff: how long to wait before the next attempt to connect. Pure functions: attempts are counted, and timers set, elsewhere.
 */

/** How the wait grows from attempt to attempt; see {@link delayFor}. */
export type BackoffMode = 'exponential' | 'linear' | 'fibonacci' | 'adaptive';

/** When to try again, and how often. */
export interface BackoffOptions {
  /** How the wait grows. */
  readonly mode: BackoffMode;
  /** The first wait, ms; less than 1 is taken as 1, since a wait of 0 would never grow. */
  readonly baseDelay: number;
  /** No wait is longer, ms, with jitter or without; more than 300,000 is taken as 300,000. */
  readonly maxDelay: number;
  /** What each wait is multiplied by (`exponential`, `adaptive`). */
  readonly factor: number;
  /** Spread each wait evenly over the upper half of it, so that clients cut off together do not come back together. */
  readonly jitter: boolean;
  /** Attempts in a row after which there is no other; 0: none at all; negative: no limit. */
  readonly maxAttempts: number;
}

/** The options where none are given: exponential, 1 s × 1.5 up to 30 s, with jitter, without end. */
export const BACKOFF: BackoffOptions = {
  mode: 'exponential',
  baseDelay: 1_000,
  maxDelay: 30_000,
  factor: 1.5,
  jitter: true,
  maxAttempts: -1,
};

/** A connection that lived this long (ms) was a good one: `adaptive` forgets what was before. */
const GOOD = 60_000;
/** So many steps of the exponential curve `adaptive` is ahead where nothing works. */
const STRAIN_STEPS = 8;

/**
 * The wait before attempt number `attempt` (from 1), in ms.
 *
 * `exponential`: base × factor^(n−1). `linear`: base × n. `fibonacci`: base × 1, 1, 2, 3, 5, …. `adaptive`: as `exponential`, but
 * `strain` (0: connections hold; 1: nothing works; see {@link strainAfter}) puts it up to 8 steps ahead, so a server in trouble is left alone from the first
 * attempt on. The curve is cut at `maxDelay` before jitter, which takes away up to half: a wait is within [d/2, d] for d on the curve.
 *
 * Attempt 0 is for a server that asks its clients back soon (a restart): evenly within [base/10, base], whatever the mode.
 *
 * @param random a number in [0, 1)
 */
export function delayFor(options: BackoffOptions, attempt: number, random: () => number, strain = 0): number {
  const { mode, factor, jitter } = options;
  const base = Math.max(1, options.baseDelay);
  const steps =
    attempt < 1
      ? 1
      : mode === 'linear'
        ? attempt
        : mode === 'fibonacci'
          ? // Binet's formula: exact to beyond any cap, and no loop over an attempt count without a limit.
            Math.round(((1 + Math.sqrt(5)) / 2) ** attempt / Math.sqrt(5))
          : factor ** (attempt - 1 + (mode === 'adaptive' ? strain * STRAIN_STEPS : 0));
  // The second cap: a timer of a longer wait than 2^31 ms fires at once.
  const delay = Math.min(base * steps, options.maxDelay, 300_000);
  const taken = attempt < 1 ? 0.9 : 0.5;
  return jitter ? delay * (1 - taken * random()) : delay;
}

/**
 * The strain after an attempt failed (`lived` 0), or a connection ended after `lived` ms: a moving mean within [0, 1]. A failed attempt
 * weighs one fifth, so the last handful of them decide; a connection weighs more the longer it lived, and one of 60 s or more wipes the
 * slate.
 *
 * @param strain what it was before; 0 at the beginning
 */
export function strainAfter(strain: number, lived: number): number {
  const good = Math.min(1, lived / GOOD);
  return strain + (1 - good - strain) * Math.max(0.2, good);
}
