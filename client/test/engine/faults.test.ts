/** A network that loses, doubles, reorders, delays and cuts: each message comes once and in order, or its loss is declared. */

import { setTimeout as pause } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { open } from '../support/client.js';
import { FaultProxy } from '../support/fault-proxy.js';

const MESSAGES = 400;
const seeds = [1, 2, 3, Date.now() % 100_000];

it.each(seeds)('seed %i', async (seed) => {
  const server = await startServer({ subscriptions: 'acl', recovery: { bufferSize: 128, maxMessages: 128 }, keep: false });
  const rates = { drop: 0.02, duplicate: 0.02, reorder: 0.05, delay: 0.05, maxDelay: 20, cut: 0.01 };
  const proxy = await FaultProxy.start({
    target: `ws://127.0.0.1:${server.port}`,
    seed,
    faults: { down: rates, up: { cut: 0.01 } },
  });
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const { client, events, lost } = open(proxy.url, {
    topics: ['a'],
    reconnect: { baseDelay: 5, maxDelay: 50 },
    readyTimeout: 200,
    overflow: 'drop-oldest',
  });
  await waitUntil(() => client.subscribedTopics.has('a') || Object.keys(client.recoveryState).length > 0, 'subscription');
  for (let n = 1; n <= MESSAGES; n += 1) {
    server.server.publish('a', 'tick', n);
    if (n % 5 === 0) await pause(2);
  }
  proxy.faults = {};
  // What was lost last is noticed by what comes next; a lost reply by the next connection.
  proxy.cut();
  await waitUntil(
    async () => {
      server.server.publish('a', 'tick', 0);
      await pause(10);
      return client.recoveryState['a']?.offset === server.server.position('a')?.offset;
    },
    () => `the end: ${proxy}, ${JSON.stringify(client.getStats().recovery)}`,
  );
  const ticks = events.filter(({ topic, type }) => topic === 'a' && type === 'tick');
  const offsets = ticks.map(({ offset }) => offset as number);
  const context = `${proxy}`;
  expect(offsets, context).toEqual([...new Set(offsets)].sort((a, b) => a - b));
  const declared = new Set(
    lost.flatMap(({ from, to }) => Array.from({ length: to.offset - from.offset }, (_, i) => from.offset + 1 + i)),
  );
  const first = offsets[0] as number;
  const last = offsets.at(-1) as number;
  const missing = Array.from({ length: last - first + 1 }, (_, i) => first + i).filter((offset) => !offsets.includes(offset));
  expect(
    missing.filter((offset) => !declared.has(offset)),
    context,
  ).toEqual([]);
  expect(
    offsets.filter((offset) => declared.has(offset)),
    context,
  ).toEqual([]);
  expect(
    ticks.filter(({ payload }) => payload !== 0).every(({ payload, offset }) => payload === offset),
    context,
  ).toBe(true);
  expect(proxy.tally.cut + proxy.tally.drop, context).toBeGreaterThan(3);
});
