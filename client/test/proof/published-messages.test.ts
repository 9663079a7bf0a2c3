/** What the published server sends, in every encoding, and what is recovered there; and what published clients make of it. */

import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { cut, open } from '../support/client.js';
import { fastClock } from '../support/fast-clock.js';
import { PublishedServer } from '../support/published-server.js';
import { vectors } from '../support/vectors.js';

const FAST = { reconnect: { baseDelay: 10, maxDelay: 50 } };
const JWT = { tokens: new Set(['good']) };
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('messages', () => {
  it('of every encoding come in the order they were sent', async () => {
    const server = await PublishedServer.start(JWT);
    const { events, errors, client } = open(`${server.url}?format=msgpack`, { token: 'good' });
    const plain = open(server.url, { token: 'good' });
    const packing = await server.connection(0);
    const zipping = await server.connection(1);
    await Promise.all([client.connected(), plain.client.connected()]);
    const large = 'x'.repeat(3_000);
    for (const n of range(0, 19)) {
      for (const connection of [packing, zipping]) {
        if (n % 4 === 0) connection.event('tick', { n });
        if (n % 4 === 1) connection.event('tick', { n, large });
        if (n % 4 === 2) connection.text(`{"c":"U","t":"tick","p":{"n":${n}}}`);
        if (n % 4 === 3) connection.socket.send(deflateSync(`{"t":"tick","p":{"n":${n}}}`));
      }
    }
    for (const heard of [events, plain.events]) {
      await waitUntil(() => heard.length >= 20, 'everything');
      expect(heard.map(({ payload }) => (payload as { n: number }).n)).toEqual(range(0, 19));
    }
    expect([...errors, ...plain.errors]).toEqual([]);
  });

  it('that came before the end are delivered, packed or not', async () => {
    const server = await PublishedServer.start(JWT);
    const { client, events } = open(server.url, { ...FAST, token: 'good' });
    for (const index of [0, 1, 2]) {
      const connection = await server.connection(index);
      await waitUntil(() => client.isFullyReady, 'server_hello');
      connection.event('tick', { n: 3 * index, large: 'x'.repeat(3_000) });
      connection.text(`{"t":"tick","p":{"n":${3 * index + 1}}}`);
      connection.event('tick', { n: 3 * index + 2, large: 'x'.repeat(3_000) });
      connection.socket.close(4300);
    }
    await waitUntil(
      () => events.length === 9,
      () => `everything: ${events.map(({ payload }) => (payload as { n: number }).n)}`,
    );
    expect(events.map(({ payload }) => (payload as { n: number }).n)).toEqual(range(0, 8));
  });

  it('are not dropped for their age, in the first five seconds or later (published: a clock 1 s off loses them)', async () => {
    const server = await PublishedServer.start(JWT);
    const { events } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    for (const hours of [-24, -1, 0, 1, 24]) {
      connection.event('tick', hours, { ts: new Date(Date.now() + hours * 3_600_000).toISOString() });
    }
    await waitUntil(() => events.length === 5, 'all five');
  });

  it('are not throttled by their type, nor silenced where nobody registered one', async () => {
    const server = await PublishedServer.start(JWT);
    const { events } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    const types = ['health_check_response', 'performance_metrics', 'metrics_response', 'never_heard_of'];
    for (const type of [...types, ...types, ...types]) connection.event(type, {});
    await waitUntil(() => events.length === 12, 'all of them');
  });

  it('keep their payload, falsy ones and what is no object too (published: {} and {data})', async () => {
    const server = await PublishedServer.start(JWT);
    const { events } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    const payloads = [0, '', [], null, false, 'text', [1], 7];
    for (const payload of payloads) connection.event('tick', payload);
    await waitUntil(() => events.length === payloads.length, 'all of them');
    expect(events.map(({ payload }) => payload)).toEqual(payloads);
  });

  it('of presence say no topic, and nobody invents one', async () => {
    const server = await PublishedServer.start(JWT);
    const { client, events } = open(server.url, { token: 'good' });
    await client.connected();
    server.presence('join', 'eve', { mood: 'good' });
    server.presence('leave', 'eve', { mood: 'bad' });
    await waitUntil(() => events.length === 2, 'both');
    expect(events[0]).toEqual({ type: 'presence_join', category: 'WSE', payload: { user_id: 'eve', data: { mood: 'good' } } });
  });

  it('with priority are unwrapped, in the form for either published client, or both', async () => {
    const server = await PublishedServer.start(JWT);
    const { events } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    connection.event('priority_message', { message: { t: 'a', p: 1 } });
    connection.event('priority_message', { type: 'b', content: 2 });
    connection.event('priority_message', { message: { t: 'c', p: 3 }, type: 'c', content: 3 });
    await waitUntil(() => events.length === 3, 'all three');
    expect(events.map(({ type, payload }) => [type, payload])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
  });

  it('in a batch are examined like others: stamps and ids (published TypeScript: neither)', async () => {
    const server = await PublishedServer.start({ ...JWT, ring: 0 });
    const { events, lost } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    const at = (o: number): object => ({ tp: 'a', e: '0000000a', o, t: 'tick', p: o });
    const one = { t: 'once', p: {}, id: 'same' };
    connection.event('batch', { messages: [at(5), at(6), one], count: 3 });
    connection.event('batch', { messages: [at(6), at(7), one], count: 3 });
    connection.text(JSON.stringify(at(7)));
    connection.text(JSON.stringify(at(8)));
    await waitUntil(() => events.some(({ payload }) => payload === 8), 'the last');
    expect(events.map(({ type, payload }) => (type === 'tick' ? payload : type))).toEqual([5, 6, 'once', 7, 8]);
    expect(lost).toEqual([]);
  });

  it('of errors end nothing', async () => {
    const server = await PublishedServer.start(JWT);
    const { client, events, states } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    await client.connected();
    for (const kind of ['rate_limited', 'key_exchange_failed']) {
      for (const { output } of vectors('errors', kind)) connection.text(output as string);
    }
    const count = vectors('errors', 'rate_limited').length + vectors('errors', 'key_exchange_failed').length;
    await waitUntil(() => events.length === count, 'all of them');
    expect(events.every(({ type }) => type === 'error')).toBe(true);
    expect(states).toHaveLength(2);
  });

  it('to the server: a batch is one message (published TypeScript: one each), and too large a one is refused here, not cut there', async () => {
    const server = await PublishedServer.start(JWT);
    const { client } = open(server.url, { token: 'good' });
    const connection = await server.connection(0);
    await waitUntil(() => client.isFullyReady, 'server_hello');
    await client.sendBatch([['a', 1], ['b']]);
    const { p } = await connection.next('batch');
    expect(p).toMatchObject({ count: 2, messages: [{ t: 'a', p: 1 }, { t: 'b' }] });
    await expect(client.send('blob', 'x'.repeat(1_100_000))).rejects.toMatchObject({ code: 'WSE_TOO_LARGE' });
    await client.send('after');
    await connection.next('after');
    expect(server.connections).toHaveLength(1);
  });
});

describe('recovery', () => {
  it.each(['before', 'behind'] as const)('with the reply %s the replay', async (reply) => {
    const server = await PublishedServer.start({ ...JWT, reply });
    const { client, events, lost } = open(server.url, { ...FAST, token: 'good', topics: ['a'] });
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    for (const n of range(0, 4)) server.publish('a', 'tick', n);
    await waitUntil(() => events.length === 5, 'the first');
    await cut(client, () => server.connections[0]?.socket.terminate());
    for (const n of range(5, 9)) server.publish('a', 'tick', n);
    const second = await server.connection(1);
    expect((await second.next('subscription_update')).p).toMatchObject({ recover: true, recovery: { a: { offset: 4 } } });
    await waitUntil(() => second.topics.has('a'), 'subscription');
    for (const n of range(10, 14)) server.publish('a', 'tick', n);
    await waitUntil(() => events.length === 15, 'everything');
    expect(events.map(({ payload }) => payload)).toEqual(range(0, 14));
    expect(lost).toEqual([]);
    expect(client.getStats().recovery).toMatchObject({ requests: 0, losses: 0 });
  });

  it('of a gap: what is ahead is kept, and asked for once (published: dropped, and asked for by every frame)', async () => {
    const server = await PublishedServer.start({ ...JWT, replyAfter: 50 });
    const { client, events, lost } = open(server.url, { token: 'good', topics: ['a'] });
    const connection = await server.connection(0);
    await waitUntil(() => client.subscribedTopics.has('a'), 'subscription');
    await connection.next('subscription_update');
    server.publish('a', 'tick', 0);
    await waitUntil(() => events.length === 1, 'the first');
    server.publish('a', 'tick', 1, false);
    for (const n of range(2, 20)) server.publish('a', 'tick', n);
    await waitUntil(() => events.length === 21, 'everything');
    server.publish('a', 'tick', 21);
    await waitUntil(() => events.length >= 22, 'the last');
    expect(events.map(({ payload }) => payload)).toEqual(range(0, 21));
    expect(connection.count('subscription_update')).toBe(1);
    expect(lost).toEqual([]);
  });

  it('that failed is said late, behind what is live already: never back within an epoch', async () => {
    const server = await PublishedServer.start({ ...JWT, reply: 'never' });
    const { client, events, lost } = open(server.url, { token: 'good', topics: ['a'] });
    const connection = await server.connection(0);
    await connection.next('subscription_update');
    await waitUntil(() => connection.topics.has('a'), 'subscription');
    for (const n of range(0, 9)) server.publish('a', 'tick', n);
    await waitUntil(() => events.length === 10, 'the first');
    const entry = { epoch: events[0]?.epoch, offset: 3, recovered: false, count: 0 };
    connection.text(
      JSON.stringify({
        t: 'subscription_update',
        p: { action: 'subscribe', success: true, success_topics: ['a'], recovery: { a: entry } },
      }),
    );
    await waitUntil(() => client.subscribedTopics.has('a'), 'reply');
    expect(client.recoveryState['a']).toMatchObject({ offset: 9 });
    server.publish('a', 'tick', 10);
    await waitUntil(() => events.length >= 11, 'the next');
    expect(events.map(({ payload }) => payload)).toEqual(range(0, 10));
    expect(lost).toEqual([]);
    expect(connection.count('subscription_update')).toBe(0);
  });

  it('across a ring that was dropped, and out of one that is too short, is declared', async () => {
    const server = await PublishedServer.start({ ...JWT, ring: 4 });
    const { client, events, lost } = open(server.url, { ...FAST, token: 'good', topics: ['a', 'b'] });
    await waitUntil(() => client.subscribedTopics.size === 2, 'subscription');
    for (const topic of ['a', 'b']) server.publish(topic, 'tick', 0);
    await waitUntil(() => events.length === 2, 'the first');
    await cut(client, () => server.connections[0]?.socket.close());
    for (const n of range(1, 20)) server.publish('a', 'tick', n);
    server.forget('b');
    for (const n of range(1, 3)) server.publish('b', 'tick', n);
    await waitUntil(() => lost.length === 2, 'both');
    expect(lost.find(({ topic }) => topic === 'a')).toMatchObject({ from: { offset: 0 }, to: { offset: 20 } });
    expect(lost.find(({ topic }) => topic === 'b')).toMatchObject({ from: { offset: 0 }, to: { offset: 2 } });
    expect(new Set(lost.flatMap(({ from, to }) => [from.epoch, to.epoch])).size).toBe(3);
    for (const topic of ['a', 'b']) server.publish(topic, 'tick', 'next');
    await waitUntil(() => events.length === 4, 'the next');
  });

  it('by an application that never answers is given up, declared, and not asked for without end', async () => {
    const server = await PublishedServer.start({ ...JWT, reply: 'never' });
    const { client, events, lost } = open(server.url, {
      token: 'good',
      topics: ['a'],
      clock: fastClock(50),
      connectTimeout: 1e6,
      heartbeat: 1e6,
      idleTimeout: 1e7,
    });
    const connection = await server.connection(0);
    await waitUntil(() => connection.topics.has('a'), 'subscription');
    server.publish('a', 'tick', 0);
    await waitUntil(() => events.length === 1, 'the first');
    server.publish('a', 'tick', 1, false);
    server.publish('a', 'tick', 2);
    await waitUntil(() => events.length === 2, 'what was kept');
    expect(lost).toEqual([
      { topic: 'a', from: expect.objectContaining({ offset: 0 }), to: expect.objectContaining({ offset: 1 }) },
    ]);
    expect(client.getStats().recovery.requests).toBeLessThanOrEqual(5);
  });
});
