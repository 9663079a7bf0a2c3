/** Clients that know nothing of WSE: what they hear, what keeps them, raw servers and paths, subprotocols. */

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { encodeJwt, WSEConfigError } from '../../src/index.js';
import { fragments, Opcode, RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil, within } from '../support/server.js';
import { Client, heardSoFar, join, QUIET } from './client.js';

const RAW = { ...QUIET, protocol: 'raw' } as const;
const SECRET = 'a-secret-of-at-least-32-bytes-for-HS256';
/** Its limit is above what a busy machine keeps this process waiting for. */
const IMPATIENT = { pingInterval: 0.2, idleTimeout: 1.6 } as const;

/** What a client of `ws` got as a subprotocol, and the server's name for the connection. */
async function agreed(host: TestServer, offered: string[]): Promise<[string, string | null]> {
  const socket = new WebSocket(`ws://127.0.0.1:${host.port}/`, offered);
  await within(once(socket, 'open'), 'connection');
  const [, conn] = await host.take('connect');
  const both: [string, string | null] = [socket.protocol, host.server.getConnectionProtocol(conn)];
  socket.terminate();
  return both;
}

describe('a client that only listens', () => {
  it('stays as long as its WebSocket answers pings, and hears no ping in text', async () => {
    const host = await startServer({ ...QUIET, ...IMPATIENT });
    const { client, conn } = await join(host);
    const heard: string[] = [];
    client.socket.on('message', (data) => heard.push(String(data)));
    let pings = 0;
    client.socket.on('ping', () => {
      pings += 1;
    });
    await sleep(4000);
    await waitUntil(() => pings > 5, 'pings');
    expect([client.code, heard]).toEqual([undefined, []]);
    expect(host.server.send(conn, 'still there')).toBe(true);
    expect(await client.heard(1)).toEqual(['still there']);
    // From its first word of WSE it is pinged as published clients expect.
    client.send('{"t":"PONG"}');
    await waitUntil(() => heard.some((text) => text.startsWith('{"c":"WSE","t":"ping"')), 'ping in text');
  });

  it('goes when nothing answers', async () => {
    const host = await startServer({ ...QUIET, ...IMPATIENT });
    const peer = await RawPeer.open(host.port);
    expect(await peer.closing()).toMatchObject({ code: 4300, reason: 'idle timeout' });
  });
});

describe("protocol: 'raw'", () => {
  it('hands on and sends every message as it is', async () => {
    const host = await startServer(RAW);
    const { client, conn } = await join(host, { path: '/any?format=msgpack' });
    const texts = ['{"t":"ping"}', '{"t":"client_hello"}', '{"type":"x","payload":1}', 'U{"t":"x"}', '', 'ü\0\u{10ffff}'];
    for (const text of texts) {
      client.send(text);
      expect(await host.take('raw')).toEqual(['raw', conn, text]);
      expect(host.server.send(conn, text)).toBe(true);
    }
    const packed = Buffer.from('M:\x81\xa1t\xa1x', 'latin1');
    client.send(packed);
    expect(await host.take('bin')).toEqual(['bin', conn, new Uint8Array(packed)]);
    host.server.sendBytes(conn, packed);
    expect(await heardSoFar(host, client, conn)).toEqual({ texts, binaries: [packed.toString()] });
    expect(host.events).toEqual([]);
  });

  it('adds no category, no greeting and no notice', async () => {
    const host = await startServer({ ...RAW, serverReady: true, rateLimit: { capacity: 1, refill: 0 } });
    const { client, conn } = await join(host);
    host.server.subscribeConnection(conn, ['t']);
    host.server.subscribeConnection(conn, ['g'], { queueGroup: 'q' });
    const text = '{"t":"error","p":1}';
    host.server.broadcast('t', text);
    host.server.broadcastAll(text);
    host.server.broadcast('g', text);
    host.server.publish('t', 'x', 1);
    for (let i = 0; i < 3; i += 1) host.server.sendEvent(conn, { t: 'e', id: `${i}`, seq: 0, ts: '' });
    const { texts } = await heardSoFar(host, client, conn);
    // publish() and sendEvent() make an envelope because they were asked to.
    expect(texts).toEqual([
      text,
      text,
      text,
      '{"c":"U","t":"x","p":1,"v":1}',
      '{"c":"U","id":"0","seq":0,"t":"e","ts":"","v":1}',
    ]);
  });

  it('is pinged like anybody else, and never in text', async () => {
    const host = await startServer({ ...RAW, ...IMPATIENT });
    const { client, conn } = await join(host);
    const heard: string[] = [];
    client.socket.on('message', (data) => heard.push(String(data)));
    client.send('{"t":"client_hello"}');
    await host.take('raw');
    await sleep(4000);
    expect([client.code, heard]).toEqual([undefined, []]);
    expect(host.server.send(conn, 'x')).toBe(true);
  });

  it('answers a refused token over HTTP', async () => {
    const host = await startServer({ ...RAW, jwt: { secret: SECRET } });
    for (const headers of [[], [['Authorization', 'Bearer nonsense']]] as const) {
      const [response] = await RawPeer.ask(host.port, upgradeRequest({ headers }));
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    }
    const token = encodeJwt({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 60 }, SECRET);
    const { client, conn } = await join(host, { headers: { Authorization: `Bearer ${token}` } });
    expect((await heardSoFar(host, client, conn)).texts).toEqual([]);
  });

  it('joins fragments byte for byte, with control frames between', async () => {
    const host = await startServer(RAW);
    const peer = await RawPeer.open(host.port, { path: '/' });
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, n) => n % 251));
    peer.send(fragments(bytes, 997, Opcode.binary));
    peer.ping('p');
    expect(Buffer.compare((await host.take('bin'))[2], bytes)).toBe(0);
    expect((await peer.next()).opcode).toBe(Opcode.pong);
  });
});

