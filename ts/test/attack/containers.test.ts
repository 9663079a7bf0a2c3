/**
 * Arrays, maps and attachments that declare or nest more than they hold: CVE-2026-33151 GHSA-677m-j7p3-52f9,
 * CVE-2026-69185 (socket.io-parser), CVE-2020-36048, CVE-2020-36049 (engine.io).
 */

import { describe, expect, it } from 'vitest';
import { RawPeer } from '../support/raw-peer.js';
import { MIB, rss } from '../support/server.js';
import { attacked, unharmed } from './witness.js';

const bytes = (...parts: (number[] | Uint8Array)[]): Buffer => Buffer.concat(parts.map((part) => Buffer.from(part)));
const MOST = [0xff, 0xff, 0xff, 0xff];
const T = [0x81, 0xa1, 0x74]; // {"t": …

const PACKED: [string, Buffer][] = [
  ['an array of four billion', bytes([0xdd], MOST)],
  ['a map of four billion', bytes([0xdf], MOST)],
  ['a map whose value is an array of four billion', bytes(T, [0xdd], MOST, [0xc0])],
  ['a string of four billion', bytes(T, [0xdb], MOST)],
  ['bytes of four billion', bytes(T, [0xc6], MOST)],
  ['an extension of four billion', bytes(T, [0xc9], MOST, [1])],
  ['arrays nested a million deep', bytes(T, Buffer.alloc(MIB - 16, 0x91))],
  ['maps nested half a million deep', bytes(Buffer.alloc(MIB - 16, Buffer.from(T)))],
  ['arrays of four billion nested', Buffer.alloc(MIB - 16, bytes([0xdd], MOST))],
  ['a million elements', bytes(T, [0xdd, 0, 0x0f, 0xff, 0x00], Buffer.alloc(0x0f_ff_00, 0xc0))],
  ['elements that grow fivefold as JSON', bytes(T, [0xdd, 0, 1, 0x80, 0], Buffer.alloc(0x1_80_00, 0xc2))],
  ['bytes that double as hex', bytes(T, [0xc6, 0, 0x0c, 0, 0], Buffer.alloc(0x0c_00_00))],
  ['a map as key', bytes([0x81, 0x80, 0x01])],
  ['a reserved marker', bytes(T, [0xc1])],
];

describe('msgpack bombs', () => {
  it.each(PACKED)('M: %s costs no more than its bytes', async (_, packed) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const before = rss();
    const start = performance.now();
    const message = bytes(Buffer.from('M:'), packed);
    peer.binary(message);
    const [type, , payload] = await target.waitForEvent(([kind]) => kind === 'bin' || kind === 'msg');
    if (type === 'bin') expect(Buffer.compare(payload, message)).toBe(0);
    else expect(JSON.stringify(payload).length).toBeLessThanOrEqual(MIB);
    expect(performance.now() - start).toBeLessThan(3_000);
    expect(rss() - before).toBeLessThan(96 * MIB);
    await unharmed(target, witness);
  });

  it('are refused without the prefix as well, on a connection that speaks msgpack', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port, { path: '/wse?format=msgpack' });
    for (const [, packed] of PACKED.filter(([name]) => !name.startsWith('elements'))) {
      peer.binary(packed);
      expect(Buffer.compare((await target.take('bin'))[2], packed)).toBe(0);
    }
    await unharmed(target, witness);
  });

  it('takes what is within the limits', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const count = 50_000;
    peer.binary(bytes(Buffer.from('M:'), T, [0xdd, 0, 0, count >> 8, count & 255], Buffer.alloc(count, 1)));
    expect((await target.take('msg'))[2].t).toHaveLength(count);
    await unharmed(target, witness);
  });
});

describe('JSON bombs', () => {
  const nested = (open: string, shut: string, depth: number): string =>
    `{"t":"x","p":${open.repeat(depth)}1${shut.repeat(depth)}}`;
  const texts: [string, string, 'raw' | 'msg'][] = [
    ['arrays 63 deep inside an object', nested('[', ']', 63), 'msg'],
    ['arrays 64 deep inside an object', nested('[', ']', 64), 'raw'],
    ['objects 64 deep inside an object', nested('{"a":', '}', 64), 'raw'],
    ['arrays 500,000 deep', nested('[', ']', 500_000), 'raw'],
    ['objects 150,000 deep', nested('{"a":', '}', 150_000), 'raw'],
    ['arrays that only open', `{"p":${'['.repeat(MIB - 5)}`, 'raw'],
    ['a key of 1 MB', `{"${'k'.repeat(1_000_000)}":1}`, 'msg'],
    ['the same member 100,000 times', `{${'"a":1,'.repeat(100_000)}"a":1}`, 'msg'],
    ['100,000 escapes', `{"t":"${'\\u0041'.repeat(100_000)}"}`, 'msg'],
    ['a number of 1 MB', `{"p":${'9'.repeat(1_000_000)}}`, 'msg'],
    ['a number beyond all doubles', '{"p":1e999999999}', 'msg'],
    ['500,000 elements', `{"p":[${'1,'.repeat(500_000)}1]}`, 'msg'],
    ['CVE-2026-33151: attachments that are not there', '{"t":"x","p":{"_placeholder":true,"num":1e308}}', 'msg'],
    ['CVE-2020-36049: a socket.io packet with a billion attachments', '51000000000-["x",{"_placeholder":true,"num":0}]', 'raw'],
  ];
  it.each(texts)('%s', async (_, text, expected) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const before = rss();
    const start = performance.now();
    peer.text(text);
    const [type, , payload] = await target.waitForEvent(
      ([kind, conn]) => (kind === 'msg' || kind === 'raw') && conn !== witness.conn,
    );
    expect(type).toBe(expected);
    if (type === 'raw') expect(payload).toBe(text);
    expect(performance.now() - start).toBeLessThan(3_000);
    expect(rss() - before).toBeLessThan(128 * MIB);
    await unharmed(target, witness);
  });

  it('a bomb costs the messages that share its batch nothing', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const other = await RawPeer.open(target.port);
    for (let i = 0; i < 50; i += 1) {
      peer.text(nested('[', ']', 10_000));
      other.text(`{"t":"honest","p":${i}}`);
    }
    for (let i = 0; i < 50; i += 1) {
      await target.waitForEvent(([type, , payload]) => type === 'msg' && payload.t === 'honest' && payload.p === i);
    }
    await unharmed(target, witness);
  });
});
