/** Time that runs faster than the machine's: a client's seconds are a fraction of a test's. */

import type { Clock } from '../../src/index.js';

/** A clock on which `factor` milliseconds pass in each real one. Timers ring in real time, as a platform's do. */
export const fastClock = (factor: number): Clock => {
  const begun = performance.now();
  return {
    now: () => (performance.now() - begun) * factor,
    setTimeout: (fn, ms) => setTimeout(fn, ms / factor),
    clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout | undefined),
  };
};
