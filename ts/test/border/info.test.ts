/** What is known of a connection, and calls that name a user instead of one. */

import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { encodeJwt, type WSEServerOptions } from '../../src/index.js';
import { RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { Client, greet, heardSoFar, join, QUIET } from './client.js';

const SECRET = 's'.repeat(32);
const WITH_USERS: Partial<WSEServerOptions> = { ...QUIET, jwt: { secret: SECRET }, allowedOrigins: ['https://a.example'] };

const tokenOf = (sub: string): string => encodeJwt({ sub, exp: Math.floor(Date.now() / 1000) + 60 }, SECRET);

async function joinAs(on: TestServer, sub: string): Promise<{ client: Client; conn: number }> {
  const { client, conn } = await join(on, { headers: { authorization: `Bearer ${tokenOf(sub)}` } });
  // Every user is greeted.
  await waitUntil(() => client.texts.length === 1, 'server_ready');
  client.texts.length = 0;
  return { client, conn };
}

describe('getConnectionInfo', () => {
  it('tells where a client came from and what it agreed on', async () => {
    const on = await startServer({ ...QUIET, protocols: ['chat.v1'] });
    const before = Date.now();
    const client = await Client.open(on.port, { path: '/rooms/ü?token=x&y=1' });
    const [, conn] = await on.take('connect');
    const info = on.server.getConnectionInfo(conn);
    expect(info).toMatchObject({ user: null, path: '/rooms/%C3%BC', address: '127.0.0.1', protocol: null, queuedBytes: 0 });
    expect(info?.id).toBe(on.server.getConnectionId(conn));
    expect([info?.topics, info?.queueGroups]).toEqual([[], []]);
    const opened = info?.connectedAt.getTime() as number;
    expect(opened).toBeGreaterThanOrEqual(before - 5);
    expect(opened).toBeLessThanOrEqual(Date.now() + 5);
    client.socket.terminate();

    const peer = await RawPeer.open(on.port, { path: '/chat', headers: [['Sec-WebSocket-Protocol', 'chat.v1']] });
    const [, second] = await on.take('connect');
    expect(on.server.getConnectionInfo(second)).toMatchObject({ path: '/chat', protocol: 'chat.v1' });
    peer.destroy();
  });

  it('is null for who is not there', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    for (const unknown of [0, -1, 1.5, Number.NaN, conn + 1, 2 ** 60]) expect(on.server.getConnectionInfo(unknown)).toBeNull();
    expect(() => on.server.getConnectionInfo('1' as never)).toThrow(TypeError);
    client.socket.close();
    await on.take('disconnect', conn);
    expect(on.server.getConnectionInfo(conn)).toBeNull();
  });

  it('keeps a path of any length, and of any number of them', async () => {
    const on = await startServer({ ...QUIET, maxConnections: 2000 });
    const long = `/${'x'.repeat(5000)}`;
    const paths = [long, ...Array.from({ length: 1100 }, (_, i) => `/p${i}`), '/p3', long];
    for (const path of paths) {
      const peer = await RawPeer.open(on.port, { path });
      const [, conn] = await on.take('connect');
      expect(on.server.getConnectionInfo(conn)?.path).toBe(path);
      peer.destroy();
    }
  });

  it('names the address of IPv6, where there is any', async ({ skip }) => {
    const on = await startServer({ ...QUIET, host: '::1' }).catch(() => skip('no IPv6 here'));
    const client = new (await import('ws')).WebSocket(`ws://[::1]:${on.port}/six`);
    await once(client, 'open');
    const [, conn] = await on.take('connect');
    expect(on.server.getConnectionInfo(conn)).toMatchObject({ address: '::1', path: '/six' });
    client.terminate();
  });

  it('lists what it is subscribed to and the groups it is in', async () => {
    const on = await startServer(QUIET);
    const { conn } = await join(on);
    const topics = (): unknown => on.server.getConnectionInfo(conn)?.topics.sort();
    on.server.subscribeConnection(conn, ['b', 'a', 'n.*']);
    on.server.subscribeConnection(conn, ['jobs'], { queueGroup: 'g' });
    await expect.poll(topics).toEqual(['a', 'b', 'n.*']);
    expect(on.server.getConnectionInfo(conn)?.queueGroups).toEqual([{ topic: 'jobs', group: 'g' }]);
    on.server.unsubscribeConnection(conn, ['b', 'nothing']);
    await expect.poll(topics).toEqual(['a', 'n.*']);
    on.server.unsubscribeConnection(conn);
    await expect.poll(topics).toEqual([]);
    expect(on.server.getConnectionInfo(conn)?.queueGroups).toEqual([]);
  });

  it('counts what waits for a socket that takes no more, and nothing once it has', async () => {
    const on = await startServer(QUIET);
    const peer = await RawPeer.open(on.port);
    const [, conn] = await on.take('connect');
    peer.pause();
    const queued = (): number => on.server.getConnectionInfo(conn)?.queuedBytes as number;
    const bytes = new Uint8Array(100_000);
    let sent = 0;
    await waitUntil(() => {
      sent += on.server.sendBytes(conn, bytes) ? bytes.length : 0;
      return queued() > 500_000;
    }, 'a queue');
    expect(queued()).toBeLessThanOrEqual(sent + 100_000);
    peer.resume();
    await waitUntil(() => queued() === 0, 'an empty queue');
  });

  it('is known to every facade of the engine', async () => {
    const on = await startServer(WITH_USERS);
    const { conn } = await joinAs(on, 'ada');
    const other = (on.server.constructor as typeof import('../../src/index.js').RustWSEServer).attach(on.server.handle);
    expect(other.getConnectionInfo(conn)).toEqual(on.server.getConnectionInfo(conn));
    expect(other.getConnectionInfo(conn)?.user).toBe('ada');
  });
});

