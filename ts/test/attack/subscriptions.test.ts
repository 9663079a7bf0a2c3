/** Peers that subscribe to make others pay: patterns by the thousand, updates by the thousand, names of a kilobyte. */

import { describe, expect, it } from 'vitest';
import { threads } from '../support/driver.js';
import { frame, RawPeer } from '../support/raw-peer.js';
import { waitUntil } from '../support/server.js';
import { attacked, unharmed } from './witness.js';

const MIB = 2 ** 20;
/** Far above what it takes on a slow machine, far below what walking through all that others hold would take. */
const SOON = 3_000;
/** What a busy machine may take to try every pattern there is for each of them. */
const PATIENCE = 30_000;

interface Reply {
  success: boolean;
  success_topics: string[];
  failed_topics: string[];
  failed_reasons?: string[];
}

const update = (action: string, topics: string[]): string => JSON.stringify({ t: 'subscription_update', p: { action, topics } });

async function ask(peer: RawPeer, action: string, topics: string[]): Promise<Reply> {
  peer.text(update(action, topics));
  return (JSON.parse(await peer.nextText((text) => text.includes('"subscription_update"'))) as { p: Reply }).p;
}

const names = (count: number, name: (n: number) => string): string[] => Array.from({ length: count }, (_, n) => name(n));

describe('patterns by the thousand', () => {
  it('are held up to a limit, and neither publications nor those who hang up stop the others', async () => {
    const { target, witness } = await attacked({ shards: threads(1), subscriptions: 'acl' });
    const peers = await Promise.all(names(40, String).map(async () => RawPeer.open(target.port)));
    for (const [who, peer] of peers.entries()) {
      // Half of them are told apart by their ends, half can only be tried.
      const reply = await ask(
        peer,
        'subscribe',
        names(1024, (n) => (n % 2 === 0 ? `*:${who}:${n}` : `*${who}:${n}*`)),
      );
      expect([reply.success, reply.success_topics.length, reply.failed_topics.length]).toEqual([true, 128, 896]);
      expect(new Set(reply.failed_reasons)).toEqual(new Set(['too_many_patterns']));
    }
    expect(target.metric('wse_subscriptions_refused_total')).toBe(40 * 896);
    expect(target.gauge('pattern_work')).toBeGreaterThan(40 * 60);
    const most = 40 * 64 + 20;
    expect(target.gauge('pattern_work')).toBeLessThan(most);
    const before = target.metric('wse_match_work_total');
    const publications = 20_000;
    for (let n = 0; n < publications; n += 1) target.server.broadcast(`nobody/${n}`, 'x');
    // Its answer comes behind all of them. Counted and not timed: 41,000 patterns are held, were they all tried.
    await witness.echoes(PATIENCE);
    expect(target.metric('wse_match_work_total') - before).toBeLessThan(publications * most * 2);
    for (const peer of peers) peer.destroy();
    await witness.echoes();
    await waitUntil(() => target.gauge('topics') === 0, 'end of the patterns');
    expect([target.gauge('pattern_work'), target.gauge('subscription_bytes')]).toEqual([0, 0]);
    await unharmed(target, witness);
  });

  it('that end alike are refused for all beyond what a publication may cost', async () => {
    const { target, witness } = await attacked({
      shards: threads(1),
      subscriptions: 'acl',
      maxPatternsPerConnection: 0,
      maxSubscriptionsPerConnection: 0,
    });
    const peer = await RawPeer.open(target.port);
    const limit = target.gauge('pattern_work_limit');
    const accepted: number[] = [];
    for (let round = 0; round < 2; round += 1) {
      const reply = await ask(
        peer,
        'subscribe',
        names(10_000, (n) => `*${round}:${n}*`),
      );
      accepted.push(reply.success_topics.length);
      if (round === 1) expect(new Set(reply.failed_reasons)).toEqual(new Set(['server_limit']));
    }
    expect(accepted).toEqual([10_000, limit - 10_000]);
    expect((await ask(witness.peer, 'subscribe', ['mine'])).success_topics).toEqual(['mine']);
    target.server.broadcast('mine', 'heard');
    await witness.peer.nextText((text) => text === 'heard');
    await unharmed(target, witness);
  });
});

describe('subscription updates by the thousand', () => {
  it('from a peer that holds very long names do not hold up the others', async () => {
    const { target, witness } = await attacked({ shards: threads(1), subscriptions: 'acl' });
    const peer = await RawPeer.open(target.port);
    const held = await ask(
      peer,
      'subscribe',
      names(1023, (n) => `${n}:${'x'.repeat(990)}`),
    );
    expect(held.success_topics.length).toBe(1023);
    const asked = Buffer.concat(names(4000, String).map(() => frame({ payload: update('subscribe', ['a']) })));
    peer.send(asked);
    const start = performance.now();
    await witness.echoes();
    expect(performance.now() - start).toBeLessThan(SOON);
    await unharmed(target, witness);
  });
});

describe('the memory of subscriptions', () => {
  it('is bounded over all connections, with an equal part for each', async () => {
    const limit = 8 * MIB;
    const { target, witness } = await attacked({ subscriptions: 'acl', maxSubscriptionBytes: limit, maxConnections: 64 });
    const refused: string[] = [];
    for (let who = 0; who < 8; who += 1) {
      const peer = await RawPeer.open(target.port);
      const reply = await ask(
        peer,
        'subscribe',
        names(900, (n) => `${who}:${n}:${'x'.repeat(1000)}`),
      );
      refused.push(...(reply.failed_reasons ?? []));
      expect(target.gauge('subscription_bytes')).toBeLessThanOrEqual(limit + limit / 8);
    }
    expect(new Set(refused)).toEqual(new Set(['server_limit']));
    expect((await ask(witness.peer, 'subscribe', ['mine', 'yours'])).failed_topics).toEqual([]);
    await unharmed(target, witness);
    await waitUntil(() => target.gauge('topics') === 2, 'end of what the attackers held');
    expect(target.gauge('subscription_bytes')).toBeLessThan(4096);
  });
});
