/** What a client does when its connection ends, by how it ends. */

import { describe, expect, it } from 'vitest';
import { encodeJwt } from '../../../ts/src/index.js';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { open } from '../support/client.js';
import { fastClock } from '../support/fast-clock.js';
import { Peer } from '../support/wse.js';

const FAST = { reconnect: { baseDelay: 10, maxDelay: 50 } };
const SECRET = 's'.repeat(32);
const tokenOf = (lives: number, sub = 'ada'): string => encodeJwt({ sub, exp: Math.floor(Date.now() / 1000) + lives }, SECRET);

describe('a connection that ends', () => {
  it.each([1000, 1001, 1005, 1006, 1011, 1012, 4300])(
    'with %i comes back, and asks for all its topics in one request',
    async (code) => {
      const peer = await Peer.start((connection) => connection.ready());
      const { client, states } = open(peer.url, { ...FAST, topics: ['a'] });
      const first = await peer.connection(0);
      await first.next('subscription_update');
      void client.subscribe(['b', 'c']);
      await first.next('subscription_update');
      if (code === 1006) first.socket.terminate();
      else first.socket.close(...(code === 1005 ? [] : [code]));
      const second = await peer.connection(1);
      expect((await second.next('subscription_update')).p).toEqual({ action: 'subscribe', topics: ['a', 'b', 'c'] });
      await waitUntil(() => client.state === 'connected', 'connected');
      expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected', 'reconnecting', 'connected']);
      expect(states[2]).toMatchObject({ code, attempt: 1, retryIn: expect.any(Number) });
      expect(client.getStats().reconnectCount).toBe(1);
    },
  );

  it('ends the client where the caller says so', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client } = open(peer.url, { ...FAST, stopOn: [1000] });
    await client.connected();
    peer.connections[0]?.socket.close(1000, 'enough');
    expect(await client.closed).toEqual({ code: 1000, reason: 'enough', error: undefined });
    expect(client.state).toBe('disconnected');
  });

  it('with 4403 is the end, and everybody who waits hears it', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client } = open(peer.url, FAST);
    await client.connected();
    const reading = client.recv();
    const asking = client.request('quote', {});
    peer.connections[0]?.socket.close(4403, 'banned');
    await expect(reading).rejects.toMatchObject({ code: 'WSE_STOPPED', closeCode: 4403 });
    await expect(asking).rejects.toMatchObject({ code: 'WSE_CONNECTION_LOST' });
    await expect(client.send('x')).rejects.toMatchObject({ code: 'WSE_STOPPED' });
    await expect(client.subscribe(['x'])).rejects.toMatchObject({ code: 'WSE_STOPPED' });
    expect(client.state).toBe('error');
  });

  it('with 4429 waits longer, and a page that is looked at does not change that', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client, states } = open(peer.url, { reconnect: { baseDelay: 1_000, jitter: false } });
    await client.connected();
    peer.connections[0]?.socket.close(4429);
    await waitUntil(() => states.at(-1)?.state === 'reconnecting', 'reconnecting');
    expect(states.at(-1)?.retryIn).toBeCloseTo(1_000 * 1.5 ** 4);
    client.forceReconnect();
    await peer.connection(1);
  });

  it('is tried elsewhere', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client } = open(['ws://127.0.0.1:1/', peer.url], FAST);
    await client.connected(5_000);
    expect(client.url).toBe(peer.url);
    const other = await Peer.start((connection) => connection.ready());
    client.changeEndpoint(other.url);
    await other.connection(0);
    await waitUntil(() => client.url === other.url && client.isConnected, 'the other endpoint');
    await waitUntil(() => peer.connections[0]?.closed === 1000, 'the first one closed');
  });

  it('goes on over a restart of the server', async () => {
    const first = await startServer({ subscriptions: 'acl' });
    const { client } = open(`ws://127.0.0.1:${first.port}`, { ...FAST, topics: ['a'] });
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    await first.stop();
    await waitUntil(() => client.state === 'reconnecting', 'reconnecting');
    const sending = client.send('kept', { n: 1 }, { timeout: 20_000 });
    const second = await startServer({ subscriptions: 'acl', port: first.port });
    await sending;
    expect((await second.take('msg'))[2]).toMatchObject({ t: 'kept', p: { n: 1 } });
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
  });

  it('that never opens is given up in time, and a signal ends it all', async () => {
    const controller = new AbortController();
    const { client, states } = open('ws://127.0.0.1:1/', { ...FAST, signal: controller.signal });
    await waitUntil(() => client.getStats().attempts > 2, 'attempts');
    expect(String(states.find(({ error }) => error)?.error)).toMatch(/ECONNREFUSED/);
    const waiting = client.connected();
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: /WSE_(ABORTED|CLOSED)/ });
    expect((await client.closed).error).toBeUndefined();
  });

  it('is bounded by maxAttempts', async () => {
    const { client } = open('ws://127.0.0.1:1/', { reconnect: { baseDelay: 1, maxAttempts: 2 } });
    expect((await client.closed).error).toMatchObject({ code: 'WSE_CONNECT_FAILED' });
    expect(client.state).toBe('error');
  });
});

