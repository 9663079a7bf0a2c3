/** The provider and its hooks, against a real engine: who connects, when, how often, and what is drawn. */

import { createElement, useEffect, version } from 'react';
import { version as domVersion } from 'react-dom';
import { renderToString } from 'react-dom/server';
import { describe, expect, it } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { useClient, useConnection, usePresence, useTopic, useTopicEvents } from '../../src/react/index.js';
import { Frames, provide, render, serve, show } from '../support/react.js';

const connects = (events: readonly (readonly [string, unknown, unknown])[]): number =>
  events.filter(([type]) => type === 'connect').length;

it('is drawn by the React that is asked for', () => {
  const major = process.env['WSE_TEST_REACT'] ?? '19';
  expect([version, domVersion].map((text) => text.split('.')[0])).toEqual([major, major]);
});

describe('a provider', () => {
  it('has one socket in StrictMode, and shows state and topic', async () => {
    const server = await serve();
    const connection = show(() => useConnection((info) => [info.state, info.isConnected, info.topics.join()]));
    const prices = show(() => useTopic<{ n: number }>('prices'));
    const page = render(provide({ url: server.url }, connection.component, prices.component));
    await waitUntil(
      () => connection.last()?.[2] === 'prices',
      () => JSON.stringify(connection.last()),
    );
    expect(connection.results[0]).toEqual(['pending', false, '']);
    expect(connection.last()).toEqual(['connected', true, 'prices']);
    server.server.publish('prices', 'tick', { n: 1 });
    await waitUntil(
      () => page.text().includes('{"n":1}'),
      () => page.text(),
    );
    expect(prices.results[0]).toBeUndefined();
    expect(connects(server.events)).toBe(1);
    expect(server.gauge('connections')).toBe(1);
  });

  it('keeps its socket over an unmount and a mount, and closes it when nobody comes back', async () => {
    const server = await serve();
    const connection = show(() => useConnection(({ state }) => state));
    const tree = (): ReturnType<typeof provide> => provide({ url: server.url, linger: 1_500 }, connection.component);
    const first = render(tree());
    await waitUntil(() => connection.last() === 'connected', 'connection');
    first.unmount();
    const second = render(tree());
    await waitUntil(
      () => second.text().includes('connected'),
      () => second.text(),
    );
    await new Promise((resolve) => setTimeout(resolve, 1_800));
    expect(server.gauge('connections')).toBe(1);
    expect(connects(server.events)).toBe(1);
    second.unmount();
    await server.take('disconnect');
  });

  it('is another one with another token', async () => {
    const server = await serve();
    const connection = show(() => useConnection(({ state }) => state));
    const topic = show(() => useTopic<string>('a'));
    const tree = (token: string): ReturnType<typeof provide> =>
      provide({ url: server.url, token, linger: 60_000 }, connection.component, topic.component);
    const page = render(tree('one'));
    await waitUntil(() => connection.last() === 'connected', 'connection');
    const [, conn] = await server.take('connect');
    await waitUntil(() => server.server.publish('a', 'tick', 'secret') && page.text().includes('secret'), 'a value');
    page.render(tree('two'));
    const [, other] = await server.take('connect');
    const [, gone] = await server.take('disconnect');
    expect([gone === conn, other === conn]).toEqual([true, false]);
    await waitUntil(() => connection.last() === 'connected', 'second connection');
    expect(page.text()).not.toContain('secret');
    page.render(provide({ url: server.url, token: 'two', linger: 0 }));
    await waitUntil(() => page.text() === '', 'empty page');
    page.unmount();
    await server.take('disconnect');
  });

  it('asks for topics as long as somebody looks, once for all that come together', async () => {
    const server = await serve();
    const all = ['a', 'b', 'c'].map((topic) => show(() => useTopic(topic, (_, { count }) => count)));
    const client = show(() => useClient());
    const props = { url: server.url };
    const page = render(provide(props, client.component, ...all.map(({ component }) => component)));
    await waitUntil(() => client.last()?.().subscribedTopics.size === 3, 'three topics');
    const sent = client.last()().getStats().messagesSent;
    page.render(provide(props, client.component, all[0]?.component as never));
    await waitUntil(() => client.last()().subscribedTopics.size === 1, 'one topic');
    expect(client.last()().wantedTopics).toEqual(['a']);
    const pings = client.last()().getStats().messagesSent - sent;
    expect(pings).toBeGreaterThan(0);
    server.server.publish('b', 'tick', 1);
    server.server.publish('a', 'tick', 1);
    await waitUntil(() => all[0]?.last() === 1, 'a message');
    expect(all[1]?.last()).toBe(0);
  });

  it('draws once a frame, whatever comes, and reduces everything', async () => {
    const server = await serve();
    const frames = new Frames();
    const sum = show(() => useTopic<number>('n'));
    const heard: unknown[] = [];
    const events = show(() => useTopicEvents<number>('n', ({ payload }) => heard.push(payload)));
    const client = show(() => useClient());
    const reduce = { n: (value: number | undefined, { payload }: { payload: unknown }) => (value ?? 0) + (payload as number) };
    render(
      provide({ url: server.url, schedule: frames.schedule, reduce }, sum.component, events.component, client.component),
      false,
    );
    await waitUntil(() => client.last()?.().subscribedTopics.has('n'), 'subscription');
    frames.draw();
    const before = sum.results.length;
    for (let n = 1; n <= 1_000; n += 1) server.server.publish('n', 'tick', n);
    await waitUntil(
      () => heard.length === 1_000,
      () => `1000 events; ${heard.length}`,
    );
    expect(sum.results.length).toBe(before);
    frames.draw();
    await waitUntil(
      () => sum.last() === 500_500,
      () => `sum; ${sum.last()}`,
    );
    expect(sum.results.length).toBe(before + 1);
    expect(heard).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 1));
  });

  it('knows topics that servers without recovery name, or do not', async () => {
    const server = await serve({ recovery: false });
    const named = show(() => useTopic<number>('rooms.*'));
    const typed = show(() => useTopic<number>('tick'));
    const client = show(() => useClient());
    render(provide({ url: server.url }, named.component, typed.component, client.component));
    await waitUntil(() => client.last()?.().subscribedTopics.size === 2, 'two topics');
    server.server.publish('rooms.1', 'said', 1, { includeTopic: true });
    server.server.publish('tick', 'tick', 2);
    await waitUntil(() => named.last() === 1 && typed.last() === 2, 'both');
  });

  it('says so where there is none', () => {
    const hook = show(() => useConnection());
    expect(() => renderToString(createElement(hook.component))).toThrow('no <WSEProvider>');
  });
});

