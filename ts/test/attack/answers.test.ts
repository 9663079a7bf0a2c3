/** Peers that ask the engine, and through it the application, for more than anybody wants: a million topics, floods, silence. */

import { expect, it } from 'vitest';
import { threads } from '../support/driver.js';
import { frame, RawPeer } from '../support/raw-peer.js';
import { waitUntil } from '../support/server.js';
import { attacked, unharmed } from './witness.js';

/** Far above what it takes on a slow machine, far below what waiting for the attacker would take. */
const SOON = 3_000;

interface Reply {
  success_topics: string[];
  failed_reasons?: string[];
}

const update = (action: string, topics: string[]): string => JSON.stringify({ t: 'subscription_update', p: { action, topics } });
const names = (count: number, name: (n: number) => string): string[] => Array.from({ length: count }, (_, n) => name(n));

async function ask(peer: RawPeer, action: string, topics: string[]): Promise<Reply> {
  peer.text(update(action, topics));
  return (JSON.parse(await peer.nextText((text) => text.includes('"subscription_update"'))) as { p: Reply }).p;
}

it('a million topics are asked about as far as one may have them, and leave nothing behind', async () => {
  let topics = 0;
  const authorize = (_conn: number, _user: string | null, asked: readonly string[]): boolean => {
    topics += asked.length;
    return true;
  };
  const { target, witness } = await attacked({ shards: threads(1), subscriptions: 'acl', authorize });
  const peer = await RawPeer.open(target.port);
  for (let round = 0; round < 100; round += 1) {
    const wanted = names(10_000, (n) => `${round}:${n}`);
    // What is refused is heard of, topic by topic: some of it is enough.
    if (round % 10 === 0) {
      const reply = await ask(peer, 'subscribe', wanted);
      expect([reply.success_topics.length, new Set(reply.failed_reasons)]).toEqual([1024, new Set(['too_many_subscriptions'])]);
      const start = performance.now();
      expect((await ask(witness.peer, 'subscribe', [`mine:${round}`])).success_topics).toEqual([`mine:${round}`]);
      expect(performance.now() - start).toBeLessThan(SOON);
    }
    expect((await ask(peer, 'unsubscribe', wanted)).success_topics.length).toBe(10_000);
  }
  expect(topics).toBe(10 * 1024 + 10);
  await waitUntil(() => target.gauge('topics') === 10, 'end of what the attacker held');
  await unharmed(target, witness);
});

it('a flood of updates keeps neither the application nor another client from an answer', async () => {
  const { target, witness } = await attacked({
    shards: threads(1),
    subscriptions: 'acl',
    authorize: async (_conn, _user, topics) => topics,
    snapshots: { topics: '*', get: (_user, topics) => Object.fromEntries(topics.map((topic) => [topic, 1])) },
  });
  const peer = await RawPeer.open(target.port);
  const round = ['subscribe', 'unsubscribe'].map((action) => frame({ payload: update(action, ['a', 'b']) }));
  peer.send(Buffer.concat(names(2000, String).flatMap(() => round)));
  for (let n = 0; n < 5; n += 1) {
    const start = performance.now();
    expect((await ask(witness.peer, 'subscribe', [`mine:${n}`])).success_topics).toEqual([`mine:${n}`]);
    await witness.echoes();
    expect(performance.now() - start).toBeLessThan(SOON);
  }
  await unharmed(target, witness);
  await waitUntil(() => target.gauge('waiting_authorize') + target.gauge('waiting_snapshots') === 0, 'end of the questions');
});

it('peers that make the application wait, and die, give their places back', async () => {
  const { target, witness } = await attacked({
    subscriptions: 'acl',
    maxAuthorizing: 32,
    authorizeTimeout: 50,
    authorize: (_conn, _user, topics) => topics.includes('mine') || new Promise<boolean>(() => {}),
  });
  for (let round = 0; round < 5; round += 1) {
    const peers = await Promise.all(names(40, String).map(() => RawPeer.open(target.port)));
    for (const peer of peers) peer.text(update('subscribe', ['slow']));
    await waitUntil(() => target.gauge('waiting_authorize') === 32, 'all places taken');
    for (const peer of peers) peer.destroy();
    await waitUntil(() => target.gauge('waiting_authorize') === 0, 'all places');
    expect((await ask(witness.peer, 'subscribe', ['mine'])).success_topics).toEqual(['mine']);
  }
  await unharmed(target, witness);
});
