/**
 * Random lives of subscribers with recovery, behind a proxy that harms frames: every message is delivered once and in order, or its loss is
 * declared. `WSE_SEED` runs one life again.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import type { ClientOptions } from '../../src/index.js';
import { open } from '../support/client.js';
import { fastClock } from '../support/fast-clock.js';
import { FaultProxy, type Faults } from '../support/fault-proxy.js';
import { Ledger, Story } from '../support/ledger.js';
import { seeded, seeds } from '../support/random.js';

const TOPICS = ['a', 'b', 'news.x'];
const CLIENTS = 3;
const STEPS = 120;

/** Ten seconds of a client in two of the test's; those of attempts as on the wall. */
const HASTY: ClientOptions = {
  clock: fastClock(5),
  reconnect: { baseDelay: 50, maxDelay: 250 },
  connectTimeout: 60_000,
  heartbeat: 4_000,
  idleTimeout: 12_000,
};

interface Weather {
  readonly faults: Faults;
  /** Messages a topic's ring holds. */
  readonly ring: number;
  /** Whether everything that is published can be recovered, hence must be. */
  readonly whole: boolean;
}

const WEATHERS: Record<string, Weather> = {
  'cuts and delays': {
    faults: { down: { cut: 0.02, delay: 0.1 }, up: { cut: 0.01, delay: 0.1 } },
    ring: 4_096,
    whole: true,
  },
  'a short memory': { faults: { down: { cut: 0.03 } }, ring: 16, whole: false },
  'frames lost, doubled and out of order': {
    faults: { down: { drop: 0.03, duplicate: 0.05, reorder: 0.05, delay: 0.02, cut: 0.01 } },
    ring: 4_096,
    whole: false,
  },
  'and requests, too': {
    faults: { down: { drop: 0.03, duplicate: 0.05, reorder: 0.05, cut: 0.01 }, up: { drop: 0.1, duplicate: 0.1, reorder: 0.1 } },
    ring: 4_096,
    whole: false,
  },
};

/** One life; resolves with what is wrong with it. */
async function live(seed: number, { faults, ring, whole }: Weather): Promise<string[]> {
  const random = seeded(seed);
  const conns = new Set<number>();
  const { server, port } = await startServer({
    subscriptions: 'acl',
    recovery: { bufferSize: ring, maxMessages: ring },
    keep: false,
  });
  void (async () => {
    for await (const batch of server.batches()) {
      for (const [kind, conn] of batch) {
        if (kind === 'connect') conns.add(conn);
        if (kind === 'disconnect') conns.delete(conn);
      }
    }
  })().catch(() => {});
  const proxy = await FaultProxy.start({ target: `ws://127.0.0.1:${port}`, seed });
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const ledger = new Ledger();
  const publish = (topic: string): void => {
    server.publish(topic, 'tick', { n: ledger.next(topic) });
  };
  const tests = Array.from({ length: CLIENTS }, () => open(proxy.url, { ...HASTY, random }));
  const stories = tests.map(({ client }) => new Story(ledger, client));
  // In calm: from here on everything counts.
  // The last one holds a topic through a pattern, which has no position of its own.
  await Promise.all(tests.map(({ client }, i) => client.subscribe(i < CLIENTS - 1 ? TOPICS : ['a', 'b', 'news.*'])));
  for (const topic of TOPICS) {
    publish(topic);
    ledger.begins(topic, server.position(topic)?.epoch ?? '', 1);
  }
  await waitUntil(() => stories.every((story) => TOPICS.every((topic) => story.reached(topic) === 1)), 'the first');
  proxy.faults = faults;

  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const publisher = async (steps: number): Promise<void> => {
    for (let step = 0; step < steps; step += 1) {
      for (let burst = Math.floor(random() * 4); burst >= 0; burst -= 1) publish(pick(TOPICS));
      await pause(random() * 12);
    }
  };
  const trouble = async (): Promise<void> => {
    for (let step = 0; step < 12; step += 1) {
      await pause(random() * 120);
      const kind = Math.floor(random() * 6);
      if (kind === 0) proxy.cut();
      if (kind === 1) proxy.close(pick([1000, 1001, 1011, 1012, 4300]));
      if (kind === 2 && conns.size > 0) server.disconnect(pick([...conns]), { code: 4300 });
      if (kind === 3) pick(tests).client.forceReconnect();
      if (kind === 4) {
        proxy.refusing = true;
        await pause(random() * 200);
        proxy.refusing = false;
      }
      if (kind === 5) {
        proxy.stalled = true;
        await pause(random() * 100);
        proxy.stalled = false;
      }
    }
  };
  await Promise.all([publisher(STEPS), publisher(STEPS), trouble()]);
  proxy.faults = {};
  const ends = (): boolean => stories.every((story) => TOPICS.every((topic) => story.reached(topic) >= ledger.count(topic)));
  // A message shows what is missing before it, and whoever was forgotten.
  for (let tries = 0; tries < 100 && (tries === 0 || !ends()); tries += 1) {
    for (const topic of TOPICS) publish(topic);
    await waitUntil(ends, '', 300).catch(() => {});
  }
  const problems: string[] = [];
  for (const [index, story] of stories.entries()) {
    for (const topic of TOPICS) {
      const fault = story.fault(topic);
      if (fault) problems.push(`client ${index}, ${fault}`);
      else if (whole && story.losses(topic) > 0) problems.push(`client ${index}, ${topic}: ${story.losses(topic)} lost`);
    }
    const { errors, client } = tests[index] as (typeof tests)[number];
    const { held } = client.getStats().recovery;
    if (held > 0) problems.push(`client ${index}: holds ${held} still`);
    problems.push(...errors.map((error) => `client ${index}: ${error.message}`));
  }
  for (const topic of TOPICS) {
    const offset = server.position(topic)?.offset;
    if (offset !== ledger.count(topic)) problems.push(`${topic}: the server counted ${offset} of ${ledger.count(topic)}`);
  }
  const seen = proxy.tally;
  for (const fate of Object.keys({ ...faults.down }) as (keyof typeof seen)[]) {
    if (seen[fate] === 0) problems.push(`no ${fate}: ${proxy}`);
  }
  return problems.length > 0 ? [String(proxy), ...problems] : [];
}

// All at once: most of a life is waiting. (Not as concurrent tests: what one leaves behind is cleared away with the first that ends.)
it('a subscriber with recovery misses nothing that is not declared', async () => {
  const lives = Object.entries(WEATHERS).flatMap(([name, weather]) =>
    seeds(3).map(async (seed) => {
      const problems = await live(seed, weather);
      return problems.length > 0 ? [name, ...problems] : [];
    }),
  );
  expect((await Promise.all(lives)).flat()).toEqual([]);
});
