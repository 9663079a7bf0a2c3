/** `snapshots`: what the provider is asked, what its answers do, and that whatever it does costs nobody but its client. */

import { describe, expect, it } from 'vitest';
import type { SnapshotContext, SnapshotsOptions } from '../../src/index.js';
import { waitUntil } from '../support/server.js';
import { UNTELLABLE } from '../support/thrown.js';
import { join } from './client.js';
import { next, send, start, type Told, warnings } from './subscribing.js';

const complete = (topics: string[]): Told =>
  ({ c: 'S', t: 'snapshot_complete', v: 1, p: { topics, count: topics.length } }) as Told;
const shot = (topic: string, data: unknown): Told =>
  ({ c: 'S', t: 'topic_snapshot', v: 1, p: { topic, data, epoch: null, offset: null } }) as Told;
const failed = (topics: string[], reason: string): unknown => ({ code: 'SNAPSHOT_FAILED', details: { reason }, topics });

/** The texts of a subscription: its reply, and what follows, up to the end of the state. */
async function subscribed(client: Parameters<typeof next>[0], topics: string[]): Promise<Told[]> {
  send(client, topics);
  await waitUntil(() => client.texts.some((text) => text.includes('snapshot_complete')), 'the end of the state');
  return next(client, client.texts.findIndex((text) => text.includes('snapshot_complete')) + 1);
}

describe('a provider', () => {
  it('is asked for what is new and has a state, once, and by sync_request', async () => {
    const asked: [string | null, readonly string[], number][] = [];
    const on = await start({
      snapshots: {
        topics: ['room:*', 'board'],
        get: (user, topics, { conn }) => {
          asked.push([user, topics, conn]);
          return Object.fromEntries(topics.map((topic) => [topic, { of: topic }]));
        },
      },
    });
    const { client, conn } = await join(on);
    on.server.publish('board', 'early', {});
    const heard = await subscribed(client, ['room:1', 'else', 'room:*', 'board']);
    expect(heard.slice(1)).toEqual([
      shot('room:1', { of: 'room:1' }),
      shot('board', { of: 'board' }),
      complete(['room:1', 'board']),
    ]);
    expect(heard[0]?.p['success_topics']).toEqual(['room:1', 'else', 'room:*', 'board']);
    send(client, ['room:1', 'else']);
    expect((await next(client))[0]?.t).toBe('subscription_update');
    client.send('{"c":"WSE","t":"sync_request","p":{"topics":["room:7","else"]},"v":1}');
    expect(await next(client, 2)).toEqual([shot('room:7', { of: 'room:7' }), complete(['room:7'])]);
    expect(asked).toEqual([
      [null, ['room:1', 'board'], conn],
      [null, ['room:7'], conn],
    ]);
    on.server.publish('board', 'live', {});
    expect((await next(client))[0]?.t).toBe('live');
  });

  it.each<[string, unknown, Told[]]>([
    ['any JSON', { a: [1, null, { b: 'é' }], b: 'x' }, [shot('a', [1, null, { b: 'é' }]), shot('b', 'x'), complete(['a', 'b'])]],
    ['null and nothing', { a: null, b: undefined }, [shot('a', null), complete(['a'])]],
    ['a map', new Map([['b', new Date(0)]]), [shot('b', '1970-01-01T00:00:00.000Z'), complete(['b'])]],
    ['no state', undefined, [complete([])]],
    ['a promise of none', Promise.resolve(null), [complete([])]],
    ['half of a surrogate pair', { a: '\ud800' }, [shot('a', '\ufffd'), complete(['a'])]],
  ])('answers %s', async (_, answer, told) => {
    const on = await start({ snapshots: { topics: '*', get: () => answer as Record<string, unknown> } });
    const { client } = await join(on);
    expect((await subscribed(client, ['a', 'b'])).slice(1)).toEqual(told);
  });

  it('has a connection, a signal, and a moment of its own', async () => {
    const contexts: SnapshotContext[] = [];
    const on = await start({
      snapshots: {
        topics: '*',
        timeout: 600,
        get: (_user, _topics, context) => {
          contexts.push(context);
          const { pin } = context;
          pin();
          return new Promise(() => {});
        },
      },
    });
    const { client, conn } = await join(on);
    send(client, ['a']);
    await waitUntil(() => contexts.length === 1, 'a question');
    const [context] = contexts as [SnapshotContext];
    expect([context.conn, context.signal.aborted]).toEqual([conn, false]);
    client.socket.terminate();
    await waitUntil(() => context.signal.aborted, 'the end of it');
    context.pin();
    expect(on.gauge('waiting_snapshots')).toBe(0);
  });
});

