/** Lengths that lie, and messages over the limit. */

import { describe, expect, it } from 'vitest';
import { frame, Opcode, RawPeer } from '../support/raw-peer.js';
import { DEADLINE_MS, MIB, rss, waitUntil } from '../support/server.js';
import { alone, attacked, unharmed } from './witness.js';

describe('length overflow: CVE-2026-27889 GHSA-pq2q-rcw4-3hr6 (nats), CVE-2026-1528 (undici), CVE-2020-27813 (gorilla)', () => {
  const lengths: [bigint, number][] = [
    [2n ** 64n - 1n, 1002],
    [2n ** 63n, 1002],
    [2n ** 63n - 1n, 1009],
    [2n ** 53n, 1009],
    [2n ** 32n, 1009],
    [2n ** 32n - 1n, 1009],
    [2n ** 31n, 1009],
    [BigInt(MIB) + 1n, 1009],
  ];
  for (const opcode of [Opcode.text, Opcode.binary, Opcode.continuation]) {
    it.each(lengths)(`opcode ${opcode}: a declared length of %i is refused by its header alone`, async (declared, code) => {
      const { target, witness } = await attacked();
      const before = rss();
      const peer = await RawPeer.open(target.port);
      if (opcode === Opcode.continuation) peer.frame({ fin: false, payload: 'begun' });
      peer.frame({ opcode, declared, lengthBits: 64 });
      expect(await peer.closing()).toMatchObject({ code });
      expect(rss() - before).toBeLessThan(64 * MIB);
      await unharmed(target, witness);
    });
  }

  it('allocates nothing for a declared length', async () => {
    const { target, witness } = await attacked({ maxMessageSize: 256 * MIB, maxReassemblyBytes: 1024 * MIB });
    const before = rss();
    const peers = await Promise.all(Array.from({ length: 100 }, () => RawPeer.open(target.port)));
    for (const peer of peers)
      peer.send(Buffer.concat([frame({ opcode: Opcode.binary, declared: 256 * MIB }), Buffer.alloc(100)]));
    await waitUntil(() => target.gauge('reassembly_bytes') >= 100 * 100, 'beginnings');
    expect(target.gauge('reassembly_bytes')).toBeLessThan(100 * 1024);
    expect(rss() - before).toBeLessThan(64 * MIB);
    for (const peer of peers) peer.destroy();
    await alone(target);
    await unharmed(target, witness);
  });

  it.each([
    ['16 bits for 125', frame({ payload: 'x'.repeat(125), lengthBits: 16 })],
    ['64 bits for 125', frame({ payload: 'x'.repeat(125), lengthBits: 64 })],
    ['64 bits for 65,535', frame({ payload: 'x'.repeat(65_535), lengthBits: 64 })],
    ['16 bits for a ping', frame({ opcode: Opcode.ping, payload: 'x'.repeat(126) })],
    ['64 bits for a close', frame({ opcode: Opcode.close, declared: 2 ** 40 })],
  ])('a length in more bits than it needs is refused: %s', async (_, bytes) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    peer.send(bytes);
    expect(await peer.closing()).toMatchObject({ code: 1002 });
    await unharmed(target, witness);
  });
});

describe('oversize default: CVE-2016-10542 GHSA-6663-c963-2gqg (ws)', () => {
  it.each([Opcode.text, Opcode.binary])('opcode %i: takes 1 MiB and not one byte more', async (opcode) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    peer.frame({ opcode, payload: Buffer.alloc(MIB, 'x') });
    const [, , payload] = await target.waitForEvent(([type]) => type === 'raw' || type === 'bin');
    expect((payload as string | Uint8Array).length).toBe(MIB);
    peer.frame({ opcode, payload: Buffer.alloc(MIB + 1, 'x') });
    expect(await peer.closing()).toMatchObject({ code: 1009 });
    await alone(target);
    await unharmed(target, witness);
  });

  it('does not read on for ever what a violator sends', async () => {
    const { target, witness } = await attacked({ closeTimeout: 1 });
    const peer = await RawPeer.open(target.port);
    peer.frame({ declared: 2 ** 31 });
    // How much it takes in a second depends on the machine; that it ends then does not.
    const until = performance.now() + DEADLINE_MS;
    let taken = true;
    while (taken && performance.now() < until) taken = await peer.write(Buffer.alloc(MIB));
    expect(taken).toBe(false);
    await alone(target);
    await unharmed(target, witness);
  });
});
