/** Time that passes when it is told to. */

/** A clock whose timers ring in `pass`, in their order. */
export const manualClock = () => {
  let now = 0;
  let next = 1;
  const timers = new Map<number, { at: number; fn: () => void }>();
  return {
    now: (): number => now,
    setTimeout(fn: () => void, ms: number): unknown {
      timers.set(next, { at: now + ms, fn });
      return next++;
    },
    clearTimeout(handle: unknown): void {
      timers.delete(handle as number);
    },
    /** Timers that are to ring. */
    pending: (): number => timers.size,
    /** Lets `ms` milliseconds pass. */
    pass(ms: number): void {
      const end = now + ms;
      for (;;) {
        let first: [number, { at: number; fn: () => void }] | undefined;
        for (const entry of timers) if (entry[1].at <= end && (!first || entry[1].at < first[1].at)) first = entry;
        if (!first) break;
        timers.delete(first[0]);
        now = first[1].at;
        first[1].fn();
      }
      now = end;
    },
  };
};