describe('a provider that fails', () => {
  it.each<[string, SnapshotsOptions['get']]>([
    ['rejects', () => Promise.reject(new Error('on purpose'))],
    ['answers a list', () => [] as unknown as Record<string, unknown>],
    ['answers a text', () => 'a' as unknown as Record<string, unknown>],
    ['answers an instance', () => new Set(['a']) as unknown as Record<string, unknown>],
    ...Object.entries(UNTELLABLE).map(([what, thrown]): [string, SnapshotsOptions['get']] => [
      `throws ${what}`,
      () => {
        throw thrown();
      },
    ]),
  ])('and %s costs its client the state, and is reported', async (_, get) => {
    const heard = warnings();
    const on = await start({ snapshots: { topics: '*', get } });
    const { client } = await join(on);
    const { client: other, conn } = await join(on);
    const [reply, error, end] = await subscribed(client, ['a']);
    expect(reply?.p['success_topics']).toEqual(['a']);
    expect([error?.t, error?.p, end]).toEqual([
      'error',
      expect.objectContaining(failed(['a'], 'failed') as object),
      complete([]),
    ]);
    expect(heard[0]?.code).toBe('WSE_SNAPSHOTS_FAILED');
    on.server.publish('a', 'live', {});
    expect((await next(client))[0]?.t).toBe('live');
    on.server.send(conn, '"served"');
    expect(await next(other)).toEqual(['served']);
  });

  it('costs a topic whose state has no form or is too large, and no other', async () => {
    const heard = warnings();
    const on = await start({
      snapshots: {
        topics: '*',
        maxSnapshotBytes: 1000,
        get: () => ({ large: 'x'.repeat(10_000_000), odd: new Error('no form'), good: 'x'.repeat(998), stranger: 1 }),
      },
    });
    const { client } = await join(on);
    const told = await subscribed(client, ['large', 'odd', 'good']);
    expect(told.map(({ t }) => t)).toEqual(['subscription_update', 'topic_snapshot', 'error', 'error', 'snapshot_complete']);
    expect([told[2]?.p, told[3]?.p]).toMatchObject([failed(['large'], 'too_large'), failed(['odd'], 'failed')]);
    expect(told[4]).toEqual(complete(['good']));
    // The first of three is told; the others are counted with the next.
    expect(heard[0]?.message).toContain('maxSnapshotBytes');
  });

  it('reports topics nobody asked for, and tells nobody', async () => {
    const heard = warnings();
    const on = await start({ snapshots: { topics: '*', get: () => ({ a: 1, b: 2, c: 3 }) } });
    const { client } = await join(on);
    expect((await subscribed(client, ['a'])).slice(1)).toEqual([shot('a', 1), complete(['a'])]);
    expect(heard[0]).toMatchObject({
      code: 'WSE_SNAPSHOTS_FAILED',
      message: expect.stringContaining('has 2 topics nobody asked for, "b"'),
    });
  });

  it('or is late costs no more than its time', async () => {
    const heard = warnings();
    const on = await start({ snapshots: { topics: '*', timeout: 0.2, maxWaiting: 1, get: () => new Promise(() => {}) } });
    const { client } = await join(on);
    const { client: other } = await join(on);
    send(client, ['a']);
    await waitUntil(() => on.gauge('waiting_snapshots') === 1, 'one that waits');
    expect((await subscribed(other, ['b']))[1]?.p).toMatchObject(failed(['b'], 'busy') as object);
    expect((await next(client, 3))[1]?.p).toMatchObject(failed(['a'], 'timeout') as object);
    await waitUntil(() => heard.length > 0, 'a report');
    expect(heard[0]?.message).toContain('snapshots.timeout');
  });
});

