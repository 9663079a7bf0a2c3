/** Presence as an application uses it: what the calls return, what clients and readers hear, and what is refused. */

import { readFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  encodeJwt,
  type PresenceChange,
  RustWSEServer,
  WSEError,
  type WSEEvent,
  type WSEServerOptions,
  WSEStateError,
} from '../../src/index.js';
import { threads } from '../support/driver.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { Client, heardSoFar, QUIET } from './client.js';

const SECRET = 'a secret of at least 32 bytes!!!';
const exp = Math.floor(Date.now() / 1000) + 600;
const cookie = (user: string) => ({ headers: { cookie: `access_token=${encodeJwt({ sub: user, exp }, SECRET)}` } });
const WITH = { ...QUIET, jwt: { secret: SECRET }, presence: true } as const;

async function start(options: Omit<WSEServerOptions, 'port'> = {}): Promise<TestServer> {
  return startServer({ ...WITH, ...options });
}

/** A connected user, whose greeting was read. */
async function join(on: TestServer, user: string): Promise<{ client: Client; conn: number }> {
  const client = await Client.open(on.port, cookie(user));
  const [, conn] = await on.take('auth_connect');
  await client.heard(1);
  client.texts.length = 0;
  return { client, conn };
}

const vectors = JSON.parse(readFileSync(new URL('../../../spec/vectors/presence.json', import.meta.url), 'utf8')) as {
  kind: string;
  name: string;
  topic: string;
  user_id: string;
  data: string;
  output: string;
}[];

const frame = (t: string, topic: string, user: string, data: object) =>
  JSON.stringify({ c: 'WSE', p: { data, topic, user_id: user }, t });

