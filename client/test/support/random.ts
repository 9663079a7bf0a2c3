/** Random numbers that come again with the same seed. */

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};

/** Seeds for `count` runs: those of `WSE_SEED` alone if it is set, to see one run again. */
export const seeds = (count: number): number[] => {
  const given = process.env['WSE_SEED'];
  if (given !== undefined) return [Number(given)];
  const first = Math.floor(Math.random() * 2 ** 31);
  return Array.from({ length: count }, (_, n) => first + n);
};