describe('with recovery', () => {
  it('a state joins the stream at the position it was taken at, however long the provider takes', async () => {
    const state = { n: 0 };
    const questions: (() => void)[] = [];
    const on = await start({
      recovery: true,
      snapshots: {
        topics: 'counter',
        get: (_user, _topics, { pin }) =>
          new Promise((resolve) => {
            questions.push(() => {
              pin();
              const taken = { ...state };
              for (let more = 0; more < 3; more++) count();
              resolve({ counter: taken });
            });
          }),
      },
    });
    const count = (): void => {
      state.n += 1;
      on.server.publish('counter', 'count', { n: state.n });
    };
    for (let n = 0; n < 10; n++) count();
    const { client } = await join(on);
    send(client, ['counter']);
    await waitUntil(() => questions.length > 0, 'the question');
    for (let n = 0; n < 5; n++) count();
    questions.shift()?.();
    count();
    await waitUntil(() => client.texts.some((text) => text.includes('"n":19')), 'the stream');
    const heard = client.texts.map((text) => JSON.parse(text) as Told & { o?: number; p: { n?: number; data?: { n: number } } });
    expect(heard.map(({ t }) => t)).toEqual([
      'subscription_update',
      'topic_snapshot',
      'snapshot_complete',
      ...Array(4).fill('count'),
    ]);
    expect(heard[0]?.p).toMatchObject({ recovery: { counter: { offset: 15, recovered: false } } });
    expect(heard[1]?.p).toMatchObject({ data: { n: 15 }, offset: 15 });
    expect(heard.slice(3).map(({ o, p }) => [o, p.n])).toEqual([16, 17, 18, 19].map((n) => [n, n]));

    // Again, on request: everything behind the state comes once more.
    client.texts.length = 0;
    client.send('{"t":"sync_request","p":{"topics":["counter"],"include_snapshots":true}}');
    await waitUntil(() => questions.length > 0, 'the question');
    questions.shift()?.();
    await waitUntil(() => client.texts.some((text) => text.includes('"o":22')), 'the stream');
    const again = client.texts.map((text) => JSON.parse(text) as Told & { o?: number });
    expect(again.map(({ o, t }) => o ?? t).slice(-6)).toEqual([
      'subscription_update',
      'topic_snapshot',
      'snapshot_complete',
      20,
      21,
      22,
    ]);
  });

  it('a state joins the stream of a topic nobody has used before', async () => {
    const questions: (() => void)[] = [];
    const on = await start({
      recovery: true,
      snapshots: {
        topics: 'room:*',
        get: (_user, [topic], { pin }) =>
          new Promise((resolve) => {
            pin();
            questions.push(() => resolve({ [String(topic)]: 'empty' }));
          }),
      },
    });
    const { client } = await join(on);
    send(client, ['room:1']);
    await waitUntil(() => questions.length > 0, 'the question');
    for (let n = 1; n <= 3; n++) on.server.publish('room:1', 'said', { n });
    questions.shift()?.();
    await waitUntil(() => client.texts.some((text) => text.includes('"o":3')), 'the stream');
    const heard = client.texts.map((text) => JSON.parse(text) as Told & { o?: number });
    expect(heard.map(({ o, t }) => o ?? t)).toEqual(['subscription_update', 'topic_snapshot', 'snapshot_complete', 1, 2, 3]);
    expect(heard[1]?.p).toMatchObject({ data: 'empty', offset: 0, epoch: expect.any(String) });
  });

  it.each(['a question that waits', 'questions that come'])('does not keep the server from stopping: %s', async (which) => {
    const on = await start({ recovery: true, snapshots: { topics: '*', timeout: 600, get: () => new Promise(() => {}) } });
    const { client } = await join(on);
    send(client, ['a']);
    await waitUntil(() => on.gauge('waiting_snapshots') === 1, 'one that waits');
    const others = which === 'questions that come' ? await Promise.all([1, 2, 3, 4].map(() => join(on))) : [];
    for (const { client } of others) send(client, ['b']);
    const stopped = on.server.stop();
    for (const { client } of others) send(client, ['c']);
    await stopped;
    expect(await client.closed()).toBe(1012);
  });

  it("'last' tells who comes the last value, and again on request", async () => {
    const on = await start({ recovery: true, snapshots: 'last' });
    on.server.publish('board', 'move', { n: 1 });
    on.server.publish('board', 'move', { n: 2 });
    const { client } = await join(on);
    const heard = await subscribed(client, ['board', 'empty']);
    expect(heard[0]?.p).toMatchObject({ recovery: { board: { offset: 1 }, empty: { offset: 0 } } });
    expect(heard.slice(1)).toEqual([expect.objectContaining({ o: 2, t: 'move', p: { n: 2 } }), complete(['board'])]);
    client.send('{"t":"sync_request"}');
    await waitUntil(() => client.texts.length === 3, 'the state again');
    const again = client.texts.map((text) => JSON.parse(text) as Told);
    expect(again.slice(1)).toEqual([expect.objectContaining({ o: 2, p: { n: 2 } }), complete(['board'])]);
  });
});
