/** The Python client as it is published, in an environment of its own. It must run: nothing here is ever skipped. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeJwt } from '../../src/index.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { answerSubscription, findPython } from './harness.js';
import { INSTALL_MS, Python, SECRET, token } from './python.js';

const TWO_HEARTBEATS_MS = 45_000; // the client pings every 15 s

const options = { jwt: { secret: SECRET }, allowedOrigins: [], onEvent: answerSubscription } as const;

let python: string;

/** Connected, and subscribed to a topic. */
async function subscribe(host: TestServer, client: Python, topic: string): Promise<number> {
  const [, conn] = await host.take('auth_connect');
  await client.heard('connected', { error: null, ready: true });
  client.do('subscribe', { topics: [topic] });
  await client.heard('subscribed', { ok: true });
  await waitUntil(() => host.server.getTopicSubscriberCount(topic) === 1, 'subscription');
  return conn;
}

describe('the published Python client', () => {
  let unhurried: { host: TestServer; client: Python };

  beforeAll(async () => {
    python = await findPython();
    // As it is, with its own heartbeat and the server's defaults: takes half a minute, beside the other tests.
    const host = await startServer(options);
    unhurried = { host, client: Python.join(python, host) };
  }, INSTALL_MS);

  afterAll(async () => {
    await unhurried?.client[Symbol.asyncDispose]();
    await unhurried?.host.stop();
  });

  it('sees who is present, and on which topic', async () => {
    await using host = await startServer({ ...options, presence: true });
    const tokenOf = (user: string) => encodeJwt({ sub: user, exp: Math.floor(Date.now() / 1000) + 300 }, SECRET);
    await using ada = Python.join(python, host, { token: tokenOf('ada') });
    const [, first] = await host.take('auth_connect');
    await ada.heard('connected', { error: null, ready: true });
    host.server.subscribeConnection(first, ['room', 'lobby'], { presence: { name: 'Ada' } });
    const about = (client: Python, type: string) =>
      client.lines.filter((line) => line.kind === 'event' && line['type'] === type).map((line) => line['payload']);
    const said = (topic: string, user: string, data: object) => ({ data, topic, user_id: user });
    await ada.heard('event', { type: 'presence_join' }, 2);
    expect(about(ada, 'presence_join')).toEqual([said('room', 'ada', { name: 'Ada' }), said('lobby', 'ada', { name: 'Ada' })]);
    {
      await using bob = Python.join(python, host, { token: tokenOf('bob') });
      const [, second] = await host.take('auth_connect');
      await bob.heard('connected', { error: null, ready: true });
      host.server.subscribeConnection(second, ['room'], { presence: { name: 'Bob' } });
      host.server.updatePresence(second, { name: 'Bob', away: true });
      for (const client of [ada, bob]) {
        await client.heard('event', { type: 'presence_update' });
        expect(about(client, 'presence_join').at(-1)).toEqual(said('room', 'bob', { name: 'Bob' }));
        expect(about(client, 'presence_update')).toEqual([said('room', 'bob', { name: 'Bob', away: true })]);
      }
    }
    await ada.heard('event', { type: 'presence_leave' });
    expect(about(ada, 'presence_leave')).toEqual([said('room', 'bob', { name: 'Bob', away: true })]);
    expect(host.server.presence('room')).toEqual({ ada: { data: { name: 'Ada' }, connections: 1 } });
  });

  it('connects with a token, says hello, subscribes, sends and hears broadcasts as text', async () => {
    await using host = await startServer(options);
    await using client = Python.join(python, host);
    const conn = await subscribe(host, client, 'news');
    // The answer to its hello is a message of its own, behind server_ready.
    await waitUntil(async () => (await client.stats())['limit'] !== null, 'server_hello');
    expect(await client.stats()).toMatchObject({
      state: 'connected',
      is_fully_ready: true,
      connection_id: host.server.getConnectionId(conn),
      limit: 1_048_576,
      subscribed_topics: ['news'],
      reconnect_count: 0,
    });
    // Nothing but what is meant for the application reaches it.
    const [, , request] = await host.take('msg', conn);
    expect(request).toMatchObject({ c: 'WSE', t: 'subscription_update', p: { action: 'subscribe', topics: ['news'] } });

    client.do('send', { type: 'question', payload: { text: 'ça va? \u{1f40d}', n: [1, 2.5, null] } });
    const [, , question] = await host.take('msg', conn);
    expect(question).toMatchObject({ c: 'U', t: 'question', p: { text: 'ça va? \u{1f40d}', n: [1, 2.5, null] }, v: 1 });

    for (let i = 0; i < 100; i += 1) host.server.publish('news', 'headline', { i, text: 'ü' });
    await client.heard('event', { type: 'headline' }, 100);
    const headlines = client.lines.filter(({ type }) => type === 'headline');
    expect(headlines.map(({ payload }) => payload)).toEqual(Array.from({ length: 100 }, (_, i) => ({ i, text: 'ü' })));
    const frames = client.frames('{"c":"U","t":"headline"');
    expect(frames).toHaveLength(100);
    expect(new Set(frames.map(({ opcode }) => opcode))).toEqual(new Set(['text']));

    client.do('unsubscribe', { topics: ['news'] });
    await waitUntil(() => host.server.getTopicSubscriberCount('news') === 0, 'end of the subscription');
    client.do('disconnect');
    await host.take('disconnect', conn);
    expect(host.events.map(([type]) => type)).toEqual(['msg']); // the unsubscription
    expect(client.err).toEqual([]);
  });

  it('is answered by the engine, also where its token allows a part of what it asks for', async () => {
    await using host = await startServer({ jwt: { secret: SECRET }, allowedOrigins: [], subscriptions: 'acl' });
    const exp = Math.floor(Date.now() / 1000) + 300;
    const limited = encodeJwt({ sub: 'py-user', exp, wse_topics: { allow: ['news.*'] } }, SECRET);
    await using client = Python.join(python, host, { token: limited });
    const [, conn] = await host.take('auth_connect');
    await client.heard('connected', { error: null, ready: true });
    client.do('subscribe', { topics: ['news.a', 'secret', 'news.b'] });
    await client.heard('subscribed', { ok: true });
    // The client keeps the reply to itself.
    await waitUntil(() => client.frames('{"c":"WSE","p":{"action":"subscribe","fa').length === 1, 'reply');
    for (const topic of ['secret', 'news.a', 'news.b']) host.server.publish(topic, 'headline', { topic });
    await client.heard('event', { type: 'headline' }, 2);
    const headlines = client.lines.filter(({ type }) => type === 'headline');
    expect(headlines.map(({ payload }) => payload)).toEqual([{ topic: 'news.a' }, { topic: 'news.b' }]);
    expect(host.events.filter(([type, from]) => type === 'msg' && from === conn)).toEqual([]);
    expect(host.server.getTopicSubscriberCount('secret')).toBe(0);
    // What its user is told.
    expect(client.err).toEqual(["Subscription failed for: ['secret']"]);
  });

  it('hears events, plain and compressed, once per id', async () => {
    await using host = await startServer(options);
    await using client = Python.join(python, host);
    const [, conn] = await host.take('auth_connect');
    // Text until the client has said hello, which may be at once: it hears both.
    host.server.sendEvent(conn, { t: 'early', p: { n: 0 } });
    await client.heard('event', { type: 'early' });
    await waitUntil(async () => (await client.stats())['limit'] !== null, 'server_hello');
    const bytes = () => client.frames('{"').filter(({ opcode }) => opcode === 'binary').length;
    const before = bytes();
    host.server.sendEvent(conn, { t: 'small', p: { n: 1 } });
    const text = 'much '.repeat(2000);
    host.server.sendEvent(conn, { t: 'large', p: { text } });
    host.server.sendEvent(conn, { t: 'once', p: { n: 1 }, id: 'same' });
    host.server.send(conn, '{"t":"once","p":{"n":2},"id":"same","v":1}');
    host.server.sendEvent(conn, { t: 'room_snapshot', p: { list: [] } });
    const last = await client.heard('event', { type: 'room_snapshot' });
    expect(last['category']).toBe('S');
    const events = client.lines.filter(({ kind }) => kind === 'event').map(({ type, payload }) => [type, payload]);
    expect(events).toEqual([
      ['early', { n: 0 }],
      ['small', { n: 1 }],
      ['large', { text }],
      ['once', { n: 1 }],
      ['room_snapshot', { list: [] }],
    ]);
    expect(client.frames('C:')).toHaveLength(1);
    expect(Number(client.frames('C:')[0]?.['size'])).toBeLessThan(1000);
    expect(bytes() - before).toBe(3);
  });

  it('reads msgpack', async () => {
    await using host = await startServer(options);
    await using client = Python.join(python, host, {}, '?format=msgpack');
    const [, conn] = await host.take('auth_connect');
    const p = { n: [1, -1, 2 ** 40, 0.5, true, null], text: 'é'.repeat(1000), nested: { deep: [{}] } };
    host.server.sendEvent(conn, { t: 'packed', p });
    expect((await client.heard('event', { type: 'packed' }))['payload']).toEqual(p);
    expect(client.frames('M:')).toHaveLength(1);
  });

  it('stays connected through many hurried heartbeats of both sides', async () => {
    await using host = await startServer({ ...options, pingInterval: 1, idleTimeout: 3 });
    await using client = Python.join(python, host, { heartbeat: 0.2 });
    const pong = '{"c":"WSE","t":"PONG"';
    const ping = '{"c":"WSE","t":"ping"';
    await waitUntil(() => client.frames(pong).length >= 5 && client.frames(ping).length >= 2, 'heartbeats', 15_000);
    expect(await client.stats()).toMatchObject({ state: 'connected', reconnect_count: 0 });
    expect([...client.frames(pong), ...client.frames(ping)].every(({ opcode }) => opcode === 'text')).toBe(true);
    expect(host.events.map(([type]) => type)).toEqual(['auth_connect']);
  });

  it.each([
    ['a wrong token', () => token('another-secret-of-at-least-32-bytes!'), 'AUTH_FAILED'],
    ['no token', () => null, 'AUTH_REQUIRED'],
  ])('ends in ERROR with %s, and does not come back', async (_, make, code) => {
    await using host = await startServer(options);
    await using client = Python.join(python, host, { token: make() });
    await client.heard('over');
    expect((await client.heard('event', { type: 'error' }))['payload']).toMatchObject({ code });
    expect(await client.stats()).toMatchObject({ state: 'error', is_ready: false, reconnect_count: 0, token: null });
    const states = client.lines.filter(({ kind }) => kind === 'state').map(({ state }) => state);
    expect(states).toEqual(['connecting', 'connected', 'error']);
    expect(host.events).toEqual([]);
  });

  it('comes back after drain() to a server that starts again on the same port', async () => {
    await using first = await startServer(options);
    await using client = Python.join(python, first);
    await subscribe(first, client, 'news');
    expect(await first.server.drain({ timeout: 5 })).toBe(true);
    await client.heard('state', { state: 'reconnecting' });
    await first.stop();

    await using second = await startServer({ ...options, port: first.port });
    await second.take('auth_connect');
    await waitUntil(() => second.server.getTopicSubscriberCount('news') === 1, 'subscription made again');
    second.server.publish('news', 'back', { n: 1 });
    await client.heard('event', { type: 'back' });
    expect(await client.stats()).toMatchObject({ state: 'connected', is_fully_ready: true, subscribed_topics: ['news'] });
  });

  it(
    'stays connected through two heartbeats of its own',
    async () => {
      const { host, client } = unhurried;
      const pong = '{"c":"WSE","t":"PONG"';
      await waitUntil(() => client.frames(pong).length >= 2 || !client.running, 'two PONGs', TWO_HEARTBEATS_MS);
      // The server's first ping comes somewhere in the first 25 s.
      expect(client.frames('{"c":"WSE","t":"ping"').length).toBeGreaterThanOrEqual(1);
      expect(await client.stats()).toMatchObject({ state: 'connected', is_fully_ready: true, reconnect_count: 0 });
      expect(host.events.map(([type]) => type)).toEqual(['auth_connect']);
      expect(client.err).toEqual([]);
    },
    TWO_HEARTBEATS_MS + 15_000,
  );
});
