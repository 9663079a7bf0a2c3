/** Time, as everything of this client sees it: injectable, so that an hour of it fits into a test. Never the time of day. */

/** A timer that was started; its form is its clock's. */
export type TimerHandle = unknown;

/** What tells the time and wakes. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes backwards, whatever happens to the time of day. */
  now(): number;
  /** Calls `fn` once, `ms` milliseconds from now. */
  setTimeout(fn: () => void, ms: number): TimerHandle;
  /** Forgets a timer; nothing happens if it has rung or is undefined. */
  clearTimeout(handle: TimerHandle): void;
}

/** The longest timer there is, ms: a longer one would ring at once. */
export const MAX_TIMER: number = 2 ** 31 - 1;

/** The platform's clock. Looked up at every call, so that fake timers count too. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (fn, ms) => setTimeout(fn, Math.min(ms, MAX_TIMER)),
  clearTimeout: (handle) => clearTimeout(handle as number),
};
