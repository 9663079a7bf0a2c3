/** Events, sending, requests, snapshots, presence, recovery: with a real engine, or with a peer where the engine cannot. */

import { describe, expect, it } from 'vitest';
import { encodeJwt } from '../../../ts/src/index.js';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { batching, connect, rateLimiter, type WSEEvent } from '../../src/index.js';
import { cut, open } from '../support/client.js';
import { Peer } from '../support/wse.js';

const FAST = { reconnect: { baseDelay: 10, maxDelay: 50 } };
const SECRET = 's'.repeat(32);
const tokenOf = (sub: string): string => encodeJwt({ sub, exp: Math.floor(Date.now() / 1000) + 60 }, SECRET);

describe('recovery', () => {
  it('brings what was published while the client was away, once and in order', async () => {
    const server = await startServer({ subscriptions: 'acl', recovery: true });
    const { client, events, lost } = open(`ws://127.0.0.1:${server.port}`, FAST);
    expect(await client.subscribe(['prices', 'news.*'])).toMatchObject({ success: true });
    const [, conn] = await server.take('connect');
    const tick = (n: number): unknown => server.server.publish('prices', 'tick', n);
    tick(1);
    server.server.publish('news.a', 'item', 'a');
    await waitUntil(() => events.length === 2, 'both');
    await cut(client, () => server.server.disconnect(conn, { code: 4300 }));
    for (let n = 2; n <= 50; n += 1) tick(n);
    server.server.publish('news.a', 'item', 'b');
    await waitUntil(() => events.length >= 52, 'everything');
    tick(51);
    await waitUntil(() => events.length >= 53, 'the last');
    expect(events.filter(({ topic }) => topic === 'prices').map(({ payload }) => payload)).toEqual(
      Array.from({ length: 51 }, (_, i) => i + 1),
    );
    expect(events.filter(({ topic }) => topic === 'news.a').map(({ payload }) => payload)).toEqual(['a', 'b']);
    expect(lost).toEqual([]);
    expect(client.recoveryEnabled).toBe(true);
    expect(client.recoveryState['prices']).toMatchObject({ offset: 51 });
  });

  it('is declared where it cannot be', async () => {
    const server = await startServer({ subscriptions: 'acl', recovery: { bufferSize: 16, maxMessages: 4 } });
    const { client, events, lost } = open(`ws://127.0.0.1:${server.port}`, { ...FAST, topics: ['a'] });
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    const [, conn] = await server.take('connect');
    server.server.publish('a', 'tick', 1);
    await waitUntil(() => events.length === 1, 'the first');
    await cut(client, () => server.server.disconnect(conn, { code: 4300 }));
    for (let n = 2; n <= 20; n += 1) server.server.publish('a', 'tick', n);
    await waitUntil(() => lost.length > 0, 'loss');
    server.server.publish('a', 'tick', 21);
    await waitUntil(() => events.length === 2, 'the next');
    expect(lost).toEqual([
      { topic: 'a', from: expect.objectContaining({ offset: 1 }), to: expect.objectContaining({ offset: 20 }) },
    ]);
    expect(events[1]?.payload).toBe(21);
  });

  it('goes on from positions that came from elsewhere', async () => {
    const server = await startServer({ subscriptions: 'acl', recovery: true });
    for (let n = 1; n <= 5; n += 1) server.server.publish('a', 'tick', n);
    const { epoch } = server.server.position('a') ?? { epoch: '' };
    const { events } = open(`ws://127.0.0.1:${server.port}`, {
      topics: ['a'],
      positions: { a: { epoch: epoch as string, offset: 3 } },
    });
    await waitUntil(() => events.length === 2, 'the rest');
    expect(events.map(({ payload }) => payload)).toEqual([4, 5]);
  });

  it('is not asked for by who does not want it', async () => {
    const server = await startServer({ subscriptions: 'acl', recovery: true });
    const { client, events } = open(`ws://127.0.0.1:${server.port}`, FAST);
    await client.subscribe(['a'], { recover: false });
    const [, conn] = await server.take('connect');
    server.server.publish('a', 'tick', 1);
    await waitUntil(() => events.length === 1, 'the first');
    await cut(client, () => server.server.disconnect(conn, { code: 4300 }));
    server.server.publish('a', 'tick', 2);
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    server.server.publish('a', 'tick', 3);
    await waitUntil(() => events.length === 2, 'the third');
    expect(events[1]?.payload).toBe(3);
  });
});