describe('silence', () => {
  it('is noticed: degraded, then another connection', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client, states } = open(peer.url, { ...FAST, heartbeat: 30, idleTimeout: 120 });
    await peer.connection(1);
    await waitUntil(() => client.state === 'connected', 'connected');
    const seen = states.slice(0, 4);
    expect(seen.map(({ state }) => state)).toEqual(['connecting', 'connected', 'degraded', 'reconnecting']);
    expect(seen[3]).toMatchObject({ code: 1006, reason: 'nothing was heard' });
  });

  it('of server_ready is waited for, but not for ever', async () => {
    const peer = await Peer.start();
    const { client } = open(peer.url, { readyTimeout: 50, topics: ['a'] });
    await client.connected(5_000);
    expect(client.isReady).toBe(false);
    const connection = await peer.connection(0);
    await connection.next('subscription_update');
    expect(connection.heard.map(({ t }) => t)).not.toContain('client_hello');
  });
});

describe('tokens', () => {
  it('are asked for at every attempt, and travel in cookie and header', async () => {
    const server = await startServer({ jwt: { secret: SECRET } });
    const reasons: string[] = [];
    const { client } = open(`ws://127.0.0.1:${server.port}`, {
      ...FAST,
      token: ({ reason }) => {
        reasons.push(reason);
        return tokenOf(60);
      },
    });
    await client.connected(5_000);
    expect(client.server.userId).toBe('ada');
    const [, conn] = await server.take('auth_connect');
    server.server.disconnect(conn, { code: 4300 });
    await waitUntil(() => client.getStats().reconnectCount === 1, 'reconnect');
    expect(reasons).toEqual(['connect', 'connect']);
  });

  it('that are refused are asked for again, and then it is over', async () => {
    const server = await startServer({ jwt: { secret: SECRET } });
    const reasons: string[] = [];
    const { client, events } = open(`ws://127.0.0.1:${server.port}`, {
      ...FAST,
      token: async ({ reason }) => (reasons.push(reason) > 1 ? tokenOf(60) : tokenOf(-60)),
    });
    await client.connected(5_000);
    expect(reasons).toEqual(['connect', 'refused']);
    expect(events.map(({ type, payload }) => [type, (payload as { code: string }).code])).toEqual([['error', 'AUTH_FAILED']]);
    const bad = open(`ws://127.0.0.1:${server.port}`, { ...FAST, token: () => tokenOf(-60) });
    expect((await bad.client.closed).error).toMatchObject({ code: 'WSE_AUTH_FAILED', closeCode: 4401 });
    const fixed = open(`ws://127.0.0.1:${server.port}`, { ...FAST, token: tokenOf(-60) });
    await fixed.client.closed;
    expect(fixed.client.getStats().attempts).toBe(0);
  });

  it('travel where the server reads them', async () => {
    const server = await startServer({ jwt: { secret: SECRET, from: ['query', 'subprotocol'] }, protocols: ['v1'] });
    for (const tokenIn of ['query', 'subprotocol'] as const) {
      const { client } = open(`ws://127.0.0.1:${server.port}/?a=1`, { token: tokenOf(60, tokenIn), tokenIn, protocols: ['v1'] });
      await client.connected(5_000);
      expect(client.server.userId).toBe(tokenIn);
    }
  });

  it('are exchanged in band before they expire', async () => {
    const server = await startServer({ jwt: { secret: SECRET, expiryWarning: 60 } });
    const reasons: string[] = [];
    const { client, states } = open(`ws://127.0.0.1:${server.port}`, {
      ...FAST,
      token({ reason }) {
        reasons.push(reason);
        return tokenOf(reason === 'expiring' ? 3_600 : 5);
      },
    });
    await waitUntil(() => reasons.includes('expiring'), 'question');
    const expires = await client.refreshToken(tokenOf(7_200));
    expect(expires).toBeGreaterThan(Date.now() / 1000 + 7_000);
    await expect(client.refreshToken(tokenOf(60, 'eve'))).rejects.toMatchObject({ code: 'WSE_AUTH_FAILED' });
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
  });

  it('are exchanged once in half of their life where that is shorter than the warning', async () => {
    const server = await startServer({ jwt: { secret: SECRET, expiryWarning: 60 } });
    const asked: number[] = [];
    const { client, states } = open(`ws://127.0.0.1:${server.port}`, {
      ...FAST,
      token() {
        asked.push(performance.now());
        return tokenOf(20);
      },
    });
    await client.connected(5_000);
    await waitUntil(() => asked.length === 2, 'the first exchange');
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(asked.length).toBe(2);
    await waitUntil(() => asked.length === 3, 'the second');
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
  });
});

describe('a subscription nobody answers', () => {
  it('is asked for again, three times, and no more once it is answered', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const clock = fastClock(200);
    const { client } = open(peer.url, { clock, heartbeat: 1e9, idleTimeout: 1e9, connectTimeout: 1e6, topics: ['a', 'b'] });
    const connection = await peer.connection(0);
    expect((await connection.next('subscription_update')).p).toEqual({ action: 'subscribe', topics: ['a', 'b'] });
    connection.send({ t: 'subscription_update', p: { action: 'subscribe', success: true, success_topics: ['a'] } });
    for (let n = 0; n < 3; n += 1) {
      expect((await connection.next('subscription_update')).p).toEqual({ action: 'subscribe', topics: ['b'] });
    }
    const from = clock.now();
    await waitUntil(() => clock.now() > from + 200_000, 'a while');
    expect(connection.heard.filter(({ t }) => t === 'subscription_update')).toEqual([]);
    expect(client.subscribedTopics).toEqual(new Set(['a']));
  });
});
