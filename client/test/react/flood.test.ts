/** Two hundred components and more messages than anybody can draw: none is lost, and drawing keeps its own pace. */

import { createElement, Profiler } from 'react';
import { expect, it } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { useClient, useTopic } from '../../src/react/index.js';
import { Frames, provide, render, serve, show } from '../support/react.js';

const COMPONENTS = 200;
const MESSAGES = 10_000;

it('counts every message in every component, with one commit a frame', async () => {
  const server = await serve({ recovery: { maxMessages: 2 * MESSAGES } });
  const frames = new Frames();
  let commits = 0;
  const counts = Array.from({ length: COMPONENTS }, (_, n) =>
    show(() => useTopic<{ n: number }, readonly [number, number]>(`t${n % 20}`, pick)),
  );
  function pick(value: { n: number } | undefined, { count }: { count: number }): readonly [number, number] {
    return [count, value?.n ?? 0];
  }
  const client = show(() => useClient());
  const all = [client, ...counts].map(({ component }) => component);
  const tree = provide({ url: server.url, schedule: frames.schedule }, ...all);
  render(createElement(Profiler, { id: 'all', onRender: () => (commits += 1) }, tree), false);
  await waitUntil(() => client.last()?.().subscribedTopics.size === 20, '20 topics');
  frames.draw();
  await new Promise((resolve) => setImmediate(resolve));
  const before = commits;
  const drawnBefore = frames.drawn;
  // A screen of 60 Hz, as far as this process gets to it.
  const screen = setInterval(() => frames.draw(), 1_000 / 60);
  const start = performance.now();
  for (let n = 0; n < MESSAGES; n += 1) {
    server.server.publish(`t${n % 20}`, 'tick', { n });
    if (n % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  const each = MESSAGES / 20;
  await waitUntil(
    () => counts.every((one) => one.last()[0] === each),
    () => `all messages; ${counts.map((one) => one.last()[0])}`,
  );
  clearInterval(screen);
  const seconds = (performance.now() - start) / 1_000;
  const frameCount = frames.drawn - drawnBefore;
  console.log(
    `${MESSAGES} messages in ${seconds.toFixed(2)} s, ${COMPONENTS} components: ${frameCount} frames, ${commits - before} commits`,
  );
  expect(commits - before).toBeLessThanOrEqual(frameCount);
  expect(commits - before).toBeGreaterThan(0);
  expect(counts.map((one) => one.last()[1])).toEqual(counts.map((_, n) => MESSAGES - 20 + (n % 20)));
  expect(client.last()().getStats().recovery).toMatchObject({ losses: 0 });
});
