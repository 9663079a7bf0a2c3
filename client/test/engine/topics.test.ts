/** Topics in numbers, and what is on its way as they are given back. */

import { afterEach, describe, expect, it } from 'vitest';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { connect, type WSEClient } from '../../src/index.js';
import { cut, open } from '../support/client.js';
import { attempted, Socket } from '../support/socket.js';
import { TestClock } from '../support/time.js';

const FAST = { reconnect: { baseDelay: 10, maxDelay: 50 } };
const names = (count: number, name: string): string[] => Array.from({ length: count }, (_, n) => `${name}.${n}`);

describe('more topics than a request may name', () => {
  it.each([
    ['a pattern brought', ['user.*'], 700],
    ['were named', names(1_200, 'user'), 1_200],
  ])('are recovered: what %s', async (_, topics, count) => {
    // A request of all would be refused as too large.
    const server = await startServer({
      subscriptions: 'acl',
      recovery: true,
      maxMessageSize: 40_000,
      maxSubscriptionsPerConnection: 2_000,
      keep: ([kind]) => kind === 'connect',
    });
    const { client, events, lost } = open(`ws://127.0.0.1:${server.port}`, FAST);
    expect(await client.subscribe(topics)).toMatchObject({ success: true, failed: [] });
    const [, conn] = await server.take('connect');
    const say = (n: number): void => {
      for (const topic of names(count, 'user')) server.server.publish(topic, 'tick', n);
    };
    const heard = (n: number): Promise<unknown> => waitUntil(() => events.length === n * count, `${n} of each`, 30_000);
    say(1);
    await heard(1);
    await cut(client, () => server.server.disconnect(conn, { code: 4300 }));
    say(2);
    await heard(2);
    say(3);
    await heard(3);
    expect(lost).toEqual([]);
    expect(client.getStats().reconnectCount).toBe(1);
    for (const topic of names(count, 'user')) {
      expect(events.filter((event) => event.topic === topic).map(({ payload }) => payload)).toEqual([1, 2, 3]);
    }
  });
});

it('requests are no larger than the server takes, presence and all', async () => {
  const server = await startServer({ subscriptions: 'acl', recovery: true, maxMessageSize: 6_000 });
  const { client, events } = open(`ws://127.0.0.1:${server.port}`, FAST);
  const topics = names(150, 'räume');
  await waitUntil(() => client.isFullyReady, 'its limits');
  await client.subscribe(topics, { presence: { name: 'x'.repeat(500) } });
  const [, conn] = await server.take('connect');
  for (const topic of topics) server.server.publish(topic, 'tick', 1);
  const ticks = (): number => events.filter(({ type }) => type === 'tick').length;
  await waitUntil(() => ticks() === 150, 'one of each');
  await cut(client, () => server.server.disconnect(conn, { code: 4300 }));
  for (const topic of topics) server.server.publish(topic, 'tick', 2);
  await waitUntil(() => ticks() === 300, 'two of each');
  expect(client.getStats().reconnectCount).toBe(1);
});

it.each([10, 700])('a name beside a pattern stands on its own, over a reconnect with %i topics', async (count) => {
  const server = await startServer({ subscriptions: 'acl', recovery: true, keep: ([kind]) => kind === 'connect' });
  const { client, events } = open(`ws://127.0.0.1:${server.port}`, FAST);
  await client.subscribe(['user.*']);
  const [, conn] = await server.take('connect');
  for (const topic of names(count, 'user')) server.server.publish(topic, 'tick', 1);
  await waitUntil(() => events.length === count, 'one of each');
  await client.subscribe(['user.5']);
  await cut(client, () => server.server.disconnect(conn, { code: 4300 }));
  await waitUntil(() => client.subscribedTopics.size === 2, 'both');
  await client.unsubscribe(['user.*']);
  server.server.publish('user.5', 'tick', 2);
  await waitUntil(() => events.length > count, 'its message');
  expect(events.at(-1)).toMatchObject({ topic: 'user.5', payload: 2 });
});

