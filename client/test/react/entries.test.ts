/** The entries beside React's own: stores, query cache, and the engine for tests, all against a real one. */

import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createElement, type FunctionComponent } from 'react';
import { expect, it, onTestFinished } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { connect, networkQuality } from '../../src/index.js';
import { ADAPTIVE_DEFAULTS, adaptQueryClient, useTopicQuery } from '../../src/query/index.js';
import { useTopic, useWSE } from '../../src/react/index.js';
import { bindStore, type QueuedMessage, useMessageQueueStore, useWSEStore } from '../../src/store/index.js';
import { startTestServer, type TestServer } from '../../src/testing/index.js';
import { open } from '../support/client.js';
import { seeded } from '../support/random.js';
import { Frames, provide, render, show } from '../support/react.js';
import { Peer } from '../support/wse.js';

async function serve(): Promise<TestServer> {
  const server = await startTestServer();
  onTestFinished(() => server.stop());
  return server;
}

it('a test has an engine, and what it hears', async () => {
  const server = await serve();
  const { client } = open(server.url, { topics: ['a'], reconnect: { baseDelay: 1 } });
  const [, conn] = await server.next('connect');
  await client.send('order', { qty: 1 });
  expect(await server.message('order')).toEqual({ qty: 1 });
  server.drop();
  expect((await server.next('disconnect'))[1]).toBe(conn);
  expect((await server.next('connect'))[1]).not.toBe(conn);
  await expect(server.message('never', 10)).rejects.toThrow('no message never within 10 ms');
});

it('the store shows a client, and components hear of it', async () => {
  const server = await serve();
  const { client } = open(server.url, { topics: ['a'], heartbeat: 50, quality: networkQuality() });
  const unbind = bindStore(client, { interval: 20, queue: true });
  const hook = show(() => useWSEStore(({ connectionState, activeTopics }) => `${connectionState} ${activeTopics}`));
  render(createElement(hook.component));
  await waitUntil(
    () => hook.last() === 'connected a',
    () => hook.last(),
  );
  await waitUntil(() => useWSEStore.getState().metrics.p95Latency !== null, 'latency');
  const state = useWSEStore.getState();
  expect(state.isConnected()).toBe(true);
  expect(state.getConnectionQuality()).not.toBe('unknown');
  expect(state.activeEndpoint).toBe(server.url);
  expect(state.subscriptions).toMatchObject({ topics: ['a'], pendingSubscriptions: [], serverRecoveryEnabled: true });
  expect(state.metrics.avgLatency).toBeGreaterThan(0);

  for (const n of [1, 2, 3]) server.server.publish('a', 'tick', n);
  await waitUntil(() => useMessageQueueStore.getState().size === 3, 'three messages');
  const queue = useMessageQueueStore.getState();
  expect(queue.dequeue(2).map(({ payload }) => payload)).toEqual([1, 2]);
  await waitUntil(() => (useWSEStore.getState().metrics.messagesReceived ?? 0) > 3, 'counters');
  await waitUntil(() => useWSEStore.getState().subscriptions.recoveryState['a']?.offset === 3, 'position');

  await client.subscribe(['']);
  expect(useWSEStore.getState().subscriptions.failedSubscriptions).toEqual(['']);
  unbind();
  await client.close();
  // Nobody tells it any more.
  expect(useWSEStore.getState().connectionState).toBe('connected');
  queue.clearQueue();
  useWSEStore.getState().reset();
  expect(useWSEStore.getState()).toMatchObject({ connectionState: 'pending', activeTopics: [] });
});

