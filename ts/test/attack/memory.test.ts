/**
 * Memory disclosure: CVE-2016-10518 GHSA-2mhh-w6q8-5hxw (a number became a buffer), CVE-2026-45736 GHSA-58qx-3vcg-4xpx
 * (a view's neighbours were sent). Whatever holds bytes is sent exactly, everything else is a TypeError.
 */

import { describe, expect, it } from 'vitest';
import type { BytesLike } from '../../src/index.js';
import { Opcode, RawPeer } from '../support/raw-peer.js';
import type { TestServer } from '../support/server.js';
import { attacked, unharmed, type Witness } from './witness.js';

/** What must never be seen. */
const SECRET = 0xaa;

interface ViewKind {
  readonly name: string;
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): ArrayBufferView;
}

const KINDS: ViewKind[] = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
];
const LENGTHS = [0, 1, 3, 200, 70_000];

/** A buffer of secrets with `bytes` in the middle of it, at an offset every kind may have. */
function surrounded(bytes: Uint8Array, shared = false): { buffer: ArrayBufferLike; offset: number } {
  const offset = 64;
  const buffer = shared ? new SharedArrayBuffer(bytes.length + 128) : new ArrayBuffer(bytes.length + 128);
  const all = new Uint8Array(buffer).fill(SECRET);
  all.set(bytes, offset);
  return { buffer, offset };
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index % 127);
}

async function sentExactly(target: TestServer, witness: Witness, given: BytesLike, expected: Uint8Array): Promise<void> {
  expect(target.server.sendBytes(witness.conn, given)).toBe(true);
  const direct = await witness.peer.next(({ opcode }) => opcode === Opcode.binary);
  expect(Buffer.compare(direct.payload, expected)).toBe(0);
  // It may say that publishers should wait; it is sent all the same.
  target.server.broadcastAllBytes(given);
  const broadcast = await witness.peer.next(({ opcode }) => opcode === Opcode.binary);
  expect(Buffer.compare(broadcast.payload, expected)).toBe(0);
}

describe('memory disclosure: CVE-2026-45736 GHSA-58qx-3vcg-4xpx', () => {
  it.each(KINDS.map((kind) => [kind.name, kind] as const))('%s sends what its view covers', async (_, Kind) => {
    const { target, witness } = await attacked();
    for (const shared of [false, true]) {
      for (const length of LENGTHS) {
        const bytes = pattern(length * Kind.BYTES_PER_ELEMENT);
        const { buffer, offset } = surrounded(bytes, shared);
        await sentExactly(target, witness, new Kind(buffer, offset, length), bytes);
      }
    }
    await unharmed(target, witness);
  });

  it('DataView, Buffer, ArrayBuffer and SharedArrayBuffer as well', async () => {
    const { target, witness } = await attacked();
    for (const length of LENGTHS) {
      const bytes = pattern(length);
      for (const shared of [false, true]) {
        const { buffer, offset } = surrounded(bytes, shared);
        await sentExactly(target, witness, new DataView(buffer, offset, length), bytes);
        const whole = shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length);
        new Uint8Array(whole).set(bytes);
        await sentExactly(target, witness, whole, bytes);
      }
      // From the pool that all small Buffers share.
      await sentExactly(target, witness, Buffer.from(bytes), bytes);
      await sentExactly(target, witness, Buffer.concat([bytes, Buffer.alloc(100, SECRET)]).subarray(0, length), bytes);
    }
    await unharmed(target, witness);
  });

  it('resizable buffers, at their present size', async () => {
    const { target, witness } = await attacked();
    const buffer = Reflect.construct(ArrayBuffer, [100, { maxByteLength: 4096 }]) as ArrayBuffer & { resize(to: number): void };
    const tracking = new Uint8Array(buffer);
    const fixed = new Uint8Array(buffer, 10, 80);
    const words = new Uint16Array(buffer, 10, 40);
    tracking.set(pattern(100));
    await sentExactly(target, witness, tracking, pattern(100));
    await sentExactly(target, witness, fixed, pattern(100).subarray(10, 90));
    await sentExactly(target, witness, words, pattern(100).subarray(10, 90));
    buffer.resize(50);
    await sentExactly(target, witness, tracking, pattern(50));
    await sentExactly(target, witness, buffer, pattern(50));
    // The views are out of bounds now: they cover nothing.
    for (const gone of [fixed, words, new Int8Array(0)]) await sentExactly(target, witness, gone, new Uint8Array(0));
    buffer.resize(4096);
    await sentExactly(target, witness, tracking, Buffer.concat([pattern(50), Buffer.alloc(4046)]));
    await unharmed(target, witness);
  });

  it('growable shared buffers, at their present size', async () => {
    const { target, witness } = await attacked();
    const buffer = Reflect.construct(SharedArrayBuffer, [50, { maxByteLength: 4096 }]) as SharedArrayBuffer & {
      grow(to: number): void;
    };
    const tracking = new Uint8Array(buffer);
    tracking.set(pattern(50));
    await sentExactly(target, witness, tracking, pattern(50));
    buffer.grow(60);
    await sentExactly(target, witness, tracking, Buffer.concat([pattern(50), Buffer.alloc(10)]));
    await unharmed(target, witness);
  });

  it('detached memory is a TypeError', async () => {
    const { target, witness } = await attacked();
    for (const make of [
      (buffer: ArrayBuffer) => buffer,
      (buffer: ArrayBuffer) => new Uint8Array(buffer),
      (buffer: ArrayBuffer) => new Float64Array(buffer, 8, 2),
      (buffer: ArrayBuffer) => new DataView(buffer, 1, 2),
      (buffer: ArrayBuffer) => Buffer.from(buffer, 4, 4),
    ]) {
      const buffer = new ArrayBuffer(64);
      const view = make(buffer);
      structuredClone(buffer, { transfer: [buffer] });
      expect(() => target.server.sendBytes(witness.conn, view)).toThrow(TypeError);
      expect(() => target.server.broadcastAllBytes(view)).toThrow(TypeError);
    }
    await unharmed(target, witness);
  });

  it('what is changed after the call is not sent', async () => {
    const { target, witness } = await attacked();
    const bytes = new Uint8Array(100_000).fill(1);
    for (let i = 0; i < 10; i += 1) {
      target.server.sendBytes(witness.conn, bytes);
      bytes.fill(SECRET);
      const { payload } = await witness.peer.next(({ opcode }) => opcode === Opcode.binary);
      expect(payload.includes(SECRET)).toBe(false);
      bytes.fill(1);
    }
    await unharmed(target, witness);
  });
});

