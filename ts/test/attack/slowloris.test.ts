/**
 * Peers that begin and never finish: tokio-tungstenite#347, tokio-rustls#4, pyrycode-relay#35. Each phase has its limit:
 * TCP and TLS and upgrade share the handshake's, what follows has the idle limit.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { connect } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { selfSigned } from '../support/certificate.js';
import { frame, Opcode, RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { waitUntil } from '../support/server.js';
import { attacked, unharmed } from './witness.js';

/** Above what an honest handshake takes on a busy machine. */
const SHORT = { timeout: 1.5 };
/** Above what the witness may be silent for where this process has to wait for the processor. */
const IDLE = { pingInterval: 0.4, idleTimeout: 1.6 };
const CERTIFICATE = await selfSigned();
/** A record header that announces 16 KiB of ClientHello. */
const HELLO_BEGINS = Buffer.from([0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]);

/** What a TLS client says first. */
async function clientHello(): Promise<Buffer> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  client.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  server.close();
  return hello;
}

/** Sends byte after byte until the server has had enough. */
async function drip(peer: RawPeer, bytes: () => Uint8Array): Promise<void> {
  while (peer.over === undefined && peer.closed === undefined) {
    peer.send(bytes());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('slowloris', () => {
  it('ends a TCP connection that says nothing', async () => {
    const { target, witness } = await attacked({ handshake: SHORT });
    const peer = await RawPeer.dial(target.port);
    await peer.ended();
    await unharmed(target, witness);
  });

  it('ends an upgrade whose bytes keep coming, because the limit is for the whole of it', async () => {
    const { target, witness } = await attacked({ handshake: SHORT });
    const peer = await RawPeer.dial(target.port);
    peer.send(upgradeRequest().subarray(0, 40));
    const start = performance.now();
    await drip(peer, () => Buffer.from('a'));
    expect(performance.now() - start).toBeLessThan(15_000);
    await unharmed(target, witness);
  });

  it('ends a refused peer that never leaves', async () => {
    const { target, witness } = await attacked({ handshake: SHORT });
    const [{ status }, peer] = await RawPeer.ask(target.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', { halfOpen: true });
    expect(status).toBe(426);
    expect(await peer.ended()).toBe('end');
    expect(target.gauge('pending_handshakes')).toBe(1);
    await drip(peer, () => Buffer.from('a'));
    await unharmed(target, witness);
  });

  it('ends a TLS handshake that says nothing, and one that says little', async () => {
    const { target, witness } = await attacked({ tls: CERTIFICATE, handshake: SHORT }, { tls: {} });
    const silent = await RawPeer.dial(target.port);
    const slow = await RawPeer.dial(target.port);
    slow.send(HELLO_BEGINS);
    await Promise.all([silent.ended(), drip(slow, () => Buffer.from([0]))]);
    await unharmed(target, witness);
  });

  it('ends an upgrade inside TLS that never comes', async () => {
    const { target, witness } = await attacked({ tls: CERTIFICATE, handshake: SHORT }, { tls: {} });
    const peer = await RawPeer.dial(target.port, { tls: {} });
    await peer.ended();
    await unharmed(target, witness);
  });

  it('ends plain HTTP on the TLS port', async () => {
    const { target, witness } = await attacked({ tls: CERTIFICATE, handshake: SHORT }, { tls: {} });
    const peer = await RawPeer.dial(target.port);
    peer.send(upgradeRequest());
    await peer.ended();
    await unharmed(target, witness);
  });

  it('bounds what is pending per address, answers the rest 503, and serves again afterwards', async () => {
    const { target, witness } = await attacked({ handshake: { timeout: 3, maxPendingPerAddress: 8, maxPending: 16 } });
    const silent = await Promise.all(Array.from({ length: 8 }, () => RawPeer.dial(target.port)));
    await waitUntil(() => target.gauge('pending_handshakes') === 8, 'eight handshakes');
    const refused = await Promise.all(Array.from({ length: 50 }, () => RawPeer.dial(target.port)));
    for (const peer of refused) expect((await peer.response()).status).toBe(503);
    expect(target.gauge('pending_handshakes')).toBeLessThanOrEqual(8);
    await Promise.all(silent.map((peer) => peer.ended()));
    await unharmed(target, witness);
    await RawPeer.open(target.port);
  });

  it('keeps nobody out with half-open handshakes: the oldest give way', async () => {
    const { target, witness } = await attacked({ handshake: { timeout: 60, maxPendingPerAddress: 1024, maxPending: 16 } });
    const silent = await Promise.all(Array.from({ length: 16 }, () => RawPeer.dial(target.port)));
    await waitUntil(() => target.gauge('pending_handshakes') === 16, 'sixteen handshakes');
    for (let index = 0; index < 20; index++) await RawPeer.open(target.port);
    const later = await Promise.all(Array.from({ length: 16 }, () => RawPeer.dial(target.port)));
    await Promise.all(silent.map((peer) => peer.ended()));
    await RawPeer.open(target.port);
    await later[0]?.ended();
    await unharmed(target, witness);
  });

  it('serves others while ClientHellos are replayed', async () => {
    const { target, witness } = await attacked({ tls: CERTIFICATE }, { tls: {} });
    const hello = await clientHello();
    const flood = await Promise.all(Array.from({ length: 300 }, () => RawPeer.dial(target.port)));
    for (const peer of flood) peer.send(hello);
    await witness.echoes();
    await RawPeer.open(target.port, { tls: {} });
    await unharmed(target, witness);
  });

  it('closes a connection that sends nothing with 4300', async () => {
    const { target, witness } = await attacked(IDLE);
    const peer = await RawPeer.open(target.port);
    const watch = setInterval(() => witness.peer.text('{"t":"alive"}'), 100);
    try {
      expect(await peer.closing()).toMatchObject({ code: 4300 });
    } finally {
      clearInterval(watch);
    }
    await unharmed(target, witness);
  });

  it.each([
    ['a frame', Buffer.alloc(0)],
    ['a fragment of a message', frame({ opcode: Opcode.binary, fin: false, payload: 'x' })],
  ])('closes with 4300 although %s comes byte by byte', async (_, before) => {
    const { target, witness } = await attacked(IDLE);
    const peer = await RawPeer.open(target.port);
    const watch = setInterval(() => witness.peer.text('{"t":"alive"}'), 100);
    try {
      peer.send(before);
      const opcode = before.length === 0 ? Opcode.binary : Opcode.continuation;
      peer.frame({ opcode, declared: 1_000_000 });
      await drip(peer, () => Buffer.from('x'));
    } finally {
      clearInterval(watch);
    }
    expect(peer.closed).toMatchObject({ code: 4300 });
    await unharmed(target, witness);
  });

  it('bounds a message that never ends although its frames keep the connection alive', async () => {
    const { target, witness } = await attacked({ ...IDLE, maxMessageSize: 150 });
    const peer = await RawPeer.open(target.port);
    const watch = setInterval(() => witness.peer.text('{"t":"alive"}'), 100);
    const began = performance.now();
    try {
      peer.frame({ fin: false, payload: '{' });
      await drip(peer, () => frame({ opcode: Opcode.continuation, fin: false, payload: 'x' }));
    } finally {
      clearInterval(watch);
    }
    expect(peer.closed).toMatchObject({ code: 1009 });
    expect(performance.now() - began).toBeGreaterThan(IDLE.idleTimeout * 1000 + 500);
    await unharmed(target, witness);
  });
});