describe('events', () => {
  it('go to handlers, of which one that throws harms nobody', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client, events, errors } = open(peer.url);
    await client.connected();
    const heard: unknown[] = [];
    client.on('tick', () => {
      throw new Error('mine');
    });
    client.on('tick', async () => {
      throw new Error('late');
    });
    const off = client.on('tick', ({ payload }) => heard.push(payload));
    client.once('tick', ({ payload }) => heard.push(`once ${payload}`));
    const say = (p: number): void => peer.connections[0]?.send({ t: 'tick', p });
    say(1);
    say(2);
    await waitUntil(() => events.length === 2, 'both');
    off();
    say(3);
    await waitUntil(() => events.length === 3, 'the third');
    expect(heard).toEqual([1, 'once 1', 2]);
    await waitUntil(() => errors.length === 6, 'reports');
    expect(errors[0]).toMatchObject({ code: 'WSE_HANDLER', cause: expect.objectContaining({ message: 'mine' }) });
    expect(client.getStats().handlerErrors).toBe(6);
  });

  it('that nobody reads make room, counted; or iteration ends', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const drop = open(peer.url, { queueSize: 3 }).client;
    await drop.connected();
    await expect(drop.recv(1)).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    for (let n = 0; n < 5; n += 1) peer.connections[0]?.send({ t: 'tick', p: n });
    await waitUntil(() => drop.getStats().eventsDropped === 2, 'two lost');
    expect([await drop.recv(), await drop.recv(), await drop.recv()].map(({ payload }) => payload)).toEqual([2, 3, 4]);

    const strict = open(peer.url, { queueSize: 3, overflow: 'error' }).client;
    await strict.connected();
    const reading = strict[Symbol.asyncIterator]();
    for (let n = 0; n < 5; n += 1) peer.connections[1]?.send({ t: 'tick', p: n });
    await waitUntil(() => strict.getStats().eventsDropped > 0, 'overflow');
    const got: unknown[] = [];
    await expect(
      (async () => {
        for (;;) got.push((await reading.next()).value?.payload);
      })(),
    ).rejects.toMatchObject({ code: 'WSE_OVERFLOW' });
    expect(got).toEqual([0, 1, 2]);
    expect(strict.state).toBe('connected');
  });

  it('are collected for nobody, where handlers do the work', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client, events } = open(peer.url, { queueSize: 3 });
    await client.connected();
    for (let n = 0; n < 9; n += 1) peer.connections[0]?.send({ t: 'tick', p: n });
    await waitUntil(() => events.length === 9, 'all');
    expect(client.queueSize).toBe(0);
    expect(client.getStats().eventsDropped).toBe(0);
  });

  it('come once by their id, and out of batches and priority messages of either form', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client, events } = open(peer.url);
    await client.connected();
    const [connection] = peer.connections;
    const [one, two] = [
      { t: 'x', p: 1, id: 'a' },
      { t: 'x', p: 2, id: 'b' },
    ];
    connection?.send(one);
    connection?.send(one);
    connection?.send({ t: 'batch', p: { messages: [two, one, { t: 'x', p: 3 }], count: 3 } });
    connection?.send({ t: 'priority_message', p: { message: { t: 'x', p: 4 } } });
    connection?.send({ t: 'priority_message', p: { type: 'x', content: 5 } });
    await waitUntil(() => events.length === 5, 'five');
    expect(events.map(({ payload }) => payload)).toEqual([1, 2, 3, 4, 5]);
    expect(client.getStats().duplicates).toBe(2);
  });

  it('survive rubbish', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client, events, errors, states } = open(peer.url, { maxMessageSize: 1 << 20 });
    await client.connected();
    const [connection] = peer.connections;
    for (const text of [
      '',
      '{',
      '[]',
      'null',
      '"x"',
      'x'.repeat(2 << 20),
      '{"t":"reply","cid":"?","p":1}',
      '{"t":"server_hello"}',
    ]) {
      connection?.send(text);
    }
    for (const t of [
      'error',
      'subscription_update',
      'snapshot_complete',
      'priority_message',
      'ping',
      'batch',
      'auth_refreshed',
      'health_check',
      'rate_limit_warning',
      '__proto__',
      'constructor',
    ]) {
      for (const p of [null, 7, [], {}, { messages: [null] }, { success_topics: 'x', failed_topics: [null] }, { recovery: [1] }])
        connection?.send({ t, p });
    }
    connection?.socket.send(Buffer.from([0xff, 0x00, 0x01]));
    connection?.socket.send(Buffer.from('C:rubbish'));
    connection?.socket.send(Buffer.from('{"t":"fine","p":"bytes"}'));
    await waitUntil(() => events.some(({ type }) => type === 'fine'), 'the last');
    expect(errors.every((error) => (error as { code?: string }).code === 'WSE_PROTOCOL')).toBe(true);
    expect(client.getStats().unreadable).toBeGreaterThan(5);
    expect(states.at(-1)?.state).toBe('connected');
    await client.send('still', 1);
    expect((await (connection as NonNullable<typeof connection>).next('still')).p).toBe(1);
  });

  it('of presence and snapshots are events like others', async () => {
    const server = await startServer({
      jwt: { secret: SECRET },
      subscriptions: 'acl',
      presence: true,
      snapshots: { topics: 'room', get: () => ({ room: { cards: 3 } }) },
    });
    const url = `ws://127.0.0.1:${server.port}`;
    const { client, events } = open(url, { token: tokenOf('ada') });
    await client.subscribe(['room'], { presence: { name: 'Ada' } });
    const eve = open(url, { token: tokenOf('eve') });
    await eve.client.subscribe(['room'], { presence: { name: 'Eve' } });
    await waitUntil(() => events.filter(({ type }) => type === 'presence_join').length === 2, 'both');
    await eve.client.close();
    await waitUntil(() => events.some(({ type }) => type === 'presence_leave'), 'leave');
    const [joined] = events.filter(({ type }) => type === 'presence_join') as WSEEvent<
      string,
      { topic: string; user_id: string }
    >[];
    expect(joined?.payload).toMatchObject({ topic: 'room', user_id: 'ada' });
    events.length = 0;
    expect(await client.requestSnapshot(['room'])).toEqual({ topics: ['room'], count: 1 });
    expect(events.find(({ type }) => type === 'topic_snapshot')?.payload).toMatchObject({ topic: 'room', data: { cards: 3 } });
  });
});