describe('paths', () => {
  it('have each their own speech, and others none', async () => {
    const host = await startServer({ ...QUIET, serverReady: true, paths: { '/ws': {}, '/feed': { protocol: 'raw' } } });
    const wse = await join(host, { path: '/ws?x=1' });
    expect((await wse.client.heard(1))[0]).toContain('"t":"server_ready"');
    const feed = await join(host, { path: '/feed' });
    for (const { client } of [wse, feed]) client.send('{"t":"ping"}');
    await wse.client.heard(2);
    expect(await host.take('raw')).toEqual(['raw', feed.conn, '{"t":"ping"}']);
    expect((await heardSoFar(host, feed.client, feed.conn)).texts).toEqual([]);
    for (const path of ['/', '/ws/', '/feed/x', '/FEED']) {
      const [response] = await RawPeer.ask(host.port, upgradeRequest({ path }));
      expect([path, response.status]).toEqual([path, 404]);
    }
    // Framed once for all: where anybody may speak WSE, everybody gets the category.
    host.server.broadcastAll('{"t":"x"}');
    expect((await heardSoFar(host, feed.client, feed.conn)).texts).toEqual(['{"c":"U","t":"x"}']);
  });
});

describe('subprotocols', () => {
  it('the first offered that is spoken is agreed on, and the application sees it', async () => {
    const host = await startServer({ ...QUIET, protocols: ['chat.v1', 'chat.v2'] });
    expect(await agreed(host, ['chat.v2', 'chat.v1'])).toEqual(['chat.v2', 'chat.v2']);
    expect(await agreed(host, ['mqtt', 'chat.v1'])).toEqual(['chat.v1', 'chat.v1']);
    const { conn } = await join(host);
    expect(host.server.getConnectionProtocol(conn)).toBe(null);
    expect(host.server.getConnectionProtocol(12345)).toBe(null);
    expect(() => host.server.getConnectionProtocol('1' as never)).toThrow(TypeError);
  });

  it('none in common is let in, or refused by option', async () => {
    const open = await startServer({ ...QUIET, protocols: ['chat.v1'] });
    const [answer] = await RawPeer.ask(open.port, upgradeRequest({ headers: [['Sec-WebSocket-Protocol', 'mqtt']] }));
    expect([answer.status, answer.headers.has('sec-websocket-protocol')]).toEqual([101, false]);
    const strict = await startServer({ ...QUIET, protocols: ['chat.v1'], requireProtocol: true });
    for (const headers of [[], [['Sec-WebSocket-Protocol', 'mqtt, CHAT.V1']], [['Sec-WebSocket-Protocol', 'chat.v1;q=1']]]) {
      const [response] = await RawPeer.ask(strict.port, upgradeRequest({ headers: headers as [string, string][] }));
      expect([headers, response.status]).toEqual([headers, 400]);
    }
    expect(await agreed(strict, ['chat.v1'])).toEqual(['chat.v1', 'chat.v1']);
    expect(strict.server.getConnections().length).toBeLessThanOrEqual(1);
  });

  it('a refused token is still told over WSE, in the subprotocol that was agreed on', async () => {
    const host = await startServer({ ...QUIET, protocols: ['chat.v1'], jwt: { secret: SECRET } });
    const socket = new WebSocket(`ws://127.0.0.1:${host.port}/`, ['chat.v1']);
    const [code] = (await within(once(socket, 'close'), 'close')) as [number];
    expect([socket.protocol, code]).toEqual(['chat.v1', 4401]);
  });

  it('names that cannot stand in the header are refused before anything starts', async () => {
    await expect(startServer({ protocols: ['chat v1'] })).rejects.toThrow(WSEConfigError);
    await expect(startServer({ protocols: ['a\r\nX-Evil: 1'] })).rejects.toMatchObject({ path: 'protocols[0]' });
  });
});

it('many clients are pinged apart, and all of them stay', async () => {
  const host = await startServer({ ...QUIET, pingInterval: 0.5, idleTimeout: 1.5 });
  const times: number[] = [];
  const clients = await Promise.all(Array.from({ length: 60 }, () => Client.open(host.port)));
  const began = performance.now();
  for (const { socket } of clients) socket.once('ping', () => times.push(performance.now() - began));
  await sleep(2500);
  expect(clients.filter(({ code }) => code !== undefined)).toEqual([]);
  await waitUntil(() => times.length === 60, 'a ping for each');
  // All at once they would come within some milliseconds; a client that is busy hears them later, not closer together.
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(125);
});