describe('a user', () => {
  it('is all its connections: they are told and sent away together, and nobody else is', async () => {
    const on = await startServer(WITH_USERS);
    const ada = [await joinAs(on, 'ada'), await joinAs(on, 'ada'), await joinAs(on, 'ada')];
    const bob = await joinAs(on, 'bob');
    expect(on.server.getUserConnections('ada').sort()).toEqual(ada.map(({ conn }) => conn).sort());
    expect(ada.map(({ conn }) => on.server.getConnectionInfo(conn)?.user)).toEqual(['ada', 'ada', 'ada']);

    expect(on.server.sendToUser('ada', 'text "ü"')).toBe(3);
    expect(on.server.sendToUser('ada', Uint8Array.of(1, 2))).toBe(3);
    expect(on.server.sendToUser('ada', { t: 'hi', p: { n: 1 } })).toBe(3);
    expect(on.server.sendToUser('nobody', 'text')).toBe(0);
    for (const { client, conn } of ada) {
      const { texts, binaries } = await heardSoFar(on, client, conn);
      expect([texts[0], binaries]).toEqual(['text "ü"', ['\u0001\u0002']]);
      expect(JSON.parse(texts[1] as string)).toMatchObject({ t: 'hi', p: { n: 1 } });
    }
    expect(await heardSoFar(on, bob.client, bob.conn)).toEqual({ texts: [], binaries: [] });

    ada[0]?.client.socket.close();
    await on.take('disconnect', ada[0]?.conn);
    expect(on.server.sendToUser('ada', 'two left')).toBe(2);
    expect(on.server.disconnectUser('ada', { code: 4403, reason: 'banned' })).toBe(2);
    for (const { client, conn } of ada.slice(1)) {
      expect([await client.closed(), client.reason]).toEqual([4403, 'banned']);
      expect((await on.take('disconnect', conn))[2]).toEqual({ code: 4403, reason: 'banned', by: 'server' });
    }
    expect([on.server.getUserConnections('ada'), on.server.disconnectUser('ada')]).toEqual([[], 0]);
    expect((await heardSoFar(on, bob.client, bob.conn)).texts).toEqual([]);
  });

  it('gets events as each of its clients reads them, and in the order of the calls', async () => {
    const on = await startServer(WITH_USERS);
    const [plain, wse] = [await joinAs(on, 'ada'), await joinAs(on, 'ada')];
    await greet(wse.client);
    on.server.send(plain.conn, 'first');
    on.server.sendToUser('ada', { t: 'x', p: 1 });
    on.server.send(plain.conn, 'last');
    const { texts } = await heardSoFar(on, plain.client, plain.conn);
    expect([texts[0], JSON.parse(texts[1] as string).t, texts[2]]).toEqual(['first', 'x', 'last']);
    await waitUntil(() => wse.client.binaries.length === 1, 'the event in bytes');
  });

  it('is nobody without tokens', async () => {
    const on = await startServer(QUIET);
    await join(on);
    expect([on.server.sendToUser('', 'x'), on.server.disconnectUser(''), on.server.getUserConnections('ada')]).toEqual([
      0,
      0,
      [],
    ]);
  });

  it('is checked like everything else', async () => {
    const on = await startServer(QUIET);
    expect(() => on.server.sendToUser(1 as never, 'x')).toThrow(TypeError);
    expect(() => on.server.sendToUser('ada', 5 as never)).toThrow(TypeError);
    expect(() => on.server.sendToUser('ada', { m: new Map() })).toThrow(expect.objectContaining({ path: 'payload.m' }));
    expect(() => on.server.disconnectUser('ada', { code: 1005 })).toThrow(TypeError);
    expect(() => on.server.disconnectUser('ada', 4401 as never)).toThrow(TypeError);
  });

  it('with hundreds of connections on all shards loses them one by one', async () => {
    const on = await startServer({ ...WITH_USERS, shards: 3 });
    const many = await Promise.all(
      Array.from({ length: 200 }, () => Client.open(on.port, { headers: { authorization: `Bearer ${tokenOf('eve')}` } })),
    );
    await waitUntil(() => on.server.getUserConnections('eve').length === 200, 'all of them');
    expect(on.server.sendToUser('eve', 'x')).toBe(200);
    for (const client of many.slice(0, 150)) client.socket.terminate();
    await waitUntil(() => on.server.getUserConnections('eve').length === 50, 'those that stay');
    expect(on.server.disconnectUser('eve')).toBe(50);
    await waitUntil(() => on.server.getConnectionCount() === 0, 'nobody');
    expect(on.server.getUserConnections('eve')).toEqual([]);
  });
});