describe('sending', () => {
  it('waits for a connection, by priority and then by age', async () => {
    const peer = await Peer.start();
    const { client } = open(peer.url);
    const levels = ['background', 'normal', 'critical', 'low', 'high', 'normal', 'critical'] as const;
    const sent = levels.map((priority, n) => client.send('m', n, { priority }));
    const connection = await peer.connection(0);
    connection.ready();
    await Promise.all(sent);
    await waitUntil(() => connection.heard.filter(({ t }) => t === 'm').length === 7, 'all');
    expect(connection.heard.filter(({ t }) => t === 'm').map(({ p }) => p)).toEqual([2, 6, 4, 1, 5, 3, 0]);
  });

  it('is bounded, in number and in time, and can be taken back', async () => {
    const peer = await Peer.start();
    const { client } = open(peer.url, { sendQueueSize: 2 });
    const controller = new AbortController();
    const first = client.send('a', 1, { signal: controller.signal });
    const second = client.send('b', 2, { timeout: 20 });
    await expect(client.send('c', 3)).rejects.toMatchObject({ code: 'WSE_QUEUE_FULL' });
    controller.abort();
    await expect(first).rejects.toMatchObject({ code: 'WSE_ABORTED' });
    await expect(second).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    expect(client.getStats().sendQueueSize).toBe(0);
    await expect(client.send('c', 3, { timeout: 0 })).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    await expect(client.send('c', { n: 1n })).rejects.toMatchObject({ code: 'WSE_ARGUMENT' });
    await expect(client.send('c', 1, { priority: 4 as never })).rejects.toMatchObject({ code: 'WSE_ARGUMENT' });
    const again = client.sendWithRetry('d', 4, { timeout: 1 });
    (await peer.connection(0)).ready();
    await again;
  });

  it('keeps to what the server takes', async () => {
    const server = await startServer({ maxMessageSize: 4_096 });
    const { client } = open(`ws://127.0.0.1:${server.port}`);
    await waitUntil(() => client.isFullyReady, 'server_hello');
    await expect(client.send('big', 'x'.repeat(5_000))).rejects.toMatchObject({ code: 'WSE_TOO_LARGE' });
    await client.send('fits', 'x'.repeat(3_000));
    expect((await server.take('msg'))[2]).toMatchObject({ t: 'fits' });
    expect(client.state).toBe('connected');
  });

  it('shares frames where that is asked for, and keeps a rate', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client } = open(peer.url, {
      batch: batching({ size: 3, delay: 10_000 }),
      rateLimit: rateLimiter({ capacity: 2, refill: 50 }),
    });
    await client.connected();
    const begun = performance.now();
    await Promise.all([
      client.send('a', 1),
      client.send('b', 2),
      client.send('c', 3),
      client.send('now', 0, { priority: 'high' }),
    ]);
    const [connection] = peer.connections;
    const batch = await connection?.next('batch');
    expect(batch?.p).toMatchObject({
      count: 3,
      messages: [
        { t: 'a', p: 1 },
        { t: 'b', p: 2 },
        { t: 'c', p: 3 },
      ],
    });
    await Promise.all([1, 2, 3].map((n) => client.send('slow', n, { priority: 'high' })));
    // Five, of which two were free: three fiftieths of a second.
    expect(performance.now() - begun).toBeGreaterThan(50);
    await client.sendBatch([['x', 1], ['y']]);
    expect((await connection?.next('batch'))?.p).toMatchObject({
      count: 2,
      messages: [
        { t: 'x', p: 1 },
        { t: 'y', p: {} },
      ],
    });
  });
});

