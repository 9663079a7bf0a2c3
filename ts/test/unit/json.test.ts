import { describe, expect, it } from 'vitest';
import { WSEError } from '../../src/errors.js';
import { objectToJson, toJson } from '../../src/json.js';

const json = (value: unknown): string => objectToJson(value, 'event');

describe('objectToJson', () => {
  it.each([
    [{ a: 1, b: 'x', c: null, d: [true, { e: 2 }] }, '{"a":1,"b":"x","c":null,"d":[true,{"e":2}]}'],
    [{ a: undefined, b: [undefined] }, '{"b":[null]}'],
    [{ n: Number.NaN, i: [Infinity, -Infinity] }, '{"n":null,"i":[null,null]}'],
    [{ b: new Uint8Array([0, 255, 16]) }, '{"b":"00ff10"}'],
    [{ b: Buffer.from('é') }, '{"b":"c3a9"}'],
    [{ b: new Uint16Array([1]).buffer }, '{"b":"0100"}'],
    [{ b: new Uint8Array([1, 2, 3, 4]).subarray(1, 3) }, '{"b":"0203"}'],
    [{ d: new Date(0) }, '{"d":"1970-01-01T00:00:00.000Z"}'],
    [{ d: new Date(Number.NaN) }, '{"d":null}'],
    [{ i: 2n ** 53n - 1n, j: -(2n ** 53n) + 1n }, '{"i":9007199254740991,"j":-9007199254740991}'],
    [{ i: 2n ** 53n, j: -(2n ** 53n) }, '{"i":"9007199254740992","j":"-9007199254740992"}'],
    [{ i: 2n ** 63n, j: -(2n ** 63n) - 1n }, '{"i":"9223372036854775808","j":"-9223372036854775809"}'],
    [{ f: () => 1, [Symbol('key')]: 2, n: 1n }, '{"n":1}'],
    [{ m: Object.assign(new Map([[1, 2]]), { toJSON: () => 'own' }) }, '{"m":"own"}'],
    [{ '"k\n': 1n }, '{"\\"k\\n":1}'],
    [{ o: Object.assign(Object.create(null), { a: 1 }) }, '{"o":{"a":1}}'],
    [{ t: { toJSON: () => ({ deep: 1n }) } }, '{"t":{"deep":1}}'],
    [
      {
        c: new (class Point {
          x = 1;
        })(),
        b: 1n,
      },
      '{"c":{"x":1},"b":1}',
    ],
    [{ s: new String('x'), n: new Number(1) }, '{"s":"x","n":1}'],
  ])('%#', (value, expected) => {
    expect(json(value)).toBe(expected);
    expect(() => JSON.parse(json(value))).not.toThrow();
  });

  it('agrees with JSON.stringify on plain values', () => {
    const value = { s: 'a"\\\u2028\ud800', n: [0, -0, 1e21, 0.1], o: { '': {} } };
    expect(json(value)).toBe(JSON.stringify(value));
    expect(json({ ...value, extra: 1n })).toBe(`${JSON.stringify(value).slice(0, -1)},"extra":1}`);
  });

  it.each([
    undefined,
    null,
    1,
    'text',
    true,
    [],
    [1],
    new Map(),
    new Set(),
    new Date(),
    new Uint8Array(1),
    () => {},
    1n,
    Symbol('s'),
  ])('refuses %s', (value) => {
    expect(() => json(value)).toThrow(TypeError);
  });

  it.each<[string, object]>([
    ['event.m', { m: new Map([[1, 2]]) }],
    ['event.a[1].s', { a: [0, { s: new Set() }] }],
    ['event.e', { e: new RangeError('no') }],
    ['event.r', { r: /x/g }],
    ['event.y', { y: Symbol('q') }],
    ['event.p', { p: Promise.resolve() }],
    ['event.w[0]', { w: [new WeakMap()] }],
    ['event.t', { t: { toJSON: () => new Map() } }],
  ])('refuses what has no JSON form and says where it is: %s', (path, value) => {
    const thrown = expect(() => json(value));
    thrown.toThrow(TypeError);
    thrown.toThrow(WSEError);
    thrown.toThrow(expect.objectContaining({ code: 'WSE_NO_JSON_FORM', path }));
  });

  it('refuses what refers to itself, at any length of the way', () => {
    const loop: Record<string, unknown> = {};
    loop['self'] = { again: [loop] };
    expect(() => json(loop)).toThrow(TypeError);
    expect(() => json({ big: 1n, loop })).toThrow(TypeError);
  });
});

describe('toJson', () => {
  it('takes any value', () => {
    expect([toJson(undefined, 'p'), toJson(null, 'p'), toJson('x', 'p'), toJson([1n], 'p')]).toEqual([
      'null',
      'null',
      '"x"',
      '[1]',
    ]);
  });
});
