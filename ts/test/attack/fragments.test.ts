/** Messages in too many pieces. */

import { describe, expect, it } from 'vitest';
import { threads } from '../support/driver.js';
import { fragments, frame, Opcode, RawPeer } from '../support/raw-peer.js';
import { MIB, rss, waitUntil } from '../support/server.js';
import { alone, attacked, unharmed } from './witness.js';

const MAX_MESSAGE = MIB;
/** One fragment for each 16 bytes of the largest message. */
const MOST = MAX_MESSAGE / 16;

function repeated(bytes: Uint8Array, count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => bytes));
}

describe('tiny fragments: CVE-2026-48779 GHSA-96hv-2xvq-fx4p ws#2331', () => {
  it('joins a message of the largest size in the most fragments', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const whole = Buffer.alloc(MAX_MESSAGE, 'x');
    peer.send(fragments(whole, MAX_MESSAGE / MOST));
    const [, , text] = await target.take('raw');
    expect(text.length).toBe(MAX_MESSAGE);
    await unharmed(target, witness);
  });

  it('takes a message of 4 MiB in 64-byte fragments where messages may be so large (Autobahn 9.3.1)', async () => {
    const { target, witness } = await attacked({ maxMessageSize: 4 * MIB });
    const peer = await RawPeer.open(target.port);
    peer.send(fragments(Buffer.alloc(4 * MIB, 'x'), 64));
    expect((await target.take('raw'))[2].length).toBe(4 * MIB);
    await unharmed(target, witness);
  });

  it('closes with 1008 at one fragment more, whatever the bytes', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    peer.frame({ fin: false, payload: 'x' });
    peer.send(repeated(frame({ opcode: Opcode.continuation, fin: false, payload: 'x' }), MOST));
    expect(await peer.closing()).toMatchObject({ code: 1008 });
    await alone(target);
    await unharmed(target, witness);
  });

  it('holds no more for 524,288 one-byte fragments than their bytes', async () => {
    const { target, witness } = await attacked();
    const before = rss();
    const peers = await Promise.all(Array.from({ length: 8 }, () => RawPeer.open(target.port)));
    const most = repeated(frame({ opcode: Opcode.continuation, fin: false, payload: 'x' }), MOST - 1);
    for (const peer of peers) {
      peer.frame({ fin: false, payload: 'x' });
      peer.send(most);
    }
    await waitUntil(() => target.gauge('reassembly_bytes') >= 8 * MOST, 'fragments');
    expect(target.gauge('reassembly_bytes')).toBeLessThan(16 * MOST);
    expect(rss() - before).toBeLessThan(64 * MIB);
    for (const peer of peers) peer.destroy();
    await unharmed(target, witness);
  });

  it('counts empty fragments as well (ws PR #2329)', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    peer.frame({ fin: false });
    peer.send(repeated(frame({ opcode: Opcode.continuation, fin: false }), 131_072));
    expect(await peer.closing()).toMatchObject({ code: 1008 });
    await unharmed(target, witness);
  });

  it('answers pings between the fragments of a message', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    peer.frame({ fin: false, payload: 'a' });
    peer.ping('between');
    expect((await peer.next(({ opcode }) => opcode === Opcode.pong)).payload.toString()).toBe('between');
    peer.frame({ opcode: Opcode.continuation, payload: 'b' });
    expect((await target.take('raw'))[2]).toBe('ab');
    await unharmed(target, witness);
  });
});

describe('messages that never end', () => {
  it('closes with 1009 when their sum is too large', async () => {
    const { target, witness } = await attacked({ maxMessageSize: 64 * 1024 });
    const peer = await RawPeer.open(target.port);
    peer.frame({ fin: false, payload: 'x'.repeat(40_000) });
    peer.frame({ opcode: Opcode.continuation, fin: false, payload: 'x'.repeat(40_000) });
    expect(await peer.closing()).toMatchObject({ code: 1009 });
    await unharmed(target, witness);
  });

  it('bounds the sum over all connections: those beyond it are closed with 1013', async () => {
    const budget = 2 * MIB;
    const { target, witness } = await attacked({ shards: threads(1), maxReassemblyBytes: budget });
    const peers = await Promise.all(Array.from({ length: 12 }, () => RawPeer.open(target.port)));
    for (const peer of peers) peer.frame({ fin: false, payload: 'x'.repeat(MIB / 2) });
    await waitUntil(() => peers.filter(({ closed }) => closed?.code === 1013).length >= 8, 'eight refusals');
    expect(target.gauge('reassembly_bytes')).toBeLessThanOrEqual(budget);
    await witness.echoes();
    for (const peer of peers) peer.destroy();
    await unharmed(target, witness);
  });
});
