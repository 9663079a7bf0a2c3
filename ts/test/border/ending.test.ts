/** How a connection ended: what the `disconnect` event says, for each way there is. */

import { describe, expect, it } from 'vitest';
import { encodeJwt, RustWSEServer } from '../../src/index.js';
import { RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { Client, join, QUIET } from './client.js';

type Ended = { code: number; reason: string; by: string };

async function ending(on: TestServer): Promise<Ended> {
  const [, , payload] = await on.take('disconnect');
  return payload;
}

describe('the peer ends it', () => {
  it.each<[string, (client: Client) => void, Ended]>([
    ['with a code and a reason', ({ socket }) => socket.close(4001, 'bye "ü"'), { code: 4001, reason: 'bye "ü"', by: 'peer' }],
    ['with a code', ({ socket }) => socket.close(1000), { code: 1000, reason: '', by: 'peer' }],
    ['with an empty Close', ({ socket }) => socket.close(), { code: 1005, reason: '', by: 'peer' }],
    ['without a word', ({ socket }) => socket.terminate(), { code: 1006, reason: '', by: 'network' }],
  ])('%s', async (_, end, expected) => {
    const on = await startServer(QUIET);
    const { client } = await join(on);
    end(client);
    expect(await ending(on)).toEqual(expected);
  });

  it('by a reset, or by the end of its stream within a frame', async () => {
    const on = await startServer(QUIET);
    const reset = await RawPeer.open(on.port);
    reset.reset();
    expect(await ending(on)).toEqual({ code: 1006, reason: '', by: 'network' });
    const half = await RawPeer.open(on.port);
    half.send(Buffer.from([0x81, 0x85, 1, 2]));
    half.end();
    expect(await ending(on)).toEqual({ code: 1006, reason: '', by: 'network' });
  });

  it('and an end of ours that comes later changes nothing', async () => {
    const on = await startServer({ ...QUIET, keep: true });
    const { client, conn } = await join(on);
    client.socket.close(4321, 'first');
    await client.closed();
    on.server.disconnect(conn, { code: 4400, reason: 'second' });
    expect(await ending(on)).toEqual({ code: 4321, reason: 'first', by: 'peer' });
  });
});

describe('the server ends it', () => {
  it.each<[string, (on: TestServer, conn: number) => void, Ended]>([
    ['disconnect()', (on, conn) => on.server.disconnect(conn), { code: 4300, reason: '', by: 'server' }],
    [
      'disconnect() with a code',
      (on, conn) => on.server.disconnect(conn, { code: 4403, reason: 'nö\n' }),
      { code: 4403, reason: 'nö\n', by: 'server' },
    ],
    ['drain()', (on) => void on.server.drain({ timeout: 1, reason: 'moving' }), { code: 4300, reason: 'moving', by: 'server' }],
    ['stop()', (on) => void on.server.stop({ timeout: 1 }), { code: 1012, reason: '', by: 'server' }],
  ])('by %s', async (_, end, expected) => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    end(on, conn);
    expect(await ending(on)).toEqual(expected);
    expect({ code: await client.closed(), reason: client.reason }).toEqual({ code: expected.code, reason: expected.reason });
  });

  it.each<[string, (peer: RawPeer) => void, Ended]>([
    ['an unmasked frame', (peer) => peer.frame({ mask: false, payload: 'x' }), { code: 1002, reason: '', by: 'server' }],
    ['text that is not UTF-8', (peer) => peer.frame({ payload: Buffer.from([0xff]) }), { code: 1007, reason: '', by: 'server' }],
    ['a message too large', (peer) => peer.text('x'.repeat(2000)), { code: 1009, reason: '', by: 'server' }],
  ])('because of %s, whatever Close comes after it', async (_, breach, expected) => {
    const on = await startServer({ ...QUIET, maxMessageSize: 1000 });
    const peer = await RawPeer.open(on.port);
    breach(peer);
    peer.close(1000, 'innocent');
    const seen = await peer.closing();
    expect(seen.code).toBe(expected.code);
    expect(await ending(on)).toEqual({ ...expected, reason: seen.reason });
  });

  it('and nobody answers', async () => {
    const on = await startServer({ ...QUIET, closeTimeout: 0.3 });
    const peer = await RawPeer.open(on.port);
    const [, conn] = await on.take('connect');
    on.server.disconnect(conn, { code: 4403, reason: 'out' });
    await peer.next();
    peer.pause();
    expect(await ending(on)).toEqual({ code: 4403, reason: 'out', by: 'server' });
  });

  it('because it is idle, and because its token expires', async () => {
    const idle = await startServer({ serverReady: false, pingInterval: 0.2, idleTimeout: 0.5 });
    const peer = await RawPeer.open(idle.port);
    expect(await ending(idle)).toEqual({ code: 4300, reason: 'idle timeout', by: 'server' });
    expect(await peer.closing()).toMatchObject({ code: 4300 });

    const secret = 's'.repeat(32);
    const strict = await startServer({ ...QUIET, jwt: { secret, leeway: 0 }, allowedOrigins: ['https://a.example'] });
    const token = encodeJwt({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 3 }, secret);
    const client = await Client.open(strict.port, { headers: { authorization: `Bearer ${token}` } });
    expect(await ending(strict)).toEqual({ code: 4401, reason: 'Token expired', by: 'server' });
    expect(await client.closed()).toBe(4401);
  });

  it('because it is slow', async () => {
    const on = await startServer({ ...QUIET, slowConsumer: 'close', maxOutboundQueueBytes: 65_536, closeTimeout: 0.3 });
    const peer = await RawPeer.open(on.port);
    peer.pause();
    const [, conn] = await on.take('connect');
    await waitUntil(() => !on.server.sendBytes(conn, new Uint8Array(60_000)), 'a full queue');
    expect(await ending(on)).toEqual({ code: 4300, reason: 'slow consumer', by: 'server' });
  });
});

it('is told to callbacks and to drainInbound() alike', async () => {
  const server = new RustWSEServer({ port: 0, shards: 1, ...QUIET });
  const { port } = await server.start();
  try {
    const first = await Client.open(port);
    first.socket.close(4002, 'drained');
    await waitUntil(() => server.inboundQueueDepth() === 2, 'both events');
    expect(server.drainInbound().at(-1)?.[2]).toEqual({ code: 4002, reason: 'drained', by: 'peer' });
    const heard: unknown[] = [];
    server.setCallbacks({ onDisconnect: (conn, info) => heard.push(typeof conn, info) });
    const second = await Client.open(port);
    second.socket.close(4003, 'called');
    await waitUntil(() => heard.length > 0, 'the callback');
    expect(heard).toEqual(['number', { code: 4003, reason: 'called', by: 'peer' }]);
  } finally {
    await server.stop({ timeout: 0 });
  }
});
