/**
 * Topics that come and go while connections do: in the end a client hears what it wants, each message once, and nothing else. On the way
 * there, what is given up and wanted again within a round trip may hear twice what was on its way: who unsubscribes forgets its position.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { open } from '../support/client.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { seeded, seeds } from '../support/random.js';

const TOPICS = Array.from({ length: 8 }, (_, i) => `t.${i}`);

async function live(seed: number, recovery: boolean): Promise<string[]> {
  const random = seeded(seed);
  const { server, port } = await startServer({ subscriptions: 'acl', recovery, keep: false });
  const faults = { down: { cut: 0.02, delay: 0.1, maxDelay: 20 }, up: { cut: 0.01, delay: 0.1, maxDelay: 20 } };
  const proxy = await FaultProxy.start({ target: `ws://127.0.0.1:${port}`, seed, faults });
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const { client, events, errors } = open(proxy.url, { reconnect: { baseDelay: 10, maxDelay: 50 }, random });
  const wanted = new Set<string>();
  const settled: Promise<unknown>[] = [];
  let n = 0;
  const publish = (topic: string): void => void server.publish(topic, 'tick', { n: ++n });
  for (let step = 0; step < 150; step += 1) {
    const coming = random() < 0.5;
    const some = TOPICS.filter((topic) => random() < 0.3 && wanted.has(topic) !== coming);
    // A wish that is taken back before it was answered is answered by nobody.
    const patience = { timeout: 2_000 };
    if (coming) {
      for (const topic of some) wanted.add(topic);
      settled.push(client.subscribe(some, patience));
    } else {
      for (const topic of some) wanted.delete(topic);
      settled.push(client.unsubscribe(some, patience));
    }
    for (const topic of TOPICS) if (random() < 0.3) publish(topic);
    if (random() < 0.03) client.forceReconnect();
    if (random() < 0.3) await pause(random() * 10);
  }
  proxy.faults = {};
  const same = (): boolean => [...client.subscribedTopics].sort().join() === [...wanted].sort().join();
  await waitUntil(
    () => client.isConnected && same(),
    () => `the end of seed ${seed}: ${[...wanted]}; ${[...client.subscribedTopics]}; ${proxy}`,
  );
  const problems: string[] = [];
  if ([...client.wantedTopics].sort().join() !== [...wanted].sort().join()) problems.push(`wants ${client.wantedTopics}`);
  // What is still on its way belongs to the time before.
  await client.subscribe(['last']);
  server.publish('last', 'mark', {});
  await waitUntil(() => events.some(({ type }) => type === 'mark'), 'the mark');
  const from = n;
  for (const topic of [...TOPICS, ...TOPICS]) publish(topic);
  server.publish('last', 'end', {});
  await waitUntil(() => events.some(({ type }) => type === 'end'), 'the end');
  const ticks = events
    .filter(({ type }) => type === 'tick')
    .map((event) => [(event.payload as { n: number }).n, event.topic] as const);
  const late = ticks.filter(([number]) => number > from).map(([number]) => number);
  const after = late.length;
  // Without recovery nothing is stamped, and no topic is said.
  if (after !== wanted.size * 2) problems.push(`heard ${after} of ${wanted.size * 2}`);
  if (recovery && ticks.some(([number, topic]) => number > from && !wanted.has(topic as string)))
    problems.push('heard what it does not want');
  if (new Set(late).size !== after) problems.push('heard something twice');
  // Every promise has come to an end, of one kind or the other.
  const left = await Promise.race([Promise.allSettled(settled).then(() => 0), pause(20_000, settled.length, { ref: false })]);
  if (left > 0) problems.push('promises that wait for ever');
  problems.push(...errors.map(String));
  return problems.length > 0 ? [String(proxy), ...problems] : [];
}

it('topics that come and go end where they were meant to', async () => {
  const lives = seeds(4).map((seed, i) => live(seed, i % 2 === 0));
  expect((await Promise.all(lives)).flat()).toEqual([]);
});