it('the store shows no topic as subscribed that is not, and no refusal that is over', async () => {
  const peer = await Peer.start();
  const { client } = open(peer.url, { topics: ['a', 'b'] });
  onTestFinished(bindStore(client));
  const connection = await peer.connection(0);
  connection.ready();
  const answer = (action: string, topics: readonly string[], failed: readonly string[] = []): void =>
    connection.send({ c: 'WSE', t: 'subscription_update', p: { action, success_topics: topics, failed_topics: failed } });
  const { subscriptions } = useWSEStore.getState();
  const shown = () => useWSEStore.getState().subscriptions;
  expect(subscriptions).toMatchObject({ pendingSubscriptions: ['a', 'b'], failedSubscriptions: [] });
  answer('subscribe', ['a'], ['b']);
  await waitUntil(() => shown().failedSubscriptions.length === 1, 'a refusal');
  expect(useWSEStore.getState().activeTopics).toEqual(['a']);
  expect(shown().pendingSubscriptions).toEqual([]);
  answer('subscribe', ['b']);
  await waitUntil(() => useWSEStore.getState().activeTopics.length === 2, 'b');
  expect(shown().failedSubscriptions).toEqual([]);

  const lists = new Set<string>();
  onTestFinished(useWSEStore.subscribe(({ activeTopics }) => lists.add(activeTopics.join())));
  void client.unsubscribe(['a']);
  answer('unsubscribe', ['a']);
  await waitUntil(() => useWSEStore.getState().activeTopics.length === 1, 'b alone');
  expect([...lists].filter((list) => list !== 'a,b')).toEqual(['b']);
  void client.unsubscribe(['b']);
  // Refused: `b` is subscribed still, and wanted by nobody.
  answer('unsubscribe', [], ['b']);
  answer('unsubscribe', ['c']);
  await waitUntil(() => client.getStats().messagesReceived >= 6, 'both answers');
  expect(shown().failedSubscriptions).toEqual([]);
});

it('the queue keeps order and bounds', () => {
  const queue = useMessageQueueStore.getState();
  const message = (id: string, priority: number, timestamp: number) => ({ id, type: 't', payload: id, priority, timestamp });
  queue.clearQueue();
  queue.setCapacity(4);
  queue.enqueue(message('a', 5, 1), message('b', 10, 2), message('c', 5, 3), message('d', 1, 4));
  expect(queue.getByPriority(5).map(({ id }) => id)).toEqual(['a', 'c']);
  expect(useMessageQueueStore.getState().hasBackpressure()).toBe(true);
  queue.enqueue(message('e', 8, 5));
  expect(useMessageQueueStore.getState().messages.map(({ id }) => id)).toEqual(['b', 'e', 'a', 'c']);
  expect(useMessageQueueStore.getState().stats.dropped).toBe(1);
  queue.enqueue(message('f', 8, 6));
  expect(useMessageQueueStore.getState().messages.map(({ id }) => id)).toEqual(['b', 'e', 'f', 'c']);
  queue.removeOldest();
  queue.removeMessage('f');
  expect(queue.dequeue(5).map(({ id }) => id)).toEqual(['e', 'c']);
  expect(queue.getOldestMessageAge()).toBe(0);
  queue.setCapacity(10_000);
});

it('the queue finds a place without looking at every message', () => {
  const queue = useMessageQueueStore.getState();
  const random = seeded(11);
  let reads = 0;
  const message = (n: number): QueuedMessage => {
    const priority = [1, 3, 5, 8, 10][Math.floor(random() * 5)] as number;
    return {
      id: String(n),
      type: 't',
      payload: priority,
      get priority() {
        reads += 1;
        return priority;
      },
      timestamp: n,
    };
  };
  queue.clearQueue();
  queue.setCapacity(1_000);
  let model: QueuedMessage[] = [];
  for (let n = 0; n < 1_500; n += 1) {
    const next = message(n);
    model = [...model, next].sort((a, b) => (b.payload as number) - (a.payload as number));
    const lowest = model.at(-1)?.payload;
    if (model.length > 1_000)
      model.splice(
        model.findIndex(({ payload }) => payload === lowest),
        1,
      );
    reads = 0;
    queue.enqueue(next);
    expect(reads).toBeLessThan(50);
  }
  const ids = (messages: readonly QueuedMessage[]): string[] => messages.map(({ id }) => id);
  expect(ids(useMessageQueueStore.getState().messages)).toEqual(ids(model));
  expect(useMessageQueueStore.getState().getOldestMessageAge()).toBeGreaterThan(0);
  queue.setCapacity(10);
  expect(ids(useMessageQueueStore.getState().messages)).toEqual(ids(model.filter(({ payload }) => payload === 10).slice(-10)));
  queue.setCapacity(10_000);
  queue.clearQueue();
});

