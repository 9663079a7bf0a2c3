/** A client at the published server, whose mistakes are played by `published-server.ts`; and what published clients get wrong there. */

import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { endpointPool, networkQuality } from '../../src/index.js';
import { open } from '../support/client.js';
import { PublishedServer, serverReady, stamped } from '../support/published-server.js';
import { Socket } from '../support/socket.js';
import { TestClock } from '../support/time.js';
import { vectors } from '../support/vectors.js';

const FAST = { reconnect: { baseDelay: 10, maxDelay: 50 } };
const JWT = { tokens: new Set(['good', 'other']) };
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('the server that is played', () => {
  it('says what the golden vectors say', () => {
    for (const { input, output } of vectors('envelope', 'server_ready')) {
      const { now_ms, ...of } = input as { now_ms: number } & Omit<Parameters<typeof serverReady>[0], 'now'>;
      expect(serverReady({ ...of, now: new Date(now_ms) })).toBe(output);
    }
    const stamps = vectors('recovery', 'stamp').filter(
      ({ inject, output, text }) => inject && output && /^\{"t":"tick"/.test(String(text)),
    );
    expect(stamps.length).toBeGreaterThan(0);
    for (const { topic, epoch, offset, text, output } of stamps) {
      expect(stamped(topic as string, epoch as number, offset as number, text as string)).toBe(output);
    }
  });
});

describe('greetings', () => {
  it('follow server_ready: hello, topics, what waited, in this order, again on every connection', async () => {
    const server = await PublishedServer.start(JWT);
    const { client, errors } = open(server.url, { ...FAST, token: 'good', topics: ['a', 'b'] });
    const sent = client.send('early', { n: 1 });
    for (const index of [0, 1]) {
      const connection = await server.connection(index);
      await waitUntil(() => connection.count('subscription_update') === 1, 'subscription');
      await waitUntil(() => client.isFullyReady && client.subscribedTopics.size === 2, 'everything');
      const order = connection.said.map(({ t }) => t);
      expect(order).toEqual(['client_hello', 'subscription_update', ...(index === 0 ? ['early'] : [])]);
      expect(connection.said[1]?.p).toMatchObject({ action: 'subscribe', topics: ['a', 'b'] });
      expect(connection.frames.every(({ binary }) => !binary)).toBe(true);
      if (index === 0) connection.socket.close();
    }
    await sent;
    expect(client.recoveryEnabled).toBe(true);
    expect(client.server.features).toMatchObject({ warp_drive: { speed: 9 } });
    expect(errors).toEqual([]);
  });

  it('do without server_ready where there is no JWT', async () => {
    const server = await PublishedServer.start();
    const { client } = open(server.url, { readyTimeout: 30, topics: ['a'] });
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    server.publish('a', 'tick', 1);
    expect(await client.recv(5_000)).toMatchObject({ type: 'tick', payload: 1 });
    expect(client.isReady).toBe(false);
  });

  it('may be late: nothing is said twice to the program', async () => {
    const server = await PublishedServer.start({ ...JWT, readyAfter: 150 });
    const { client, events, states } = open(server.url, { readyTimeout: 20, token: 'good', topics: ['a'] });
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    for (const n of range(0, 4)) server.publish('a', 'tick', n);
    await waitUntil(() => client.isFullyReady, 'server_hello');
    for (const n of range(5, 9)) server.publish('a', 'tick', n);
    await waitUntil(() => events.length >= 10, 'everything');
    expect(events.map(({ payload }) => payload)).toEqual(range(0, 9));
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
  });
});

describe('refused tokens', () => {
  it('are said, and end a client that has no other', async () => {
    const server = await PublishedServer.start(JWT);
    const { client, events } = open(server.url, { ...FAST, token: 'bad' });
    expect((await client.closed).error).toMatchObject({ code: 'WSE_AUTH_FAILED', closeCode: 4401 });
    expect(events.map(({ type, payload }) => [type, (payload as { code: string }).code])).toEqual([['error', 'AUTH_FAILED']]);
    expect(server.connections).toHaveLength(1);
  });

  it('are renewed: bearers too, on the next connection (published: the token is set to null)', async () => {
    const server = await PublishedServer.start(JWT);
    const { client } = open(server.url, { ...FAST, token: ({ reason }) => (reason === 'refused' ? 'good' : 'expired') });
    await client.connected(5_000);
    expect(server.connections.map(({ request }) => request.headers.authorization)).toEqual(['Bearer expired', 'Bearer good']);
  });
});

describe('the end of a connection', () => {
  // Published: TypeScript stays away after 1000 and 1001, Python stays `connected` after them and an empty Close, and ends at 1008.
  it.each([undefined, 1000, 1001, 1008, 1011, 4300])('by %s is not the end of the client', async (code) => {
    const server = await PublishedServer.start({ ...JWT, ring: 8 });
    const { client, events, lost } = open(server.url, { ...FAST, token: 'good', topics: ['a'] });
    const first = await server.connection(0);
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    server.publish('a', 'tick', 0);
    await waitUntil(() => events.length === 1, 'the first');
    if (code === undefined) first.socket.close();
    else first.socket.close(code, 'server shutting down');
    await waitUntil(() => first.closed !== undefined, 'close');
    for (const n of range(1, 3)) server.publish('a', 'tick', n);
    await waitUntil(() => events.length === 4, 'the others');
    expect(events.map(({ payload }) => payload)).toEqual(range(0, 3));
    expect(lost).toEqual([]);
  });

  it('by silence is noticed (published TypeScript: never), and every frame is a sign of life (Python: TEXT in some order)', async () => {
    Object.assign(Socket, { all: [], reachable: true });
    Socket.answers = false;
    onTestFinished(() => void Object.assign(Socket, { answers: true }));
    const clock = new TestClock();
    const { client, states } = open('ws://x', { clock, webSocket: Socket as never, page: false });
    await client.connected();
    const pass = async (seconds: number): Promise<void> => {
      for (let n = 0; n < seconds; n += 1) {
        clock.pass(1_000);
        await turn();
      }
    };
    const [socket] = Socket.all;
    // No PONG, no ping: BINARY, its members in alphabetical order, every half minute.
    for (let n = 0; n < 10; n += 1) {
      await pass(30);
      socket?.onmessage?.({ data: new TextEncoder().encode('{"c":"U","p":{},"t":"tick"}').buffer });
    }
    expect(Socket.all).toHaveLength(1);
    await pass(39);
    expect(Socket.all).toHaveLength(1);
    await pass(5);
    expect(states.filter(({ code, reason }) => code === 1006 && reason === 'nothing was heard')).toHaveLength(1);
    expect(Socket.all).toHaveLength(2);
  });

  it('is retried for ever with -1 (published hook: ten times)', async () => {
    const { client } = open('ws://127.0.0.1:1/', { reconnect: { baseDelay: 1, maxDelay: 2, maxAttempts: -1 } });
    await waitUntil(() => client.getStats().attempts > 25, 'attempts');
    expect(client.state).toBe('reconnecting');
  });
});

describe('heartbeats', () => {
  it('are TEXT, lower-case, with a whole number of milliseconds: the server answers no other', async () => {
    const server = await PublishedServer.start(JWT);
    const { client } = open(server.url, { token: 'good', heartbeat: 30, quality: networkQuality() });
    const connection = await server.connection(0);
    await waitUntil(() => client.getStats().network.latency !== null && client.connectionQuality !== 'unknown', 'a round trip');
    const pings = connection.frames.filter(({ data }) => /"t":"ping"/i.test(data));
    expect(pings.length).toBeGreaterThan(0);
    for (const { data, binary } of pings) {
      expect(binary).toBe(false);
      expect(JSON.parse(data)).toMatchObject({ c: 'WSE', t: 'ping', p: { timestamp: expect.any(Number) } });
      expect(Number.isInteger(JSON.parse(data).p.timestamp)).toBe(true);
    }
  });

  it('of the server are answered, in every form; an application may call its messages as it likes', async () => {
    const server = await PublishedServer.start(JWT);
    const { events } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    connection.text('{"c":"WSE","t":"ping","p":{"server_time":"2026-01-01T00:00:00.000Z"}}');
    expect((await connection.next('PONG')).p).toMatchObject({ server_timestamp: '2026-01-01T00:00:00.000Z' });
    connection.text('WSE{"t":"PING","p":{"timestamp":17}}');
    expect((await connection.next('PONG')).p).toMatchObject({ server_timestamp: 17 });
    connection.text('WSE:PING:18');
    await connection.next('PONG');
    connection.text('{"t":"pinged","p":{}}');
    await waitUntil(() => events.length === 1, 'the message');
    expect(events[0]?.type).toBe('pinged');
  });
});

describe('subscriptions', () => {
  it('are what the server has answered, not what was asked (published Python: true once it is sent)', async () => {
    const server = await PublishedServer.start({ ...JWT, reply: 'never' });
    const { client } = open(server.url, { token: 'good' });
    await client.connected();
    await expect(client.subscribe(['a'], { timeout: 50 })).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    expect(client.subscribedTopics.size).toBe(0);
    expect(client.wantedTopics).toEqual(['a']);
  });

  it('are confirmed by replies without success, and refused in the form of 1.x', async () => {
    const server = await PublishedServer.start({ ...JWT, reply: 'bare', ring: 0 });
    const { client } = open(server.url, { token: 'good' });
    expect(await client.subscribe(['a'])).toMatchObject({ success: true, topics: ['a'] });
    const silent = await PublishedServer.start({ ...JWT, reply: 'never' });
    const other = open(silent.url, { token: 'good' });
    const asking = other.client.subscribe(['b', 'c']);
    const connection = await silent.connection(0);
    await connection.next('subscription_update');
    const failed = '"failed_topics":[{"topic":"c","error":"no"}]';
    connection.text(`WSE{"t":"subscription_update","p":{"action":"subscribe","success":false,"success_topics":["b"],${failed}}}`);
    expect(await asking).toMatchObject({ success: false, topics: ['b'], failed: [{ topic: 'c' }] });
  });

  it('come with states where the program asks, however the server says that those were all', async () => {
    const server = await PublishedServer.start(JWT);
    const { client, events } = open(server.url, { token: 'good', topics: ['a'] });
    const connection = await server.connection(0);
    for (const done of [
      { topics: ['a'], count: 1 },
      { message: 'done', success: true, snapshots_sent: 1, details: {} },
    ]) {
      const asking = client.requestSnapshot(['a']);
      expect((await connection.next('sync_request')).p).toMatchObject({ topics: ['a'], include_snapshots: true });
      connection.event('a_snapshot', { n: 1 });
      connection.text(JSON.stringify({ c: 'S', t: 'snapshot_complete', p: done }));
      expect(await asking).toEqual(done);
    }
    expect(events.filter(({ type }) => type === 'a_snapshot')).toHaveLength(2);
  });
});

describe('endpoints', () => {
  it('are counted (published TypeScript: never)', async () => {
    const [one, two] = await Promise.all([PublishedServer.start(JWT), PublishedServer.start(JWT)]);
    const urls = [one.url, two.url, 'ws://127.0.0.1:1/'];
    const { client } = open(urls, { ...FAST, token: 'good', pool: endpointPool({ strategy: 'round-robin' }) });
    for (let n = 0; n < 4; n += 1) {
      await client.connected(5_000);
      await waitUntil(() => client.isFullyReady, 'server_hello');
      client.forceReconnect();
    }
    await client.connected(5_000);
    const stats = client.getStats().connectionPool;
    const sum = (name: 'attempts' | 'connections' | 'active' | 'failures'): number =>
      stats.reduce((total, endpoint) => total + endpoint[name], 0);
    expect(stats.map(({ url }) => url)).toEqual(urls);
    expect([sum('connections'), sum('active')]).toEqual([5, 1]);
    expect(one.connections.length + two.connections.length).toBe(5);
    expect(sum('attempts')).toBe(5 + sum('failures'));
    for (const { connections } of stats.slice(0, 2)) expect(connections).toBeGreaterThan(0);
  });
});
