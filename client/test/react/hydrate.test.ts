/** A page that a server rendered: no socket there, the same markup here, and no message lost between the two. */

import { createElement, StrictMode } from 'react';
import { hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, it, onTestFinished } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { type InitialTopic, useConnection, useTopic, useWSE } from '../../src/react/index.js';
import { open } from '../support/client.js';
import { container, withoutPage } from '../support/dom.js';
import { provide, render, serve, show } from '../support/react.js';

it('connects nowhere on a server, and shares nothing between renderings', async () => {
  const server = await serve();
  const hook = show(() => useTopic('a'));
  const state = show(() => useConnection());
  const { component } = show(() => {
    const { sendMessage, isConnected, stats } = useWSE(undefined, ['a'], { url: server.url });
    return [typeof sendMessage, isConnected, stats];
  });
  const page = (value: string): string =>
    withoutPage(() =>
      renderToString(provide({ url: server.url, initial: { a: { value } } }, hook.component, state.component, component)),
    );
  expect(page('mine')).toContain('mine');
  const other = page('other');
  expect(other).toContain('other');
  expect(other).not.toContain('mine');
  expect(other).toContain('[&quot;function&quot;,false,null]');
  expect(state.last()).toMatchObject({ state: 'pending', isConnected: false, topics: [] });
  expect(server.gauge('connections')).toBe(0);
});

it('hydrates without a mismatch, and goes on from the offset that was rendered', async () => {
  const server = await serve();
  const list = (value: readonly number[] | undefined, { payload }: { payload: unknown }): readonly number[] => [
    ...(value ?? []),
    payload as number,
  ];
  // What a server's own copy of the state knows: the value, and where it is in the stream.
  const own = open(server.url, { topics: ['n'] });
  await waitUntil(() => own.client.subscribedTopics.has('n'), 'subscription');
  for (const n of [1, 2, 3]) server.server.publish('n', 'tick', n);
  await waitUntil(() => own.events.length === 3, 'three messages');
  const { epoch, offset } = own.events[2] as { epoch: string; offset: number };
  const initial: Record<string, InitialTopic> = { n: { value: [1, 2, 3], epoch, offset } };
  const hook = show(() => useTopic<number[]>('n'));
  const tree = (): ReturnType<typeof provide> =>
    provide({ url: server.url, initial, reduce: { n: list as never } }, hook.component);
  const html = withoutPage(() => renderToString(createElement(StrictMode, null, tree())));
  expect(html).toContain('[1,2,3]');
  // Published between the rendering and the page's connection.
  for (const n of [4, 5]) server.server.publish('n', 'tick', n);
  const complaints: unknown[] = [];
  const element = container(html);
  const root = hydrateRoot(element, createElement(StrictMode, null, tree()), {
    onRecoverableError: (error) => complaints.push(error),
  });
  onTestFinished(() => root.unmount());
  await waitUntil(
    () => hook.last()?.length === 5,
    () => JSON.stringify(hook.last()),
  );
  server.server.publish('n', 'tick', 6);
  await waitUntil(
    () => hook.last()?.length === 6,
    () => JSON.stringify(hook.last()),
  );
  expect(hook.last()).toEqual([1, 2, 3, 4, 5, 6]);
  expect(complaints).toEqual([]);
});

it('a second island of the same connection begins with what its server has rendered, and so does a next page', async () => {
  const server = await serve();
  const props = { url: server.url, linger: 60_000 };
  const complaints: unknown[] = [];
  const pageOf = (topic: string, value: string) => {
    const hook = show(() => useTopic<string>(topic));
    const tree = (): ReturnType<typeof provide> => provide({ ...props, initial: { [topic]: { value } } }, hook.component);
    return { hook, tree };
  };
  const hydrate = (topic: string) => {
    const { hook, tree } = pageOf(topic, `first ${topic}`);
    const root = hydrateRoot(container(withoutPage(() => renderToString(tree()))), tree(), {
      onRecoverableError: (error) => complaints.push(error),
    });
    onTestFinished(() => root.unmount());
    return { hook, root };
  };
  const one = hydrate('a');
  await waitUntil(() => one.hook.last() === 'first a' && server.gauge('connections') === 1, 'an island');
  const two = hydrate('b');
  await waitUntil(() => two.hook.last() === 'first b', 'another');
  await waitUntil(() => server.server.publish('b', 'tick', 'second b') && two.hook.last() === 'second b', 'a message');
  expect(new Set(one.hook.results)).toEqual(new Set(['first a']));
  expect([two.hook.results[0], complaints]).toEqual(['first b', []]);
  expect(server.gauge('connections')).toBe(1);

  // Of a topic that somebody looks at, the page already knows better.
  const late = pageOf('b', 'first b');
  render(late.tree());
  await waitUntil(() => late.hook.last() !== undefined, 'a late reader');
  expect(new Set(late.hook.results)).toEqual(new Set(['second b']));

  one.root.unmount();
  await server.take('unsubscribe');
  const next = pageOf('a', 'next a');
  render(next.tree());
  await waitUntil(() => next.hook.last() !== undefined, 'the next page');
  expect(new Set(next.hook.results)).toEqual(new Set(['next a']));
});