describe('of a server that is played', () => {
  let client: WSEClient;
  let clock: TestClock;
  const open = async (options: object = {}): Promise<Socket> => {
    Socket.all = [];
    clock = new TestClock();
    client = connect('ws://x', { webSocket: Socket as never, page: false, clock, ...options });
    await attempted();
    const [socket] = Socket.all as [Socket];
    return socket;
  };
  const stamped = (topic: string, offset: number): object => ({ t: 'x', p: offset, tp: topic, e: '0000000a', o: offset });
  const said = (action: string, topic: string): object => ({
    t: 'subscription_update',
    p: { action, success: true, success_topics: [topic] },
  });
  afterEach(() => client.close());

  it('what is on its way as a topic is given back leaves no place to go on from', async () => {
    const socket = await open({ topics: ['a'] });
    socket.say({ c: 'WSE', t: 'server_hello', p: { features: { recovery: true } } });
    socket.say(said('subscribe', 'a'));
    socket.say(stamped('a', 1));
    const given = client.unsubscribe(['a']);
    socket.say(stamped('a', 2));
    socket.say(said('unsubscribe', 'a'));
    expect(await given).toMatchObject({ success: true });
    expect(client.recoveryState).toEqual({});
    void client.subscribe(['a']);
    expect(socket.sent.at(-1)?.p).toEqual({ action: 'subscribe', topics: ['a'] });
  });

  it('a stream with holes waits for nothing where nobody wants it recovered', async () => {
    const socket = await open();
    void client.subscribe(['jobs'], { recover: false });
    const jobs: unknown[] = [];
    client.on('x', ({ payload }) => jobs.push(payload));
    for (const n of [1, 4, 9]) socket.say(stamped('jobs', n));
    expect(jobs).toEqual([1, 4, 9]);
    expect(socket.sent.filter(({ t }) => t === 'subscription_update')).toHaveLength(1);
  });

  it('what was followed and is not any more comes once', async () => {
    const socket = await open({ topics: ['a', 'b.*'] });
    socket.say({ c: 'WSE', t: 'server_hello', p: { features: { recovery: true } } });
    const heard: unknown[] = [];
    client.on('x', ({ payload }) => heard.push(payload));
    for (const topic of ['a', 'b.1']) socket.say(stamped(topic, 1));
    void client.subscribe(['a', 'b.1'], { recover: false });
    for (const n of [2, 3]) for (const topic of ['a', 'b.1']) socket.say(stamped(topic, n));
    expect(heard).toEqual([1, 1, 2, 2, 3, 3]);
    expect(client.recoveryState).toEqual({});
    void client.subscribe(['a']);
    expect(socket.sent.at(-1)?.p).toEqual({ action: 'subscribe', topics: ['a'] });
  });

  it('each place is asked from once, however many patterns cover it', async () => {
    const topics = ['a.*', 'a.1*', '*.1', 'a.1'];
    const positions = Object.fromEntries(names(600, 'a').map((topic) => [topic, { epoch: '0000000a', offset: 1 }]));
    const socket = await open({ topics, positions });
    const asked = socket.sent.filter(({ t }) => t === 'subscription_update').map(({ p }) => p);
    expect(new Set(asked.flatMap((p) => p['topics'] as string[]))).toEqual(new Set(topics));
    const places = asked.flatMap((p) => Object.keys((p['recovery'] ?? {}) as object));
    expect(places).toHaveLength(600);
    expect(new Set(places).size).toBe(600);
  });

  it('what a server says was given back is not looked for where nobody gave it back', async () => {
    const socket = await open({ topics: ['a*'] });
    socket.say(stamped('a'.repeat(200), 1));
    // As a pattern it would take minutes.
    socket.say(said('unsubscribe', '*a*a*a*a*a*b'));
    socket.say(said('unsubscribe', 'a*'));
    expect(Object.keys(client.recoveryState)).toHaveLength(1);
  });

  it('what a server takes is known on its next connection before it says so', async () => {
    const socket = await open({ random: () => 0 });
    socket.say({ c: 'WSE', t: 'server_hello', p: { limits: { max_message_size: 100 } } });
    socket.end(1006);
    const large = expect(client.send('x', 'x'.repeat(100))).rejects.toMatchObject({ code: 'WSE_TOO_LARGE' });
    clock.pass(2_000);
    await attempted();
    expect(client.isConnected).toBe(true);
    await large;
  });
});