describe('requests', () => {
  it('are answered, refused, late, taken back, or lost with the connection', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client } = open(peer.url, FAST);
    await client.connected();
    const connection = await peer.connection(0);
    const asked = client.request<{ price: number }>('quote', { symbol: 'X' }, { timeout: 7_000 });
    const request = await connection.next('quote');
    expect(request).toMatchObject({ p: { symbol: 'X' }, rq: 7_000, cid: expect.any(String) });
    connection.send({ c: 'U', t: 'reply', p: { price: 3 }, cid: request.cid });
    expect(await asked).toEqual({ price: 3 });

    const bad = client.request('quote');
    connection.send({ c: 'WSE', t: 'reply', cid: (await connection.next('quote')).cid, err: { code: 'NO', message: 'no such' } });
    await expect(bad).rejects.toMatchObject({ code: 'WSE_REPLY_ERROR', remote: { code: 'NO', message: 'no such' } });

    await expect(client.request('quote', {}, { timeout: 10 })).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    const late = await connection.next('quote');
    expect((await connection.next('cancel')).cid).toBe(late.cid);
    const { length } = client.getStats().subscribedTopics;
    connection.send({ c: 'U', t: 'reply', p: 1, cid: late.cid });

    const controller = new AbortController();
    const taken = client.request('quote', {}, { signal: controller.signal });
    const { cid } = await connection.next('quote');
    controller.abort();
    await expect(taken).rejects.toMatchObject({ code: 'WSE_ABORTED' });
    expect((await connection.next('cancel')).cid).toBe(cid);

    const lost = client.request('quote');
    await connection.next('quote');
    connection.socket.terminate();
    await expect(lost).rejects.toMatchObject({ code: 'WSE_CONNECTION_LOST' });
    expect([client.getStats().pendingRequests, length, client.queueSize]).toEqual([0, 0, 0]);
  });

  it('of the server are answered by handlers', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client, errors } = open(peer.url);
    await client.connected();
    const connection = await peer.connection(0);
    const aborted: unknown[] = [];
    client.onRequest<{ n: number }>('double', async ({ n }) => ({ n: n * 2 }));
    client.onRequest('fails', () => {
      throw Object.assign(new Error('broken'), { code: 'BROKEN' });
    });
    client.onRequest(
      'slow',
      (_, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(aborted.push('slow')))),
    );
    const ask = async (t: string, p: unknown, cid: string, rq = 1_000): Promise<unknown> => {
      connection.send({ t, p, cid, rq });
      return connection.next('reply');
    };
    expect(await ask('double', { n: 4 }, '1')).toMatchObject({ p: { n: 8 }, cid: '1' });
    expect(await ask('fails', {}, '2')).toMatchObject({ cid: '2', err: { code: 'BROKEN', message: 'broken' } });
    expect(await ask('nobody', {}, '3')).toMatchObject({ cid: '3', err: { code: 'NOT_HANDLED' } });
    connection.send({ t: 'slow', p: {}, cid: '4', rq: 60_000 });
    connection.send({ c: 'WSE', t: 'cancel', cid: '4' });
    await waitUntil(() => aborted.length === 1, 'cancellation');
    connection.send({ t: 'slow', p: {}, cid: '5', rq: 10 });
    await waitUntil(() => aborted.length === 2, 'deadline');
    expect(errors).toHaveLength(1);
  });

  it('about the client itself are answered', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client } = open(peer.url, { topics: ['a'] });
    await client.connected();
    const connection = await peer.connection(0);
    for (const t of ['health_check', 'metrics_request', 'sync_request']) connection.send({ t, p: {} });
    expect((await connection.next('health_check_response')).p).toMatchObject({ client_version: '0.1.0', queue_size: 0 });
    expect((await connection.next('metrics_response')).p).toMatchObject({ subscriptions: { pending: ['a'] } });
    expect((await connection.next('sync_response')).p).toMatchObject({ subscriptions: ['a'] });
    connection.send('{"c":"WSE","t":"ping","p":{"server_time":"2026-01-01T00:00:00.000Z"}}');
    expect((await connection.next('PONG')).p).toMatchObject({ server_timestamp: '2026-01-01T00:00:00.000Z' });
  });
});

describe('several clients', () => {
  it('share nothing, and await using ends one', async () => {
    const server = await startServer({ subscriptions: 'acl' });
    const one = open(`ws://127.0.0.1:${server.port}`, { topics: ['a'] });
    const two = open(`ws://127.0.0.1:${server.port}`, { topics: ['b'] });
    await waitUntil(() => one.client.subscribedTopics.size + two.client.subscribedTopics.size === 2, 'both');
    server.server.publish('a', 'tick', 1);
    await waitUntil(() => one.events.length === 1, 'the event');
    expect(two.events).toEqual([]);
    {
      await using three = connect(`ws://127.0.0.1:${server.port}`);
      await three.connected(5_000);
    }
    await waitUntil(() => server.gauge('connections') === 2, 'two are left');
  });
});
