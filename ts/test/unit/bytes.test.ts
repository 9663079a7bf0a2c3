import { describe, expect, it } from 'vitest';
import { toConn, toTexts } from '../../src/arguments.js';
import { toBytes } from '../../src/bytes.js';

describe('toBytes', () => {
  const whole = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7]);

  it.each([
    ['Uint8Array', whole.subarray(2, 4), [2, 3]],
    ['Buffer', Buffer.from(whole.buffer, 2, 2), [2, 3]],
    ['DataView', new DataView(whole.buffer, 6), [6, 7]],
    ['Uint16Array', new Uint16Array(whole.buffer, 4, 1), [4, 5]],
    ['Float64Array', new Float64Array(whole.buffer), [0, 1, 2, 3, 4, 5, 6, 7]],
    ['ArrayBuffer', whole.buffer, [0, 1, 2, 3, 4, 5, 6, 7]],
    ['empty', new Uint8Array(0), []],
    ['empty DataView', new DataView(whole.buffer, 8), []],
  ])('reads a %s', (_, input, expected) => {
    expect([...toBytes(input, 'bytes')]).toEqual(expected);
  });

  it('copies shared memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(5);
    const bytes = toBytes(shared.subarray(1, 3), 'bytes');
    shared.fill(9);
    expect([...bytes]).toEqual([5, 5]);
    expect([...toBytes(shared.buffer, 'bytes')]).toEqual([9, 9, 9, 9]);
  });

  it.each([
    ['Uint8Array', (buffer: ArrayBuffer): unknown => new Uint8Array(buffer)],
    ['DataView', (buffer: ArrayBuffer): unknown => new DataView(buffer)],
    ['Float64Array', (buffer: ArrayBuffer): unknown => new Float64Array(buffer)],
    ['ArrayBuffer', (buffer: ArrayBuffer): unknown => buffer],
  ])('refuses a detached %s', (_, make) => {
    const buffer = new ArrayBuffer(8);
    const input = make(buffer);
    structuredClone(buffer, { transfer: [buffer] });
    expect(() => toBytes(input, 'bytes')).toThrow(TypeError);
  });

  it.each([undefined, null, 'text', 1, [1, 2], {}])('refuses %s', (input) => {
    expect(() => toBytes(input, 'bytes')).toThrow(/bytes must be/);
  });
});

describe('toTexts', () => {
  it('names the item that is wrong', () => {
    expect(() => toTexts(['a', 1], 'topics')).toThrow(/topics\[1\]/);
    expect(() => toTexts('a', 'topics')).toThrow(TypeError);
  });
});

describe('toConn', () => {
  it('takes numbers only', () => {
    expect(toConn(-1)).toBe(-1);
    expect(() => toConn('1')).toThrow(TypeError);
  });
});
