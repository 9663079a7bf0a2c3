import { describe, expect, it } from 'vitest';
import type { WSEBatch } from '../../src/events.js';
import { decodeBatch } from '../../src/inbound/batch.js';
import { readTables, type Table } from '../../src/inbound/columns.js';
import { LongStrings } from '../../src/inbound/long.js';
import { buildBatch, inMemory } from './build-batch.js';

/** A batch of these kinds, on connection 1, with this columns region, and these strings beside it. */
const decode = (kinds: readonly number[], columns: string, longs = ''): WSEBatch =>
  decodeBatch(
    ...inMemory(
      buildBatch(
        kinds.map((kind) => ({ kind, conn: 1, bytes: kind === 2 ? '{"plain":1}' : 'raw' })),
        columns,
        longs,
      ),
    ),
  );

/** The tables of a columns region without long strings. */
const tables = (columns: string): Table[] => readTables(columns, new LongStrings(Buffer.alloc(0), 0, 0));

/** The keys of every object in a value, in order. */
const keys = (value: unknown): unknown =>
  typeof value === 'object' && value !== null ? Object.entries(value).map(([key, inner]) => [key, keys(inner)]) : null;

describe('columns', () => {
  it('become messages, between other events, in order', () => {
    const columns =
      '[{"c":0,"p":{"n":0,"x":0},"l":0},["é"],[1,-0,2.5],["a",{"a":[1]},null],[[],[1],"z"],{"t":0},[true],{"u":0},["first","second"]]';
    const events = decode([16, 3, 17, 16, 2, 18, 17, 17, 16, 18], columns);
    expect(events.map(([type, , payload]) => (type === 'raw' ? type : payload))).toEqual([
      { c: 'é', p: { n: 1, x: 'a' }, l: [] },
      'raw',
      { t: true },
      { c: 'é', p: { n: -0, x: { a: [1] } }, l: [1] },
      { plain: 1 },
      { u: 'first' },
      { t: true },
      { t: true },
      { c: 'é', p: { n: 2.5, x: null }, l: 'z' },
      { u: 'second' },
    ]);
  });

  it('of long strings stand beside the text', () => {
    const columns = '[{"n":0,"a":0},[1,2],{"at":3,"lengths":[2,0]},{"b":0},{"at":0,"lengths":[3]}]';
    const events = decode([16, 17, 3, 16], columns, 'abcde');
    expect(events.map(([, , payload]) => payload)).toEqual([{ n: 1, a: 'de' }, { b: 'abc' }, 'raw', { n: 2, a: '' }]);
  });

  it.each([
    ['longer than they are', '{"at":0,"lengths":[3,3]}'],
    ['before them', '{"at":-8,"lengths":[1,1]}'],
    ['of no length', '{"at":0,"lengths":[1,-1]}'],
    ['of a length that is none', '{"at":0,"lengths":[1,"1"]}'],
    ['none', '{"at":0,"lengths":[]}'],
    ['without lengths', '{"at":0}'],
    ['without a place', '{"lengths":[1,1]}'],
    ['null', 'null'],
  ])('of long strings that are %s are refused', (_, column) => {
    expect(() => decode([16, 16], `[{"a":0},${column}]`, 'abcde')).toThrow(RangeError);
  });

  it('make objects like those of JSON.parse', () => {
    const [table] = tables(
      '[{"z":0,"constructor":0,"p":{"toString":0,"a":0},"a b":0},[1,"s"],["x","y"],[null,1e400],[true],[0,{}]]',
    );
    for (const text of [
      '{"z":1,"constructor":"x","p":{"toString":null,"a":true},"a b":0}',
      '{"z":"s","constructor":"y","p":{"toString":1e400,"a":true},"a b":{}}',
    ]) {
      const message = table?.next();
      const expected = JSON.parse(text) as object;
      expect(message).toStrictEqual(expected);
      expect(keys(message)).toEqual(keys(expected));
      expect(Object.getPrototypeOf(message)).toBe(Object.prototype);
      expect(Object.getOwnPropertyDescriptors(message)).toEqual(Object.getOwnPropertyDescriptors(expected));
    }
    expect(() => table?.end()).not.toThrow();
  });

  it('call no setter somebody has put on Object.prototype', () => {
    let called = 0;
    Object.defineProperty(Object.prototype, 'seq', { configurable: true, set: () => (called += 1) });
    try {
      const [table] = tables('[{"seq":0,"p":{"seq":0}},[1,2],[{"seq":3},4]]');
      expect([table?.next(), table?.next()].map((message) => JSON.stringify(message))).toEqual([
        '{"seq":1,"p":{"seq":{"seq":3}}}',
        '{"seq":2,"p":{"seq":4}}',
      ]);
    } finally {
      delete (Object.prototype as { seq?: unknown }).seq;
    }
    expect(called).toBe(0);
  });

  it('share nothing between messages', () => {
    const [table] = tables('[{"a":0,"p":{"b":0}},["same"],["same"]]');
    const [one, two] = [table?.next() as { p: object }, table?.next() as { p: object }];
    expect(one.p).not.toBe(two.p);
    Object.assign(one.p, { b: 1, more: 2 });
    Object.assign(one, { a: 1 });
    expect(two).toEqual({ a: 'same', p: { b: 'same' } });
    expect(table?.next()).toEqual({ a: 'same', p: { b: 'same' } });
  });

  it.each([
    ['no JSON', '[{"a":0},[1,2]'],
    ['no array', '{"a":0}'],
    ['no template', '[[1,2]]'],
    ['too few columns', '[{"a":0,"b":0},[1,2]]'],
    ['an empty column', '[{"a":0},[]]'],
    ['columns of different lengths', '[{"a":0,"b":0},[1,2],[1,2,3]]'],
    ['more rows than events', '[{"a":0},[1,2,3]]'],
    ['fewer rows than events', '[{"a":0,"b":0},["any number of rows"],[1,2,3,4]]'],
  ])('are refused: %s', (reason, columns) => {
    expect(() => decode(reason.startsWith('fewer') ? [16, 16, 16, 16, 16] : [16, 16], columns)).toThrow(RangeError);
  });

  it('may have one value for any number of rows', () => {
    expect(decode([16, 16], '[{"a":0},[1]]').map((event) => event[2])).toEqual([{ a: 1 }, { a: 1 }]);
  });

  it('are refused where an event has no table', () => {
    expect(() => decode([16, 17, 16], '[{"a":0},[1,2]]')).toThrow(RangeError);
    expect(() => decode([16], '')).toThrow(RangeError);
  });
});
