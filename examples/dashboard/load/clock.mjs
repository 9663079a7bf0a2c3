// One clock for several processes of this machine.
//
// Owns: the system's monotonic clock in microseconds. `process.hrtime` counts from the same moment in every process;
// `performance.now()` is cheaper and runs beside it.
// Never: wall time, which can be set.

// Whoever is held up between the two readings gets a difference that is too small: the largest of several is right.
const base = Math.max(...Array.from({ length: 50 }, () => Number(process.hrtime.bigint()) / 1000 - performance.now() * 1000));

/** Microseconds, a whole number. */
export const micros = () => Math.round(base + performance.now() * 1000);

/** Digits a moment takes in front of a message. */
export const STAMP = 16;

export const stamp = () => String(micros()).padStart(STAMP, '0');
