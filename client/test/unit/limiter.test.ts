import { describe, expect, it } from 'vitest';
import { createLimiter, type Limiter } from '../../src/core/limiter.js';
import { seeded } from '../support/random.js';
import { TestClock } from '../support/time.js';

function setup(some: { capacity?: number; refill?: number } = {}): { clock: TestClock; limiter: Limiter } {
  const clock = new TestClock();
  return { clock, limiter: createLimiter({ ...some, now: clock.now }) };
}

/** Takes what there is now. */
function drain(limiter: Limiter): number {
  let taken = 0;
  // Bounded: one that always says yes is to fail, not to hang.
  while (taken < 10_000 && limiter.take()) taken++;
  return taken;
}

describe('the bucket', () => {
  it('holds 1000 and fills by 100 a second', () => {
    const { clock, limiter } = setup();
    expect(drain(limiter)).toBe(1_000);
    clock.pass(1_000);
    expect(drain(limiter)).toBe(100);
    clock.pass(2_500);
    expect(drain(limiter)).toBe(250);
  });

  it('holds no more than its capacity after an idle hour', () => {
    const { clock, limiter } = setup();
    drain(limiter);
    clock.pass(3_600_000);
    expect(drain(limiter)).toBe(1_000);
  });

  it('counts parts of a token, however often it is asked', () => {
    const { clock, limiter } = setup();
    drain(limiter);
    let taken = 0;
    for (let i = 0; i < 10_000; i++) {
      clock.pass(1);
      if (limiter.take()) taken++;
    }
    // 10 s at 100 a second, but for the last part of a token and rounding.
    expect(taken).toBeGreaterThanOrEqual(998);
    expect(taken).toBeLessThanOrEqual(1_000);
  });
});

describe('the word of the server', () => {
  it('stops for retry_after seconds where it refused', () => {
    const { clock, limiter } = setup();
    limiter.warn({ retry_after: 2 });
    expect(limiter.retryIn()).toBe(2_000);
    clock.pass(1_999);
    expect(limiter.take()).toBe(false);
    clock.pass(1);
    expect(limiter.take()).toBe(true);
  });

  it('knows the other spelling, and a second where it says nothing', () => {
    for (const [warning, wait] of [
      [{ retryAfter: 3 }, 3_000],
      [{}, 1_000],
      [undefined, 1_000],
      [null, 1_000],
      [{ retry_after: 'soon', remaining: 'none', limit: {} }, 1_000],
      [{ retry_after: -5 }, 1_000],
      [{ retry_after: Number.NaN }, 1_000],
      [{ retry_after: 1e12 }, 300_000],
    ] as const) {
      const { limiter } = setup();
      limiter.warn(warning);
      expect(limiter.retryIn()).toBe(wait);
    }
  });

  it('goes on with what remains after a warning, at half the rate', () => {
    const { clock, limiter } = setup();
    limiter.warn({ current_rate: 990, limit: 1_000, remaining: 10, retry_after: 1 } as object);
    expect(drain(limiter)).toBe(10);
    clock.pass(1_000);
    // From 50 a second to 60.
    expect(drain(limiter)).toBe(55);
  });

  it('is slower with each warning, down to a sixteenth, and never stands still', () => {
    const { clock, limiter } = setup();
    const slow: number[] = [];
    for (let i = 0; i < 10; i++) {
      limiter.warn({ remaining: 1 });
      drain(limiter);
      slow.push(limiter.retryIn());
    }
    expect(slow.slice(0, 4)).toEqual([20, 40, 80, 160]);
    expect(new Set(slow.slice(4))).toEqual(new Set([160]));
    clock.pass(160);
    expect(limiter.take()).toBe(true);
  });

  it('recovers within ten seconds', () => {
    const { clock, limiter } = setup();
    for (let i = 0; i < 10; i++) limiter.warn({ remaining: 1 });
    const seconds: number[] = [];
    for (let i = 0; i < 14; i++) {
      drain(limiter);
      clock.pass(1_000);
      seconds.push(drain(limiter));
    }
    for (let i = 1; i < 10; i++) expect(seconds[i]).toBeGreaterThanOrEqual(seconds[i - 1] as number);
    expect(seconds[0]).toBeLessThan(20);
    for (const count of seconds.slice(10)) expect(count).toBeGreaterThanOrEqual(99);
    for (const count of seconds) expect(count).toBeLessThanOrEqual(101);
  });

  it('holds no more than the limit of the server from then on', () => {
    const { clock, limiter } = setup();
    limiter.warn({ limit: 50, remaining: 5 });
    expect(drain(limiter)).toBe(5);
    clock.pass(60_000);
    expect(drain(limiter)).toBe(50);
    limiter.warn({ limit: 5_000, remaining: 5_000 });
    clock.pass(60_000);
    expect(drain(limiter)).toBe(50);
  });

  it('keeps room for one message whatever the server says', () => {
    const { clock, limiter } = setup();
    limiter.warn({ limit: 0, remaining: 0, retry_after: 0 });
    clock.pass(60_000);
    expect(drain(limiter)).toBe(1);
  });
});

it('retryIn() keeps its word under random warnings: after it there is a token', () => {
  const random = seeded(42);
  const { clock, limiter } = setup({ capacity: 20, refill: 5 });
  for (let i = 0; i < 5_000; i++) {
    if (random() < 0.2) limiter.warn({ retry_after: random() * 3, remaining: random() < 0.5 ? 0 : random() * 20 });
    clock.pass(random() * 300);
    const wait = limiter.retryIn();
    expect(Number.isFinite(wait)).toBe(true);
    const yes = limiter.take();
    expect(yes).toBe(wait === 0);
    if (yes) continue;
    clock.pass(wait);
    expect(limiter.take()).toBe(true);
  }
});