function caught(call: () => unknown): WSEError {
  try {
    call();
  } catch (error) {
    if (error instanceof WSEError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('presence', () => {
  it('is told to subscribers, the joiner included, and asked for by topic', async () => {
    const on = await start();
    const { server } = on;
    const { client: ada, conn } = await join(on, 'ada');
    const { client: bob, conn: watcher } = await join(on, 'bob');
    expect(server.subscribeConnection(watcher, ['room'])).toBe(1);
    const data = { name: 'Ada', mood: ['ü', null] };
    const done = server.subscribeConnection(conn, ['room', 'news:*'], { presence: data });
    expect(done).toEqual({ accepted: 2, present: 1, refused: null });
    expect(server.presence('room')).toEqual({ ada: { data, connections: 1 } });
    expect(server.presenceStats('room')).toEqual({ numUsers: 1, numConnections: 1 });
    expect(server.updatePresence(conn, { name: 'Ada L.' })).toBe(1);
    const told = [frame('presence_join', 'room', 'ada', data), frame('presence_update', 'room', 'ada', { name: 'Ada L.' })];
    expect([await ada.heard(2), await bob.heard(2)]).toEqual([told, told]);
    expect(server.healthSnapshot()).toMatchObject({ presence_enabled: true, presence_topics: 1, presence_total_users: 1 });
    expect(server.prometheusMetrics()).toMatch(/^wse_presence_users 1$/m);
    // A second connection of the same user is the same member, and its data count.
    const second = await Client.open(on.port, cookie('ada'));
    const [, other] = await on.take('auth_connect');
    expect(server.subscribeConnection(other, ['room'], { presence: { name: 'Ada 2' } })).toMatchObject({ present: 1 });
    expect(server.presence('room')).toEqual({ ada: { data: { name: 'Ada 2' }, connections: 2 } });
    expect((await bob.heard(3))[2]).toBe(frame('presence_update', 'room', 'ada', { name: 'Ada 2' }));
    const again = (name: string) => server.subscribeConnection(other, ['room'], { presence: { name } });
    expect([again('Ada 2'), again('Ada 3')]).toEqual(Array(2).fill({ accepted: 1, present: 1, refused: null }));
    expect((await bob.heard(4))[3]).toBe(frame('presence_update', 'room', 'ada', { name: 'Ada 3' }));
    second.socket.terminate();
    await waitUntil(() => server.presenceStats('room').numConnections === 1, 'the second connection to be gone');
    ada.socket.terminate();
    expect((await bob.heard(5))[4]).toBe(frame('presence_leave', 'room', 'ada', { name: 'Ada 3' }));
    expect([server.presence('room'), server.presenceStats('room')]).toEqual([{}, { numUsers: 0, numConnections: 0 }]);
    expect((await heardSoFar(on, bob, watcher)).texts).toHaveLength(5);
  });

  it('is told in frames that are the vectors, byte for byte', async () => {
    const on = await start();
    const { client, conn: watcher } = await join(on, 'watcher');
    const frames = vectors.filter(({ kind }) => kind === 'frame');
    for (const { name, topic, user_id, data } of frames) {
      const presence = JSON.parse(data) as object;
      const { client: one, conn } = await join(on, user_id);
      // What is not the vector's is not heard.
      if (name === 'presence_join') on.server.subscribeConnection(watcher, [topic]);
      on.server.subscribeConnection(conn, [topic], { presence: name === 'presence_update' ? {} : presence });
      if (name !== 'presence_join') on.server.subscribeConnection(watcher, [topic]);
      if (name === 'presence_update') on.server.updatePresence(conn, presence);
      if (name !== 'presence_leave') on.server.unsubscribeConnection(watcher);
      one.socket.terminate();
      await waitUntil(() => on.server.presenceStats(topic).numUsers === 0, 'leaving');
      on.server.unsubscribeConnection(watcher);
    }
    expect((await heardSoFar(on, client, watcher)).texts).toEqual(frames.map(({ output }) => output));
  });

  it.each(['batches', 'drainInbound', 'callbacks', 'serve'] as const)(
    'comes and goes as events of no connection: %s',
    async (style) => {
      const server = new RustWSEServer({ port: 0, shards: threads(2), ...WITH });
      onTestFinished(() => server.stop({ timeout: 1 }));
      const { port } = await server.start();
      const told: [string, PresenceChange][] = [];
      const conns: number[] = [];
      const hear = (event: WSEEvent): void => {
        if (event[0] === 'auth_connect') conns.push(event[1]);
        if (event[0] === 'presence_join' || event[0] === 'presence_leave') {
          expect(event[1]).toBeNull();
          told.push([event[0], event[2]]);
        }
      };
      const ended = new AbortController();
      onTestFinished(() => ended.abort());
      const joined = (change: PresenceChange): void => void told.push(['presence_join', change]);
      const left = (change: PresenceChange): void => void told.push(['presence_leave', change]);
      const connected = (conn: number): void => void conns.push(conn);
      let look = (): void => {};
      if (style === 'batches') {
        void (async () => {
          for await (const batch of server.batches({ signal: ended.signal })) batch.forEach(hear);
        })().catch(() => {});
      } else if (style === 'drainInbound') look = () => server.drainInbound(256, 0).forEach(hear);
      else if (style === 'callbacks') {
        server.setCallbacks({ onConnect: connected, onPresenceJoin: joined, onPresenceLeave: left });
      } else {
        void server.serve(
          { connect: connected, presenceJoin: async (change) => joined(change), presenceLeave: async (change) => left(change) },
          { signal: ended.signal },
        );
      }
      const client = await Client.open(port, cookie('ada'));
      await waitUntil(() => {
        look();
        return conns.length === 1;
      }, 'connect');
      server.subscribeConnection(conns[0] as number, ['a', 'b'], { presence: { n: 1 } });
      server.updatePresence(conns[0] as number, { n: 2 });
      client.socket.terminate();
      await waitUntil(() => {
        look();
        return told.length === 4;
      }, 'two joins and two leaves');
      const change = (topic: string, n: number): PresenceChange => ({ topic, user_id: 'ada', data: { n } });
      const of = (topic: string) => told.filter(([, payload]) => payload.topic === topic);
      for (const topic of ['a', 'b']) {
        expect(of(topic)).toEqual([
          ['presence_join', change(topic, 1)],
          ['presence_leave', change(topic, 2)],
        ]);
      }
    },
  );

  it('says why somebody is not present, and subscribes all the same', async () => {
    const on = await start({ presence: { maxDataSize: 64, maxMembers: 1 } });
    const { server } = on;
    const { conn: ada } = await join(on, 'ada');
    const { client, conn: eve } = await join(on, 'eve');
    server.subscribeConnection(ada, ['room'], { presence: {} });
    const subscribe = (topics: string[], presence: object) => server.subscribeConnection(eve, topics, { presence });
    const refused = (code: string) => ({ accepted: 1, present: 0, refused: { code, topics: 1 } });
    expect(subscribe(['room'], {})).toEqual(refused('WSE_PRESENCE_FULL'));
    expect(subscribe(['a'], { text: 'x'.repeat(60) })).toEqual(refused('WSE_PRESENCE_TOO_LARGE'));
    // Fewer than 64 characters, and more bytes.
    expect(subscribe(['b'], { text: 'ü'.repeat(40) })).toEqual(refused('WSE_PRESENCE_TOO_LARGE'));
    expect(subscribe(['c'], { text: 'x'.repeat(10 * 2 ** 20) })).toEqual(refused('WSE_PRESENCE_TOO_LARGE'));
    for (const topic of ['room', 'a', 'b', 'c']) server.broadcast(topic, topic);
    expect((await heardSoFar(on, client, eve)).texts).toEqual(['room', 'a', 'b', 'c']);
    expect(caught(() => server.updatePresence(eve, {})).code).toBe('WSE_PRESENCE_NONE');
    expect(caught(() => server.updatePresence(ada, { text: 'x'.repeat(2 ** 20) })).code).toBe('WSE_PRESENCE_TOO_LARGE');
    expect(server.presence('room')).toEqual({ ada: { data: {}, connections: 1 } });
    expect([server.updatePresence(12_345, {}), server.subscribeConnection(12_345, ['x'], { presence: {} })]).toEqual([
      false,
      false,
    ]);
    expect(server.prometheusMetrics()).toMatch(/^wse_presence_full_total 1$/m);
    // Halves of characters and members without a JSON form are no reason to lose the text.
    expect(subscribe(['d'], { half: '\ud800', left: undefined })).toEqual({ accepted: 1, present: 1, refused: null });
    expect(server.presence('d')).toEqual({ eve: { data: { half: '\ufffd' }, connections: 1 } });
  });

  it('refuses what cannot be meant', async () => {
    const on = await start();
    const { server } = on;
    const { conn } = await join(on, 'ada');
    for (const presence of [null, 1, 'x', [], new Map(), new Date(), true]) {
      expect(() => server.subscribeConnection(conn, ['a'], { presence: presence as object })).toThrow(TypeError);
      expect(() => server.updatePresence(conn, presence as object)).toThrow(TypeError);
    }
    const group = { presence: {}, queueGroup: 'g' } as unknown as { presence: object };
    expect(() => server.subscribeConnection(conn, ['a'], group)).toThrow('not for a queueGroup');
    expect(() => server.subscribeConnection(conn, ['a*'], { presence: {}, exact: true })).toThrow('topics[0]');
    expect(() => server.presence(1 as unknown as string)).toThrow(TypeError);
    expect(() => server.presenceStats(undefined as unknown as string)).toThrow(TypeError);
    expect(server.getTopicSubscriberCount('a')).toBe(0);
    expect([server.presence('__proto__'), server.presence('nowhere')]).toEqual([{}, {}]);
  });

  it('is off unless asked for, and needs somebody to be', async () => {
    const off = await startServer({ ...QUIET, jwt: { secret: SECRET } });
    const { conn } = await join(off, 'ada');
    const refused = (code: string) => ({ accepted: 1, present: 0, refused: { code, topics: 1 } });
    expect(off.server.subscribeConnection(conn, ['a'], { presence: {} })).toEqual(refused('WSE_PRESENCE_OFF'));
    const error = caught(() => off.server.updatePresence(conn, {}));
    expect([error.code, error instanceof WSEStateError]).toEqual(['WSE_PRESENCE_OFF', true]);
    expect([off.server.presence('a'), off.server.presenceStats('a')]).toEqual([{}, { numUsers: 0, numConnections: 0 }]);

    // Some are named by the application, some by nobody.
    const some = await startServer({
      ...QUIET,
      presence: true,
      onUpgrade: ({ path }) => (path === '/ada' ? { user: 'ada' } : undefined),
    });
    for (const [path, expected] of [
      ['/ada', { accepted: 1, present: 1, refused: null }],
      ['/', refused('WSE_PRESENCE_NO_USER')],
    ] as const) {
      await Client.open(some.port, { path });
      const [, id] = await some.waitForEvent(([type]) => type.endsWith('connect'));
      expect(some.server.subscribeConnection(id as number, ['a'], { presence: {} })).toEqual(expected);
    }
    expect(some.server.presence('a')).toEqual({ ada: { data: {}, connections: 1 } });
  });

  it('forgives a short absence', async () => {
    const on = await start({ presence: { grace: 3 } });
    const { server } = on;
    const { client: watcher, conn: watching } = await join(on, 'watcher');
    server.subscribeConnection(watching, ['room']);
    let { client, conn } = await join(on, 'ada');
    server.subscribeConnection(conn, ['room'], { presence: { n: 1 } });
    for (const n of [1, 2]) {
      client.socket.terminate();
      await waitUntil(() => server.healthSnapshot()['presence_waiting'] === 1, 'grace');
      expect(server.presence('room')).toEqual({ ada: { data: { n: 1 }, connections: 0 } });
      ({ client, conn } = await join(on, 'ada'));
      server.subscribeConnection(conn, ['room'], { presence: { n } });
    }
    client.socket.terminate();
    await waitUntil(() => server.presenceStats('room').numUsers === 0, 'the end of the grace');
    expect((await heardSoFar(on, watcher, watching)).texts).toEqual([
      frame('presence_join', 'room', 'ada', { n: 1 }),
      frame('presence_update', 'room', 'ada', { n: 2 }),
      frame('presence_leave', 'room', 'ada', { n: 2 }),
    ]);
  });
});
