import { describe, expect, it } from 'vitest';
import { BACKOFF, type BackoffMode, type BackoffOptions, delayFor, strainAfter } from '../../src/core/backoff.js';
import { seeded } from '../support/random.js';

const MODES: BackoffMode[] = ['exponential', 'linear', 'fibonacci', 'adaptive'];
const LEAST = () => 0;
const MOST = () => 1 - 2 ** -32;

function options(some: Partial<BackoffOptions> = {}): BackoffOptions {
  return { ...BACKOFF, ...some };
}

/** The curve itself: no jitter, attempts 1 to 8. */
function curve(mode: BackoffMode, some: Partial<BackoffOptions> = {}, strain = 0): number[] {
  const all = options({ mode, jitter: false, baseDelay: 100, factor: 2, ...some });
  return [1, 2, 3, 4, 5, 6, 7, 8].map((attempt) => delayFor(all, attempt, LEAST, strain));
}

describe('the curves', () => {
  it('exponential multiplies', () => expect(curve('exponential')).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800]));
  it('linear adds', () => expect(curve('linear')).toEqual([100, 200, 300, 400, 500, 600, 700, 800]));
  it('fibonacci adds the last two', () => expect(curve('fibonacci')).toEqual([100, 100, 200, 300, 500, 800, 1300, 2100]));
  it('adaptive is exponential where connections hold', () => expect(curve('adaptive')).toEqual(curve('exponential')));

  it('fibonacci is exact as far as the cap', () => {
    const all = options({ mode: 'fibonacci', jitter: false, baseDelay: 1, maxDelay: 300_000 });
    let [a, b] = [1, 1];
    for (let attempt = 1; a < 300_000; attempt++) {
      expect(delayFor(all, attempt, LEAST)).toBe(a);
      [a, b] = [b, a + b];
    }
  });
});

describe.each(MODES)('%s', (mode) => {
  it('never passes the cap, however many attempts, and is never NaN', () => {
    for (const attempt of [0, 1, 2, 50, 1_000, 1e6, 1e9])
      for (const strain of [0, 0.5, 1])
        for (const random of [LEAST, MOST])
          for (const some of [{}, { baseDelay: 0 }, { baseDelay: 1e9 }, { factor: 1e300 }, { maxDelay: Infinity }]) {
            const all = options({ mode, ...some });
            const delay = delayFor(all, attempt, random, strain);
            expect(delay).toBeGreaterThan(0);
            expect(delay).toBeLessThanOrEqual(Math.min(all.maxDelay, 300_000));
          }
  });

  it('spreads a herd evenly over the upper half of the curve', () => {
    const all = options({ mode });
    for (const attempt of [1, 3, 40]) {
      const on = delayFor({ ...all, jitter: false }, attempt, LEAST);
      const random = seeded(attempt);
      const delays = Array.from({ length: 10_000 }, () => delayFor(all, attempt, random));
      expect(Math.min(...delays)).toBeGreaterThan(on / 2);
      expect(Math.max(...delays)).toBeLessThanOrEqual(on);
      const tenths = new Array<number>(10).fill(0);
      for (const delay of delays) {
        const tenth = Math.min(9, Math.floor((delay / on - 0.5) * 20));
        tenths[tenth] = (tenths[tenth] as number) + 1;
      }
      // 1000 each; the standard deviation is 30.
      for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(150);
    }
  });

  it('spreads the clients of a server that restarts over a tenth of the base to all of it', () => {
    const all = options({ mode });
    const random = seeded(7);
    const delays = Array.from({ length: 2_000 }, () => delayFor(all, 0, random, 1)).sort((a, b) => a - b);
    expect(delays[0]).toBeGreaterThanOrEqual(all.baseDelay / 10);
    expect(delays[0]).toBeLessThan(all.baseDelay * 0.12);
    expect(delays[1_999]).toBeLessThanOrEqual(all.baseDelay);
    expect(delays[1_999]).toBeGreaterThan(all.baseDelay * 0.98);
  });

  it('grows from a base of 0 too', () => {
    const all = options({ mode, baseDelay: 0, jitter: false });
    expect(delayFor(all, 30, LEAST)).toBeGreaterThan(delayFor(all, 3, LEAST));
  });
});

describe('adaptive', () => {
  const waits = (strain: number) => delayFor(options({ mode: 'adaptive', jitter: false }), 1, LEAST, strain);
  const strained = (...lives: number[]) => lives.reduce(strainAfter, 0);

  it('waits longer the worse the last connections fared, from the first attempt on', () => {
    const scale = [strained(), strained(0), strained(0, 0), strained(0, 0, 0, 0), strained(...new Array<number>(30).fill(0))].map(
      waits,
    );
    for (let i = 1; i < scale.length; i++) expect(scale[i]).toBeGreaterThan(scale[i - 1] as number);
    expect(scale[0]).toBe(1_000);
    expect(scale.at(-1)).toBeGreaterThan(20_000);
  });

  it('tells flapping connections from ones that hold, where the other modes do not', () => {
    const flapping = strained(...new Array<number>(20).fill(2_000));
    const holding = strained(...new Array<number>(20).fill(50_000));
    expect(waits(flapping)).toBeGreaterThan(4 * waits(holding));
    const blind = options({ mode: 'exponential' });
    expect(delayFor(blind, 1, LEAST, flapping)).toBe(delayFor(blind, 1, LEAST, holding));
  });

  it('is up to 8 steps ahead, and a failure takes a fifth of the way there', () => {
    expect(waits(1)).toBe(1_000 * 1.5 ** 8);
    expect(strained(0)).toBe(0.2);
    expect(strained(0, 0)).toBeCloseTo(0.36);
  });

  it('forgets a bad night after one good minute, and not after a second', () => {
    const night = new Array<number>(100).fill(0);
    expect(strained(...night, 60_000)).toBe(0);
    expect(strained(...night, 8 * 3_600_000)).toBe(0);
    expect(strained(...night, 1_000)).toBeGreaterThan(0.9);
  });

  it('stays within 0 and 1', () => {
    const random = seeded(3);
    let strain = 0;
    for (let i = 0; i < 10_000; i++) {
      strain = strainAfter(strain, random() < 0.5 ? 0 : random() * 100_000);
      if (!(strain >= 0 && strain <= 1)) expect.fail(`strain ${strain}`);
    }
  });
});

it('has defaults: 1 s by halves more up to 30 s, without end', () => {
  expect(BACKOFF).toEqual({
    mode: 'exponential',
    baseDelay: 1_000,
    maxDelay: 30_000,
    factor: 1.5,
    jitter: true,
    maxAttempts: -1,
  });
  expect(delayFor({ ...BACKOFF, mode: 'adaptive', jitter: false }, 1, LEAST)).toBe(1_000);
});
