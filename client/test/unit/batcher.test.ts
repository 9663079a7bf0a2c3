import { expect, it } from 'vitest';
import { type Batcher, createBatcher } from '../../src/core/batcher.js';
import { seeded } from '../support/random.js';
import { TestClock } from '../support/time.js';

function setup(): { clock: TestClock; batches: number[][]; batcher: Batcher<number> } {
  const clock = new TestClock();
  const batches: number[][] = [];
  const batcher = createBatcher<number>({ clock, flush: (items) => batches.push(items) });
  return { clock, batches, batcher };
}

it('hands on ten at once, and sets no timer that outlives them', () => {
  const { clock, batches, batcher } = setup();
  for (let i = 0; i < 9; i++) batcher.add(i);
  expect(batches).toEqual([]);
  batcher.add(9);
  expect(batches).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
  expect(clock.timers).toBe(0);
});

it('hands on fewer 100 ms after the first of them, not after the last', () => {
  const { clock, batches, batcher } = setup();
  batcher.add(1);
  clock.pass(60);
  batcher.add(2);
  clock.pass(39);
  expect(batches).toEqual([]);
  clock.pass(1);
  expect(batches).toEqual([[1, 2]]);
  clock.pass(1_000);
  expect(batches).toHaveLength(1);
});

it('gives each batch its whole delay', () => {
  const { clock, batches, batcher } = setup();
  for (let i = 0; i < 9; i++) batcher.add(i);
  clock.pass(90);
  // The tenth fills the first one; the next is a batch of its own.
  batcher.add(9);
  batcher.add(10);
  clock.pass(99);
  expect(batches).toHaveLength(1);
  clock.pass(1);
  expect(batches.at(-1)).toEqual([10]);
});

it('never hands on an empty batch', () => {
  const { clock, batches, batcher } = setup();
  clock.pass(1_000);
  batcher.close();
  expect(batches).toEqual([]);
});

it('hands on what waits at its close, and takes nothing afterwards', () => {
  const { clock, batches, batcher } = setup();
  expect(batcher.add(1)).toBe(true);
  batcher.close();
  expect(batches).toEqual([[1]]);
  expect(batcher.add(2)).toBe(false);
  batcher.close();
  clock.pass(1_000);
  expect(batches).toEqual([[1]]);
  expect(clock.timers).toBe(0);
});

it('with a size of 1 there is no waiting', () => {
  const clock = new TestClock();
  const batches: number[][] = [];
  const batcher = createBatcher<number>({ size: 1, clock, flush: (items) => batches.push(items) });
  batcher.add(1);
  batcher.add(2);
  expect(batches).toEqual([[1], [2]]);
  expect(clock.timers).toBe(0);
});

it('takes what a flush adds into the next batch', () => {
  const clock = new TestClock();
  const batches: number[][] = [];
  const batcher: Batcher<number> = createBatcher<number>({
    size: 2,
    clock,
    flush: (items) => {
      batches.push(items);
      if (items.includes(1)) batcher.add(3);
    },
  });
  batcher.add(1);
  batcher.add(2);
  expect(batches).toEqual([[1, 2]]);
  clock.pass(100);
  expect(batches).toEqual([[1, 2], [3]]);
});

it('goes on after a flush that threw, and delivers nothing twice', () => {
  const clock = new TestClock();
  const batches: number[][] = [];
  const batcher = createBatcher<number>({
    size: 2,
    clock,
    flush: (items) => {
      batches.push(items);
      if (items.includes(1)) throw new Error('refused');
    },
  });
  batcher.add(1);
  expect(() => batcher.add(2)).toThrow('refused');
  batcher.add(3);
  clock.pass(100);
  expect(batches).toEqual([[1, 2], [3]]);
});

it('keeps order and loses nothing, whatever the moments', () => {
  const random = seeded(5);
  const { clock, batches, batcher } = setup();
  const added = new Map<number, number>();
  let last = 0;
  for (let i = 0; i < 20_000; i++) {
    const what = random();
    if (what < 0.7) {
      added.set(last, clock.now());
      batcher.add(last++);
    } else clock.pass(random() * 80);
    for (const [item, at] of added) {
      if (batches.flat().length <= item) expect(clock.now() - at).toBeLessThan(100);
      else added.delete(item);
    }
    if (batches.length > 50) {
      for (const batch of batches) expect(batch.length).toBeLessThanOrEqual(10);
      break;
    }
  }
  batcher.close();
  expect(batches.flat()).toEqual(Array.from({ length: last }, (_, i) => i));
});