describe('presence', () => {
  it('shows who comes and goes, and is there with data', async () => {
    const server = await serve({
      presence: true,
      onUpgrade: ({ query }) => ({ user: query.get('user') as string }),
    });
    const members = show(() => Object.fromEntries(usePresence('room', { data: { name: 'Ada' } })));
    render(provide({ url: `${server.url}?user=ada` }, members.component));
    await waitUntil(() => 'ada' in (members.last() ?? {}), 'ada');
    const load = async (): Promise<Record<string, unknown>> =>
      Object.fromEntries(Object.entries(server.server.presence('room')).map(([user, { data }]) => [user, data]));
    const others = show(() => Object.fromEntries(usePresence('room', { data: { name: 'Bob' }, load })));
    const second = render(provide({ url: `${server.url}?user=bob` }, others.component));
    const both = { ada: { name: 'Ada' }, bob: { name: 'Bob' } };
    await waitUntil(() => Object.keys(members.last() ?? {}).length === 2, 'bob at ada');
    expect(members.last()).toEqual(both);
    await waitUntil(() => Object.keys(others.last() ?? {}).length === 2, 'ada at bob');
    expect(others.last()).toEqual(both);
    // As programs without types have it.
    const neither = show(() => Object.fromEntries(usePresence('room', { load: false as never, data: '' as never })));
    const third = render(provide({ url: `${server.url}?user=bob` }, neither.component));
    await waitUntil(() => Object.keys(neither.last() ?? {}).length === 2, 'both at a third');
    // Effects come behind the drawing; one that throws takes the page down.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(third.text()).toContain('Ada');
    third.unmount();
    second.unmount();
    await waitUntil(() => Object.keys(members.last() ?? {}).length === 1, 'ada alone');
    expect(members.last()).toEqual({ ada: { name: 'Ada' } });
  });
});

it('a child may send in its first effect', async () => {
  const server = await serve();
  const sender = show(() => {
    const client = useClient();
    useEffect(() => void client().send('hello', 1), [client]);
  });
  render(provide({ url: server.url }, sender.component), false);
  const [, , message] = await server.take('msg');
  expect(message).toMatchObject({ t: 'hello', p: 1 });
  expect(connects(server.events)).toBe(1);
});
