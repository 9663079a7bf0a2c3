/**
 * Whether the other side is alive: heartbeats, and the time since anything was heard. It measures the round trip. It closes nothing:
 * `dead` says that it is time to.
 */

import type { Clock, TimerHandle } from './clock.js';

/** Milliseconds after a probe, or after a timer that rang late, within which something must be heard. */
const PROBE_MS = 5_000;

/** What happens. */
export interface LivenessHandlers {
  /** A ping is to be sent now. */
  ping(): void;
  /** The answer to a ping came after so many milliseconds. */
  pong(rtt: number): void;
  /** Nothing was heard since the last heartbeat; its answer is missing. */
  silent(): void;
  /** Nothing was heard for the whole idle time. */
  dead(): void;
}

/** Watches one connection at a time. */
export interface Liveness {
  /** A connection has begun. */
  start(): void;
  /** It has ended. */
  stop(): void;
  /** A frame came, whatever is in it. */
  heard(): void;
  /** The answer to a ping came. */
  answered(): void;
  /** Asks at once, because the network may have changed: dead unless something is heard within five seconds. */
  probe(): void;
}

/**
 * Sends a ping every `heartbeat` ms and calls a connection dead after `idle` ms without a frame. A timer that rings much too late was
 * asleep with its machine, or throttled in a hidden tab: frames may wait to be read, so the other side is asked before it is given up.
 */
export function createLiveness(heartbeat: number, idle: number, clock: Clock, on: LivenessHandlers): Liveness {
  let timer: TimerHandle;
  let heardAt = 0;
  let askedAt: number | undefined;
  let dueAt = 0;
  let deadline = Infinity;

  const arm = (): void => {
    clock.clearTimeout(timer);
    const now = clock.now();
    dueAt = Math.min(now + heartbeat, heardAt + idle, deadline);
    if (dueAt < Infinity) timer = clock.setTimeout(ring, Math.max(0, dueAt - now));
  };
  const ask = (): void => {
    askedAt ??= clock.now();
    on.ping();
  };
  const ring = (): void => {
    const now = clock.now();
    const slept = now - dueAt > PROBE_MS;
    const over = now >= deadline || now - heardAt >= idle;
    if (over && !slept) {
      on.dead();
      return;
    }
    if (slept) deadline = now + PROBE_MS;
    if (slept) heardAt = Math.max(heardAt, now - idle + PROBE_MS);
    else if (askedAt !== undefined && heardAt < askedAt) on.silent();
    ask();
    arm();
  };
  return {
    start() {
      heardAt = clock.now();
      askedAt = undefined;
      deadline = Infinity;
      arm();
    },
    stop: () => clock.clearTimeout(timer),
    heard() {
      heardAt = clock.now();
      deadline = Infinity;
    },
    answered() {
      if (askedAt !== undefined) on.pong(clock.now() - askedAt);
      askedAt = undefined;
    },
    probe() {
      deadline = Math.min(deadline, clock.now() + PROBE_MS);
      ask();
      arm();
    },
  };
}