describe('memory disclosure: CVE-2016-10518 GHSA-2mhh-w6q8-5hxw', () => {
  const NO_BYTES: [string, unknown][] = [
    ['a number', 1000],
    ['a large number', 2 ** 31],
    ['a bigint', 10n],
    ['a string', 'text'],
    ['a boolean', true],
    ['null', null],
    ['undefined', undefined],
    ['an array of numbers', [1, 2, 3]],
    ['an object with a length', { length: 1000 }],
    ['what looks like a view', { buffer: new ArrayBuffer(8), byteOffset: 0, byteLength: 4096, length: 4096 }],
    ['what calls itself a view', { [Symbol.toStringTag]: 'Uint8Array', length: 1000, byteLength: 1000 }],
    ['what inherits from a view', Object.create(Uint8Array.prototype)],
    ['the JSON of a Buffer', Buffer.from('x').toJSON()],
    ['a Proxy of a view', new Proxy(new Uint8Array(8), {})],
    ['a function', () => 8],
    ['a Blob', new Blob(['x'])],
    ['a Date', new Date(8)],
  ];
  it.each(NO_BYTES)('%s is not bytes', async (_, value) => {
    const { target, witness } = await attacked();
    expect(() => target.server.sendBytes(witness.conn, value as Uint8Array)).toThrow(TypeError);
    expect(() => target.server.broadcastAllBytes(value as Uint8Array)).toThrow(TypeError);
    if (typeof value !== 'string') {
      expect(() => target.server.send(witness.conn, value as string)).toThrow(TypeError);
      expect(() => target.server.broadcast('t', value as string)).toThrow(TypeError);
      expect(() => target.server.broadcast(value as string, 'x')).toThrow(TypeError);
      expect(() => target.server.broadcastAll(value as string)).toThrow(TypeError);
      if (value !== undefined && value !== null) {
        expect(() => target.server.disconnect(witness.conn, { reason: value as string })).toThrow(TypeError);
        await expect(target.server.drain({ reason: value as string })).rejects.toThrow(TypeError);
      }
    }
    if (typeof value !== 'number') {
      expect(() => target.server.sendBytes(value as number, new Uint8Array(1))).toThrow(TypeError);
    }
    await unharmed(target, witness);
    expect(witness.peer.frames.filter(({ opcode }) => opcode === Opcode.binary)).toEqual([]);
  });

  it.each([
    ['every kind of view as close reason', 'reason'],
    ['every kind of view as close code', 'code'],
  ] as const)('CVE-2026-45736: %s is a TypeError', async (_, option) => {
    const { target, witness } = await attacked();
    for (const Kind of KINDS) {
      const { buffer, offset } = surrounded(pattern(8));
      const view = new Kind(buffer, offset, 1) as unknown;
      expect(() => target.server.disconnect(witness.conn, { [option]: view as never })).toThrow(TypeError);
    }
    await unharmed(target, witness);
  });

  it('a close reason is what was given, to the byte', async () => {
    const { target, witness } = await attacked();
    for (const reason of ['', 'é', 'x'.repeat(123), '€'.repeat(41)]) {
      const before = new Set(target.server.getConnections());
      const peer = await RawPeer.open(target.port);
      const [conn = 0] = target.server.getConnections().filter((id) => !before.has(id));
      expect(target.server.disconnect(conn, { code: 4321, reason })).toBe(true);
      expect(await peer.closing()).toEqual({ code: 4321, reason });
    }
    expect(() => target.server.disconnect(witness.conn, { reason: '€'.repeat(42) })).toThrow(TypeError);
    await unharmed(target, witness);
  });

  it('a pong is its ping, to the byte', async () => {
    const { target, witness } = await attacked();
    target.server.send(witness.conn, '\u00aa'.repeat(10_000));
    for (let length = 0; length <= 125; length += 5) {
      witness.peer.ping(pattern(length));
      const { payload } = await witness.peer.next(({ opcode }) => opcode === Opcode.pong);
      expect(Buffer.compare(payload, pattern(length))).toBe(0);
    }
    await unharmed(target, witness);
  });
});
