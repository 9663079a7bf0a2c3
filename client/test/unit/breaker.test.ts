import { expect, it } from 'vitest';
import { type Breaker, createBreaker } from '../../src/core/breaker.js';
import { seeded } from '../support/random.js';
import { TestClock } from '../support/time.js';

function setup(): { clock: TestClock; breaker: Breaker; fail(times: number): void } {
  const clock = new TestClock();
  const breaker = createBreaker({ now: clock.now });
  const fail = (times: number) => {
    for (let i = 0; i < times; i++) breaker.failed();
  };
  return { clock, breaker, fail };
}

it('opens at the fifth failure in a row and not before', () => {
  const { breaker, fail } = setup();
  fail(4);
  expect(breaker.state).toBe('closed');
  expect(breaker.allows()).toBe(true);
  expect(breaker.retryIn()).toBe(0);
  fail(1);
  expect(breaker.state).toBe('open');
  expect(breaker.allows()).toBe(false);
  expect(breaker.retryIn()).toBe(60_000);
});

it('counts failures in a row: a success ends the row', () => {
  const { breaker, fail } = setup();
  for (let i = 0; i < 10; i++) {
    fail(4);
    breaker.succeeded();
  }
  expect(breaker.state).toBe('closed');
  fail(5);
  expect(breaker.state).toBe('open');
});

it('is open for a minute to the millisecond, late failures or not', () => {
  const { clock, breaker, fail } = setup();
  fail(5);
  clock.pass(30_000);
  fail(3);
  breaker.succeeded();
  expect(breaker.retryIn()).toBe(30_000);
  clock.pass(29_999);
  expect(breaker.state).toBe('open');
  clock.pass(1);
  expect(breaker.state).toBe('half-open');
  expect(breaker.allows()).toBe(true);
  expect(breaker.retryIn()).toBe(0);
});

it('closes after three successes once half-open', () => {
  const { clock, breaker, fail } = setup();
  fail(5);
  clock.pass(60_000);
  breaker.succeeded();
  breaker.succeeded();
  expect(breaker.state).toBe('half-open');
  breaker.succeeded();
  expect(breaker.state).toBe('closed');
  fail(4);
  expect(breaker.state).toBe('closed');
});

it('opens again for a whole minute at one failure while half-open, and counts successes anew', () => {
  const { clock, breaker, fail } = setup();
  fail(5);
  clock.pass(60_000);
  breaker.succeeded();
  breaker.succeeded();
  fail(1);
  expect(breaker.state).toBe('open');
  expect(breaker.retryIn()).toBe(60_000);
  clock.pass(60_000);
  breaker.succeeded();
  expect(breaker.state).toBe('half-open');
});

it('takes its three numbers from its options', () => {
  const clock = new TestClock();
  const breaker = createBreaker({ failures: 1, timeout: 10, successes: 1, now: clock.now });
  breaker.failed();
  expect(breaker.state).toBe('open');
  clock.pass(10);
  breaker.succeeded();
  expect(breaker.state).toBe('closed');
});

it('never stays open for longer than its time, whatever happens', () => {
  const { clock, breaker } = setup();
  const random = seeded(11);
  let since: number | undefined;
  for (let i = 0; i < 4_000; i++) {
    clock.pass(random() * 2_000);
    if (breaker.state === 'open') {
      since ??= clock.now();
      expect(clock.now() - since).toBeLessThan(60_000);
      expect(breaker.retryIn()).toBeGreaterThan(0);
      expect(breaker.retryIn()).toBeLessThanOrEqual(60_000);
    } else {
      since = undefined;
      expect(breaker.retryIn()).toBe(0);
    }
    if (random() < 0.6) breaker.failed();
    else breaker.succeeded();
    expect(breaker.allows()).toBe(breaker.state !== 'open');
  }
});
