/** Servers that do not cooperate: they restart and forget, send everybody away, kick, and refuse tokens. Nothing is missed that is not declared. */

import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { encodeJwt } from '../../../ts/src/index.js';
import { startServer, type TestServer, waitUntil } from '../../../ts/test/support/server.js';
import type { TokenRequest } from '../../src/index.js';
import { open } from '../support/client.js';
import { Ledger, Story } from '../support/ledger.js';
import { seeded, seeds } from '../support/random.js';

const FAST = { reconnect: { baseDelay: 20, maxDelay: 100 } };
const RECOVERING = { subscriptions: 'acl', recovery: { bufferSize: 4_096, maxMessages: 4_096 } } as const;
const TOPICS = ['a', 'b'];

/** Publishes on one server, and tells the ledger where its streams begin. */
function publisher({ server }: TestServer, ledger: Ledger): (topic: string) => void {
  const begun = new Set<string>();
  return (topic) => {
    const n = ledger.next(topic);
    server.publish(topic, 'tick', { n });
    if (begun.has(topic)) return;
    begun.add(topic);
    ledger.begins(topic, server.position(topic)?.epoch ?? '', n);
  };
}

const faults = (stories: readonly Story[]): string[] =>
  stories.flatMap((story, index) => TOPICS.flatMap((topic) => story.fault(topic)?.concat(`, client ${index}`) ?? []));

const all = (stories: readonly Story[], ledger: Ledger): boolean =>
  stories.every((story) => TOPICS.every((topic) => story.reached(topic) >= ledger.count(topic)));

describe('a server', () => {
  it('that restarts has forgotten: what nobody can have any more is declared', async () => {
    for (const seed of seeds(3)) {
      const random = seeded(seed);
      const ledger = new Ledger();
      let running = await startServer(RECOVERING);
      const { port } = running;
      const tests = Array.from({ length: 3 }, () => open(`ws://127.0.0.1:${port}`, FAST));
      const stories = tests.map(({ client }) => new Story(ledger, client));
      await Promise.all(tests.map(({ client }) => client.subscribe(TOPICS)));
      for (let life = 0; life < 4; life += 1) {
        const publish = publisher(running, ledger);
        for (let step = 0; step < 30; step += 1) {
          for (let burst = Math.floor(random() * 8); burst > 0; burst -= 1) publish(random() < 0.5 ? 'a' : 'b');
          if (random() < 0.5) await pause(random() * 10);
        }
        for (const topic of TOPICS) publish(topic);
        if (life === 3) break;
        if (random() < 0.5) await running.server.drain({ timeout: 1 });
        await running.stop();
        running = await startServer({ ...RECOVERING, port });
      }
      const publish = (topic: string) => running.server.publish(topic, 'tick', { n: ledger.next(topic) });
      for (let tries = 0; tries < 100 && (tries === 0 || !all(stories, ledger)); tries += 1) {
        for (const topic of TOPICS) publish(topic);
        await waitUntil(() => all(stories, ledger), '', 200).catch(() => {});
      }
      expect(faults(stories), `seed ${seed}`).toEqual([]);
      // Each restart was noticed: an epoch ends for whoever was there with a declaration, even where nothing was lost in it.
      for (const { lost, client } of tests) {
        expect(new Set(lost.map(({ to }) => to.epoch)).size, `seed ${seed}`).toBeGreaterThanOrEqual(2);
        expect(client.state).toBe('connected');
      }
      await Promise.all(tests.map(({ client }) => client.close()));
    }
  });

  it('that drains sends its clients to the next one, which goes on', async () => {
    const old = await startServer(RECOVERING);
    const next = await startServer(RECOVERING);
    const ledger = new Ledger();
    const urls = [old, next].map(({ port }) => `ws://127.0.0.1:${port}`);
    const { client, states } = open(urls, FAST);
    const story = new Story(ledger, client);
    await client.subscribe(TOPICS);
    const before = publisher(old, ledger);
    for (const topic of TOPICS) before(topic);
    await waitUntil(() => all([story], ledger), 'the first');
    await old.server.drain({ timeout: 1 });
    await waitUntil(() => client.url?.includes(String(next.port)) && client.isConnected, 'the next server');
    expect(states.find(({ state }) => state === 'reconnecting')).toMatchObject({ code: 4300, attempt: 1 });
    await waitUntil(() => client.subscribedTopics.size === 2, 'subscription');
    const behind = publisher(next, ledger);
    for (const topic of TOPICS) behind(topic);
    await waitUntil(() => all([story], ledger), 'the second');
    expect(faults([story])).toEqual([]);
  });

  it('that kicks, again and again, is come back to without a gap', async () => {
    const { server, port, events } = await startServer(RECOVERING);
    const ledger = new Ledger();
    const publish = publisher({ server } as TestServer, ledger);
    const { client, lost } = open(`ws://127.0.0.1:${port}`, FAST);
    const story = new Story(ledger, client);
    await client.subscribe(TOPICS);
    const codes = [4300, 1012, 1000, 1001, 1011, 4300, 4000];
    for (const code of codes) {
      const conn = await waitUntil(() => events.findLast(([kind]) => kind === 'connect'), 'connect');
      events.length = 0;
      for (const topic of TOPICS) publish(topic);
      server.disconnect(conn[1] as number, { code });
      for (const topic of [...TOPICS, ...TOPICS]) publish(topic);
      await waitUntil(() => events.some(([kind]) => kind === 'connect'), `connection behind ${code}`);
    }
    await waitUntil(() => all([story], ledger), 'everything');
    expect(faults([story])).toEqual([]);
    expect(lost).toEqual([]);
    expect(client.getStats().reconnectCount).toBe(codes.length);
  });

  it('whose tokens are short is followed: exchanged in band, or refused and asked for again, without a gap', async () => {
    const secret = 's'.repeat(32);
    const { server, port } = await startServer({ ...RECOVERING, jwt: { secret, leeway: 0, expiryWarning: 2 } });
    const ledger = new Ledger();
    const publish = publisher({ server } as TestServer, ledger);
    const reasons: TokenRequest['reason'][] = [];
    const asked = (reason: TokenRequest['reason']): number => reasons.filter((other) => other === reason).length;
    let refreshed = 0;
    const { client, states, errors, lost } = open(`ws://127.0.0.1:${port}`, {
      ...FAST,
      async token({ reason }) {
        reasons.push(reason);
        await pause(5);
        if (reason === 'expiring' && refreshed > 0) throw new Error('the issuer is away');
        // Behind a refusal that followed an exchange there is nothing left to see.
        const lives = reason === 'refused' && refreshed > 0 ? 600 : 3;
        return encodeJwt({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + lives }, secret);
      },
    });
    client.on('auth_refreshed', () => {
      refreshed += 1;
    });
    const story = new Story(ledger, client);
    await client.subscribe(TOPICS);
    await waitUntil(async () => {
      for (const topic of TOPICS) publish(topic);
      await pause(10);
      return refreshed >= 1 && asked('refused') >= 1 && client.isConnected;
    }, 'an exchange and a refusal');
    for (const topic of TOPICS) publish(topic);
    await waitUntil(() => all([story], ledger), 'everything');
    expect(faults([story])).toEqual([]);
    expect(lost).toEqual([]);
    expect(states.filter(({ code }) => code === 4401).length).toBe(asked('refused'));
    expect(asked('connect') + asked('refused')).toBe(client.getStats().reconnectCount + 1);
    expect(errors.map(String)).toContainEqual(expect.stringContaining('the issuer is away'));
    expect(client.state).toBe('connected');
  });
});
