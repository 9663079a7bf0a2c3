/**
 * The Python client as it is published, with recovery: over a network that cuts its connections, and behind its server's back when
 * messages for it were dropped. Whoever answers it, it sees every message once and in order.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import type { RustWSEServer, TopicPosition, WSEEvent } from '../../src/index.js';
import { random } from '../support/random.js';
import { startServer, type TestServer, type TestServerOptions, waitUntil } from '../support/server.js';
import { BadNetwork } from './bad-network.js';
import { findPython } from './harness.js';
import { INSTALL_MS, Python, SECRET } from './python.js';

const CUTS = 25;
const TIMEOUT_MS = 90_000;
const KIB = 1024;

/** What an application answers to `subscription_update` (docs/protocol.md §8). */
async function answer([type, conn, message]: WSEEvent, server: RustWSEServer): Promise<void> {
  if (type !== 'msg' || message.t !== 'subscription_update') return;
  const { topics, recovery: positions } = message.p as unknown as { topics: string[]; recovery?: Record<string, TopicPosition> };
  const result = await server.subscribeWithRecovery(conn, topics, { positions: positions ?? null });
  if (result === null) return;
  const { recovered } = result;
  // `recovered: false` makes a client go to the position that stands here: only who asked for a recovery is told so.
  const told = Object.entries(result.topics).map(([topic, { epoch, offset, count, ...own }]) => [
    topic,
    { epoch, offset, count, ...(positions !== undefined && { recovered: own.recovered }) },
  ]);
  const p = { action: 'subscribe', success: true, success_topics: topics, failed_topics: [], recovered };
  server.sendEvent(conn, { t: 'subscription_update', p: { ...p, recovery: Object.fromEntries(told) } });
}

const common = { jwt: { secret: SECRET }, allowedOrigins: [], recovery: { bufferSize: 4096, maxMessages: 10_000 } } as const;
const answerers: [string, TestServerOptions][] = [
  ['its application', { ...common, onEvent: (event, server) => void answer(event, server) }],
  ['the engine', { ...common, subscriptions: 'acl' }],
];

/** Fast to come back, and with room for everything its reader has not taken yet. */
const HURRIED = { reconnect: { base_delay: 0.05, max_delay: 0.2 }, queue_size: 100_000 };

let python: string;

/** Subscribed, and told where the topic is. */
async function subscribed(host: TestServer, client: Python, topic: string): Promise<void> {
  await client.heard('connected', { error: null, ready: true });
  client.do('subscribe', { topics: [topic] });
  await waitUntil(async () => topic in ((await client.stats())['positions'] as object), 'a position');
  expect(host.server.getTopicSubscriberCount(topic)).toBe(1);
}

/** The numbers its iterator has given out. */
const seen = (client: Python): unknown[] =>
  client.lines.filter(({ kind }) => kind === 'event').map(({ payload }) => (payload as { n: number }).n);

const upTo = (end: number) => Array.from({ length: end }, (_, n) => n);

describe.each(answerers)('the published Python client, answered by %s', (_, options) => {
  beforeAll(async () => {
    python = await findPython();
  }, INSTALL_MS);

  it('learns that it can recover', async () => {
    await using host = await startServer(options);
    await using client = Python.join(python, host);
    await subscribed(host, client, 'news');
    const { epoch, offset } = host.server.position('news') ?? {};
    const told = { recovery: true, hello_recovery: true, positions: { news: [epoch, offset] } };
    await waitUntil(async () => (await client.stats())['hello_recovery'] === true, 'server_hello');
    expect(await client.stats()).toMatchObject(told);
  });

  it.each([1, 2])(
    'sees every message once and in order, however often its connection is cut (%i)',
    async (seed) => {
      const below = random(seed);
      await using host = await startServer(options);
      await using network = await BadNetwork.to(host.port);
      await using client = Python.join(python, network, HURRIED);
      await subscribed(host, client, 'news');
      let n = 0;
      const publish = (count: number) => {
        for (let left = count; left > 0; left--) host.server.publish('news', 'tick', { n: n++, pad: 'x'.repeat(below(600)) });
      };
      // Some connections live for a few bytes, some for thousands of messages' worth.
      network.life = () => (network.cuts >= CUTS ? Number.POSITIVE_INFINITY : below(below(2) ? 1500 : 30_000));
      network.cut();
      const publishing = setInterval(publish, 3, 2);
      try {
        await waitUntil(() => network.cuts >= CUTS || !client.running, `${CUTS} cuts`, TIMEOUT_MS / 2);
        await waitUntil(() => host.server.getTopicSubscriberCount('news') === 1, 'the last subscription');
      } finally {
        clearInterval(publishing);
      }
      publish(50);
      const numbers = () => seen(client);
      await waitUntil(
        () => numbers().includes(n - 1),
        () => `number ${n - 1}, only ${numbers().length} and ${numbers().at(-1)}`,
      );
      expect(numbers()).toEqual(upTo(n));
      expect((await client.stats())['reconnect_count']).toBe(CUTS);
      expect(host.metric('wse_recovery_replayed_total')).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  it(
    'asks for what was dropped for it, and gets it',
    async () => {
      await using host = await startServer({ ...options, maxOutboundQueueBytes: 512 * KIB });
      await using network = await BadNetwork.to(host.port);
      await using client = Python.join(python, network, HURRIED);
      await subscribed(host, client, 'news');
      let n = 0;
      const publish = () => host.server.publish('news', 'tick', { n: n++, pad: 'x'.repeat(8 * KIB) });
      for (let round = 1; round <= 3; round++) {
        const before = host.metric('wse_slow_consumer_drops_total');
        const replayed = host.metric('wse_recovery_replayed_total');
        network.pause();
        // The kernel's buffers fill, then the budget; one at a time, so that not more is dropped than a replay may take.
        while (host.metric('wse_slow_consumer_drops_total') < before + 5) {
          publish();
          await pause(1);
        }
        const last = n - 1;
        network.resume();
        await waitUntil(() => host.metric('wse_outbound_bytes') === 0, 'an empty queue');
        // The stamp of what comes next tells of the gap; what comes meanwhile does too.
        for (let more = 0; more < 20; more++) {
          publish();
          await pause(2);
        }
        await waitUntil(
          () => seen(client).includes(n - 1),
          () => `number ${n - 1} behind ${last}, only ${seen(client).at(-1)}`,
        );
        expect(host.metric('wse_recovery_replayed_total')).toBeGreaterThan(replayed);
      }
      expect(seen(client)).toEqual(upTo(n));
      expect((await client.stats())['reconnect_count']).toBe(0);
    },
    TIMEOUT_MS,
  );
});
