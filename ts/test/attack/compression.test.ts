/** What unpacks to more than it is, and extensions with absurd parameters. */

import { constants, deflateRawSync, deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { frame, Opcode, RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { MIB, rss, startServer } from '../support/server.js';
import { attacked, unharmed } from './witness.js';

const bomb = (size: number): Buffer => Buffer.concat([Buffer.from('C:'), deflateSync(Buffer.alloc(size, '{'), { level: 1 })]);

describe('zip bomb: CVE-2026-1526 GHSA-vrm6-8vpv-qv8q (undici), GHSA-8r68-gvr4-jh7j (nats), GHSA-frh3-6pv6-rc8j (bandit), CVE-2018-1000518', () => {
  it('never inflates a C: message beyond the message limit', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const packed = bomb(128 * MIB);
    expect(packed.length).toBeLessThan(MIB);
    const before = rss();
    const start = performance.now();
    for (let i = 0; i < 20; i += 1) peer.binary(packed);
    for (let i = 0; i < 20; i += 1) {
      // What cannot be a message is handed on as the bytes it was.
      const [, , bytes] = await target.take('bin');
      expect(Buffer.compare(bytes, packed)).toBe(0);
    }
    expect(performance.now() - start).toBeLessThan(8_000);
    expect(rss() - before).toBeLessThan(96 * MIB);
    await unharmed(target, witness);
  });

  it('never inflates a C: message to more than 64 times its length, beyond 64 KiB', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const message = (size: number): Buffer => {
      const text = `{"t":"x","p":"${'a'.repeat(size - 16)}"}`;
      return Buffer.concat([Buffer.from('C:'), deflateSync(text)]);
    };
    const [free, dense] = [message(64 * 1024), message(512 * 1024)];
    expect(dense.length).toBeLessThan(4096);
    peer.binary(dense);
    expect(Buffer.compare((await target.take('bin'))[2], dense)).toBe(0);
    peer.binary(free);
    expect((await target.take('msg'))[2].t).toBe('x');
    await unharmed(target, witness);
  });

  it('inflates exactly to the limit, and not one byte beyond', async () => {
    const { target, witness } = await attacked({ maxMessageSize: 4096 });
    const peer = await RawPeer.open(target.port);
    const message = (size: number): Buffer => {
      const text = `{"t":"x","p":"${'a'.repeat(size - 16)}"}`;
      expect(text.length).toBe(size);
      return Buffer.concat([Buffer.from('C:'), deflateSync(text)]);
    };
    peer.binary(message(4096));
    expect((await target.take('msg'))[2].t).toBe('x');
    peer.binary(message(4097));
    expect(
      Buffer.from((await target.take('bin'))[2])
        .subarray(0, 2)
        .toString(),
    ).toBe('C:');
    await unharmed(target, witness);
  });

  it('does not unpack what was packed twice, nor a bare zlib stream', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const inner = Buffer.concat([Buffer.from('C:'), deflateSync('{"t":"inner"}')]);
    const twice = Buffer.concat([Buffer.from('C:'), deflateSync(inner)]);
    const bare = deflateSync(Buffer.alloc(16 * MIB));
    peer.binary(twice);
    expect(Buffer.compare((await target.take('bin'))[2], twice)).toBe(0);
    peer.binary(bare);
    expect(Buffer.compare((await target.take('bin'))[2], bare)).toBe(0);
    await unharmed(target, witness);
  });

  it('survives streams that are cut, corrupt, or ask for a dictionary', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const good = deflateSync('{"t":"x"}');
    const streams = [
      good.subarray(0, -1),
      Buffer.concat([good, Buffer.from([0])]),
      Buffer.from([0x78, 0xbb, 0, 0, 0, 0, 0, 0]),
      deflateSync('{"t":"x"}', { dictionary: Buffer.from('{"t":') }),
      deflateRawSync('{"t":"x"}'),
      Buffer.alloc(0),
      // A stream of sync flushes: input without output.
      Buffer.concat([Buffer.from([0x78, 0x9c]), Buffer.alloc(100_000, Buffer.from([0, 0, 0, 0xff, 0xff]))]),
      deflateSync(Buffer.alloc(1000, 'x'), { finishFlush: constants.Z_SYNC_FLUSH }),
    ];
    for (const stream of streams) {
      const message = Buffer.concat([Buffer.from('C:'), stream]);
      peer.binary(message);
      expect(Buffer.compare((await target.take('bin'))[2], message)).toBe(0);
    }
    await unharmed(target, witness);
  });

  it('inflates nothing before the token was checked: GHSA-qrvq-68c2-7grw (nats)', async () => {
    const { target, witness } = await attacked();
    const guarded = await startServer({ jwt: { secret: 's'.repeat(32) }, allowedOrigins: [] });
    const packed = frame({ opcode: Opcode.binary, payload: bomb(16 * MIB) });
    const [{ status }, peer] = await RawPeer.ask(guarded.port, Buffer.concat([upgradeRequest(), packed]));
    expect(status).toBe(101);
    expect(await peer.closing()).toEqual({ code: 4401, reason: 'Authentication failed' });
    expect(guarded.gauge('messages_received')).toBe(0);
    expect(guarded.events).toEqual([]);
    await unharmed(target, witness);
  });
});

describe('deflate parameters: CVE-2026-2229 (undici)', () => {
  const offers = [
    'permessage-deflate',
    'permessage-deflate; server_max_window_bits=16',
    'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; server_max_window_bits=0',
    'permessage-deflate; server_max_window_bits=-1',
    'permessage-deflate; server_max_window_bits=99999999999999999999999',
    'permessage-deflate; server_max_window_bits="15"',
    'permessage-deflate; server_max_window_bits=',
    'permessage-deflate; server_max_window_bits; client_max_window_bits=NaN',
    'permessage-deflate; client_max_window_bits=8; client_max_window_bits=15',
    'permessage-deflate; mux; x-webkit-deflate-frame',
    `permessage-deflate${'; server_no_context_takeover'.repeat(400)}`,
    Array.from({ length: 400 }, () => 'permessage-deflate').join(', '),
  ];
  it.each(offers.map((offer) => [offer.slice(0, 80), offer]))('%s is not accepted', async (_, offer) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port, { headers: [['Sec-WebSocket-Extensions', offer]] });
    expect((await peer.response()).headers.has('sec-websocket-extensions')).toBe(false);
    // So its bit stays reserved.
    peer.frame({ rsv: 4, payload: deflateRawSync('{"t":"x"}') });
    expect(await peer.closing()).toMatchObject({ code: 1002 });
    await unharmed(target, witness);
  });
});
