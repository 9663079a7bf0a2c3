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
