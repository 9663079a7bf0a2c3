import { describe, expect, it } from 'vitest';
import type { WSEBatch } from '../../src/events.js';
import { decodeBatch, decodeLazyBatch } from '../../src/inbound/batch.js';
import type { LazyMessage } from '../../src/inbound/lazy.js';
import { buildBatch, inMemory, type RawEvent } from './build-batch.js';

const CONN = 2 ** 53 - 1;

const EVERY_KIND: RawEvent[] = [
  { kind: 0, conn: 1, bytes: 'a=b; c=d' },
  { kind: 1, conn: 2, bytes: 'user-7' },
  { kind: 2, conn: CONN, bytes: '{"t":"hi","p":{"n":1}}' },
  { kind: 3, conn: 4, bytes: 'plain' },
  { kind: 2, conn: 4, bytes: '{"t":"second"}' },
  { kind: 4, conn: 5, bytes: new Uint8Array([1, 2, 3]) },
  { kind: 5, conn: 6, bytes: '{"code":4300,"reason":"idle \\"timeout\\"","by":"server"}' },
  { kind: 6, conn: Number.NaN, bytes: '{"topic":"room","user_id":"u","data":{"x":1}}' },
  { kind: 7, conn: Number.NaN, bytes: '{"topic":"room","user_id":"u","data":null}' },
  { kind: 8, conn: 7, bytes: '{"policy":"drop","queuedBytes":9,"droppedMessages":1,"droppedBytes":5}' },
  { kind: 12, conn: 8, bytes: '{"topics":["a","b*"],"refused":[],"reason":"not_allowed"}' },
  { kind: 13, conn: 9, bytes: '{"expiresAt":1700003600,"expiresIn":60}' },
];

const EXPECTED = [
  ['connect', 1, 'a=b; c=d'],
  ['auth_connect', 2, 'user-7'],
  ['msg', CONN, { t: 'hi', p: { n: 1 } }],
  ['raw', 4, 'plain'],
  ['msg', 4, { t: 'second' }],
  ['bin', 5, new Uint8Array([1, 2, 3])],
  ['disconnect', 6, { code: 4300, reason: 'idle "timeout"', by: 'server' }],
  ['presence_join', null, { topic: 'room', user_id: 'u', data: { x: 1 } }],
  ['presence_leave', null, { topic: 'room', user_id: 'u', data: null }],
  ['slow_consumer', 7, { policy: 'drop', queuedBytes: 9, droppedMessages: 1, droppedBytes: 5 }],
  ['unsubscribe', 8, { topics: ['a', 'b*'], refused: [], reason: 'not_allowed' }],
  ['auth_expiring', 9, { expiresAt: new Date(1_700_003_600_000), expiresIn: 60 }],
];

const decode = (bytes: Uint8Array): WSEBatch => decodeBatch(...inMemory(bytes));

describe('decodeBatch', () => {
  it('reads every kind, in order', () => {
    expect(decode(buildBatch(EVERY_KIND))).toEqual(EXPECTED);
  });

  it('reads an empty batch', () => {
    expect(decode(buildBatch([]))).toEqual([]);
  });

  it('reads golden bytes written by hand', () => {
    // count 2, all ASCII, text 9, data 2, no columns | conns 1 and 2 | lengths 7 and 2 | kinds msg, raw | [{"a":1}]ok
    const golden = Buffer.from(
      '02000000' +
        '07000000' +
        '09000000' +
        '02000000' +
        '00000000' +
        '00000000' +
        '000000000000f03f' +
        '0000000000000040' +
        '07000000' +
        '02000000' +
        '0203000000000000' +
        '5b7b2261223a317d5d' +
        '6f6b',
      'hex',
    );
    expect(decode(golden)).toEqual([
      ['msg', 1, { a: 1 }],
      ['raw', 2, 'ok'],
    ]);
  });

  it('decodes text beyond ASCII as UTF-8 and only then', () => {
    const events = decode(
      buildBatch([
        { kind: 2, conn: 1, bytes: '{"p":"žluť 🐎"}' },
        { kind: 3, conn: 1, bytes: 'naïve' },
        { kind: 2, conn: 1, bytes: '{"p":"x"}' },
        { kind: 0, conn: 1, bytes: 'ü' },
      ]),
    );
    expect(events).toEqual([
      ['msg', 1, { p: 'žluť 🐎' }],
      ['raw', 1, 'naïve'],
      ['msg', 1, { p: 'x' }],
      ['connect', 1, 'ü'],
    ]);
  });

  it('hands out bytes that no longer belong to the batch', () => {
    const [memory, length] = inMemory(buildBatch([{ kind: 4, conn: 1, bytes: new Uint8Array([7, 8]) }]));
    const [event] = decodeBatch(memory, length);
    memory.bytes.fill(0);
    expect(event).toEqual(['bin', 1, new Uint8Array([7, 8])]);
    const payload = event?.[2] as Uint8Array | undefined;
    expect(payload?.buffer.byteLength).toBe(2);
    expect(payload?.constructor).toBe(Uint8Array);
  });

  it('loses no other message when one cannot be parsed', () => {
    const events = decode(
      buildBatch([
        { kind: 2, conn: 1, bytes: '{"t":"a"}' },
        { kind: 2, conn: 2, bytes: '{oops}' },
        { kind: 2, conn: 3, bytes: '{"t":"č"}' },
      ]),
    );
    expect(events).toEqual([
      ['msg', 1, { t: 'a' }],
      ['raw', 2, '{oops}'],
      ['msg', 3, { t: 'č' }],
    ]);
  });

  it('keeps a member named __proto__ a plain member', () => {
    const [event] = decode(buildBatch([{ kind: 2, conn: 1, bytes: '{"__proto__":{"polluted":1}}' }]));
    expect(Object.keys(event?.[2] as object)).toEqual(['__proto__']);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it('refuses what is not a batch', () => {
    expect(() => decode(new Uint8Array(23))).toThrow(RangeError);
    expect(() => decode(buildBatch(EVERY_KIND).subarray(0, -1))).toThrow(RangeError);
    expect(() => decode(buildBatch([{ kind: 99, conn: 1, bytes: '' }]))).toThrow(RangeError);
    for (const at of [0, 8, 12, 16]) {
      const lying = buildBatch([]);
      new DataView(lying.buffer).setUint32(at, 0xffffffff, true);
      expect(() => decode(lying)).toThrow(RangeError);
    }
    const [memory] = inMemory(buildBatch(EVERY_KIND));
    expect(() => decodeBatch(memory, memory.bytes.length + 1)).toThrow(RangeError);
  });

  it('leaves messages unparsed when asked to, whatever becomes of the buffer', () => {
    const events: RawEvent[] = [
      { kind: 2, conn: 1, bytes: '{"t":"a","p":{"x":"č"}}' },
      { kind: 3, conn: 2, bytes: 'plain' },
      { kind: 2, conn: 3, bytes: '{"n":1}' },
    ];
    const [memory, length] = inMemory(buildBatch(events));
    const [first, second, third] = decodeLazyBatch(memory, length);
    memory.bytes.fill(0);
    expect(second).toEqual(['raw', 2, 'plain']);
    const [one, three] = [first?.[2], third?.[2]] as [LazyMessage, LazyMessage];
    expect([one.text, one.byteLength, one.parse()]).toEqual(['{"t":"a","p":{"x":"č"}}', 24, { t: 'a', p: { x: 'č' } }]);
    expect(three.parse()).toEqual({ n: 1 });
    expect(three.parse()).not.toBe(three.parse());
  });
});