it('errors are kept, the last hundred', async () => {
  const peer = await Peer.start();
  const client = connect(peer.url);
  onTestFinished(() => client.close());
  const off = bindStore(client);
  const connection = await peer.connection(0);
  connection.ready();
  for (let n = 0; n < 120; n += 1) connection.send({ c: 'WSE', t: 'error', p: { code: 'SERVER_ERROR', message: `m${n}` } });
  await waitUntil(() => useWSEStore.getState().lastError?.message === 'm119', 'the last error');
  expect(useWSEStore.getState().errorHistory).toHaveLength(100);
  expect(useWSEStore.getState().lastError).toMatchObject({ code: 'SERVER_ERROR' });
  useWSEStore.getState().clearErrors();
  expect(useWSEStore.getState()).toMatchObject({ lastError: null, errorHistory: [] });
  off();
});

it('a topic is a query, written once a frame', async () => {
  const server = await serve();
  const queries = new QueryClient();
  const frames = new Frames();
  const query = show(() => useTopicQuery<number>('n').data);
  const topic = show(() => useTopic('n', (_, { count }) => count));
  const tree = provide({ url: server.url, schedule: frames.schedule }, query.component, topic.component);
  const Queries = QueryClientProvider as FunctionComponent<{ client: QueryClient }>;
  render(createElement(Queries, { client: queries }, tree));
  await server.next('subscribe');
  let writes = 0;
  queries.getQueryCache().subscribe(({ type }) => {
    if (type === 'updated') writes += 1;
  });
  for (let n = 1; n <= 100; n += 1) server.server.publish('n', 'tick', n);
  await waitUntil(() => {
    frames.draw();
    return query.last() === 100;
  }, 'the last message');
  expect(queries.getQueryData(['wse', 'n'])).toBe(100);
  expect(writes).toBeLessThanOrEqual(frames.drawn);
  queries.clear();
});

it('defaults follow the connection, and go back', async () => {
  const server = await serve();
  const queries = new QueryClient({ defaultOptions: { queries: { gcTime: 7 } } });
  const { client } = open(server.url, { heartbeat: 20, quality: networkQuality() });
  const off = adaptQueryClient(client, queries);
  expect(queries.getDefaultOptions().queries).toEqual({ gcTime: 7, ...ADAPTIVE_DEFAULTS.offline });
  await waitUntil(() => client.connectionQuality !== 'unknown', 'a grade');
  expect(queries.getDefaultOptions().queries).toEqual({ gcTime: 7, ...ADAPTIVE_DEFAULTS[client.connectionQuality] });
  await client.close();
  expect(queries.getDefaultOptions().queries).toMatchObject(ADAPTIVE_DEFAULTS.offline);
  off();
  expect(queries.getDefaultOptions()).toEqual({ queries: { gcTime: 7 } });
});

it('useWSE lets the defaults follow its connection', async () => {
  const server = await serve();
  const queryClient = new QueryClient();
  const hook = show(() => useWSE({ url: server.url, queryClient, heartbeat: 20, linger: 0 }));
  const page = render(createElement(hook.component));
  const defaults = () => queryClient.getDefaultOptions().queries ?? {};
  const grades = ['excellent', 'good', 'fair', 'poor'] as const;
  await waitUntil(() => grades.some((grade) => defaults().staleTime === ADAPTIVE_DEFAULTS[grade].staleTime), 'defaults');
  page.unmount();
  await server.next('disconnect');
  expect(defaults()).toEqual({});
});
