/** Parts that are loaded when they are needed: once, again where that fails, and not for a client that has ended. */

import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createLazily } from '../../src/core/lazy.js';
import { SHARED } from '../../src/core/shared.js';
import { TestClock } from '../support/time.js';

function setup(failures: number) {
  const clock = new TestClock();
  const life = new AbortController();
  const reported: unknown[] = [];
  const lazily = createLazily(clock, life.signal, SHARED, (error) => reported.push(error));
  const at: number[] = [];
  const load = lazily(async () => {
    at.push(clock.now());
    if (at.length <= failures) throw new Error(`offline ${at.length}`);
    return 'part';
  });
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i += 1) {
      await turn();
      clock.pass(1_000);
    }
    await turn();
  };
  return { clock, life, reported, load, at, pass };
}

it('loads once, whoever asks', async () => {
  const { load, at } = setup(0);
  expect(at).toEqual([]);
  expect(await Promise.all([load(), load()])).toEqual(['part', 'part']);
  expect(await load()).toBe('part');
  expect(at).toHaveLength(1);
});

it('tries again, later each time, says so, and everybody gets it in the end', async () => {
  const { load, at, reported, pass, clock } = setup(7);
  const all = Promise.all([load(), load()]);
  await pass(200);
  expect(await all).toEqual(['part', 'part']);
  expect(at.map((ms) => ms / 1_000)).toEqual([0, 1, 3, 7, 15, 31, 61, 91]);
  expect(reported.map((error) => (error as Error).message)).toEqual([1, 2, 3, 4, 5, 6, 7].map((n) => `offline ${n}`));
  expect(clock.timers).toBe(0);
});

it('ends with the client', async () => {
  const { load, at, reported, pass, clock, life } = setup(100);
  const loading = load();
  await pass(5);
  const count = at.length;
  const reason = new Error('closed');
  life.abort(reason);
  expect(clock.timers).toBe(0);
  await expect(loading).rejects.toBe(reason);
  await pass(100);
  expect([at.length, reported.length]).toEqual([count, count]);
});
