/** What a tab of the dashboard knows about its topics, and which points of a curve it marks. */

import { describe, expect, it } from 'vitest';

interface Position {
  epoch: string;
  offset: number;
}
interface Positions {
  take(message: { tp?: unknown; e?: unknown; o?: unknown }): 'new' | 'again' | 'gap';
  mayAsk(topic: string): boolean;
  told(recovery: Record<string, Position & { recovered: boolean }> | undefined): void;
  of(topics?: string[]): Record<string, Position>;
}
interface Marks {
  size: number;
  added(late: boolean, length: number): void;
  clear(): void;
  runs(length: number): [number, number][];
}

const load = (name: string) => import(new URL(`../../../examples/dashboard/public/${name}.js`, import.meta.url).href);
const { Positions } = (await load('positions')) as { Positions: new () => Positions };
const { Marks } = (await load('marks')) as { Marks: new () => Marks };

const at = (offset: number, epoch = '0a1b2c3d') => ({ tp: 'a', e: epoch, o: offset });

describe('positions', () => {
  it('lets every message through once and in order', () => {
    const positions = new Positions();
    const taken = [5, 6, 6, 8, 7, 8].map((offset) => positions.take(at(offset)));
    expect(taken).toEqual(['new', 'new', 'again', 'gap', 'new', 'new']);
    expect(positions.take(at(1, '00000000'))).toBe('new');
    expect(positions.take({})).toBe('new');
    expect(positions.take({ tp: 'a', e: 7, o: 'x' })).toBe('new');
    expect(positions.of()).toEqual({ a: { epoch: '00000000', offset: 1 } });
  });

  it('takes the word of the server only for what could not be recovered', () => {
    const positions = new Positions();
    positions.take(at(5));
    positions.told({ a: { epoch: '0a1b2c3d', offset: 9, recovered: true } });
    positions.told(undefined);
    expect(positions.of(['a', 'b'])).toEqual({ a: { epoch: '0a1b2c3d', offset: 5 } });
    positions.told({ a: { epoch: '0a1b2c3d', offset: 9, recovered: false } });
    expect(positions.take(at(9))).toBe('again');
    expect(positions.take(at(10))).toBe('new');
  });

  it('asks once for what is missing, until there is an answer', () => {
    const positions = new Positions();
    positions.take(at(5));
    expect([positions.mayAsk('a'), positions.mayAsk('a'), positions.mayAsk('b')]).toEqual([true, false, true]);
    positions.told({ a: { epoch: '0a1b2c3d', offset: 9, recovered: true } });
    expect(positions.mayAsk('a')).toBe(true);
  });
});

describe('marks', () => {
  it('move with the curve and leave with it', () => {
    const marks = new Marks();
    const late = [false, true, true, false, true, false];
    late.forEach((one, n) => marks.added(one, Math.min(n + 1, 5)));
    // The first of six values has left a curve of five.
    expect([marks.size, marks.runs(5)]).toEqual([
      3,
      [
        [0, 1],
        [3, 3],
      ],
    ]);
    marks.added(false, 5);
    expect(marks.runs(5)).toEqual([
      [0, 0],
      [2, 2],
    ]);
    marks.clear();
    expect([marks.size, marks.runs(5)]).toEqual([0, []]);
  });
});
