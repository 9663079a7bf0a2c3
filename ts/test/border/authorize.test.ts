/** `authorize`: what it is asked, what its answers do, and that whatever it does costs nobody but the client it is about. */

import { readFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Authorize, encodeJwt, RustWSEServer, type SubscriptionChange, type WSEEvent } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { waitUntil } from '../support/server.js';
import { UNTELLABLE } from '../support/thrown.js';
import { Client, join, QUIET } from './client.js';
import { ask, next, send, start, warnings } from './subscribing.js';

const SECRET = 's'.repeat(32);

describe('what authorize is asked', () => {
  it('is what the ACL lets through and the client does not have', async () => {
    const asked: unknown[][] = [];
    const on = await start({
      jwt: { secret: SECRET, from: ['query'] },
      authorize: (...question) => {
        asked.push(question);
        return true;
      },
    });
    const claims = { sub: 'ada', wse_topics: { deny: ['secret*'] } };
    const token = encodeJwt({ ...claims, exp: Math.floor(Date.now() / 1000) + 600 }, SECRET);
    const { client, conn } = await join(on, { path: `/?access_token=${token}` });
    client.texts.length = 0;
    expect(await ask(client, ['a', 'secret.1', 'b*', 'a', ''])).toEqual([
      ['a', 'b*'],
      ['secret.1', ''],
      ['not_allowed', 'invalid_name'],
    ]);
    expect(await ask(client, ['a', 'c'])).toEqual([['a', 'c'], [], undefined]);
    expect(await ask(client, ['a'], 'unsubscribe')).toEqual([['a'], [], undefined]);
    expect(asked).toEqual([
      [conn, 'ada', ['a', 'b*']],
      [conn, 'ada', ['c']],
    ]);
  });
});

describe('what authorize answers', () => {
  const all = ['a', 'b', 'constructor'];
  it.each<[string, ReturnType<Authorize>, unknown[], unknown]>([
    ['true', true, all, undefined],
    ['false', false, [], ['not_authorized', 'not_authorized', 'not_authorized']],
    ['a list', ['b', 'elsewhere'], ['b'], ['not_authorized', 'not_authorized']],
    ['an empty list', [], [], ['not_authorized', 'not_authorized', 'not_authorized']],
    ['an object', { a: true, b: 'members only' }, ['a'], ['members only', 'not_authorized']],
    [
      'a map',
      new Map<string, string | boolean>([
        ['constructor', true],
        ['a', false],
      ]),
      ['constructor'],
      ['not_authorized', 'not_authorized'],
    ],
    ['a promise', Promise.resolve({ b: true, a: 'é'.repeat(128) }), ['b'], ['é'.repeat(128), 'not_authorized']],
    ['half of a surrogate pair', { a: '\ud800', b: true, constructor: true }, ['b', 'constructor'], ['\ufffd']],
  ])('%s', async (_, answer, allowed, reasons) => {
    const on = await start({ authorize: () => answer });
    const { client } = await join(on);
    const [succeeded, , why] = await ask(client, all);
    expect([succeeded, why]).toEqual([allowed, reasons]);
  });

  it.each<[string, unknown, string]>([
    ['nothing', undefined, 'answer'],
    ['null', null, 'answer'],
    ['a number', 1, 'answer'],
    ['a text', 'a', 'answer'],
    ['a set', new Set(['a']), 'answer'],
    ['a list of others', ['a', 1], 'answer[1]'],
    ['an empty reason', { a: '' }, 'answer["a"]'],
    ['a long reason', { a: 'é'.repeat(129) }, 'answer["a"]'],
    ['no reason', { a: 0 }, 'answer["a"]'],
  ])('%s is none: a report, and no topic', async (_, answer, path) => {
    const heard = warnings();
    const on = await start({ authorize: () => answer as boolean });
    const { client } = await join(on);
    expect(await ask(client, ['a'])).toEqual([[], ['a'], ['authorize_failed']]);
    expect(heard[0]).toMatchObject({ code: 'WSE_AUTHORIZE_FAILED', message: expect.stringContaining(path) });
    expect(on.metric('wse_authorize_failed_total')).toBe(1);
  });
});

describe('an authorize that fails', () => {
  it.each<[string, () => never | Promise<never>]>([
    ['rejects', () => Promise.reject(new Error('on purpose'))],
    ...Object.entries(UNTELLABLE).map(([what, thrown]): [string, () => never] => [
      `throws ${what}`,
      () => {
        throw thrown();
      },
    ]),
  ])('and %s refuses, and is reported once a second', async (_, fail) => {
    const heard = warnings();
    const on = await start({ authorize: (_conn, _user, topics) => (topics.includes('good') ? true : fail()) });
    const { client } = await join(on);
    for (let round = 0; round < 50; round += 1) expect((await ask(client, ['bad']))[2]).toEqual(['authorize_failed']);
    expect((await ask(client, ['good']))[0]).toEqual(['good']);
    const reports = heard.filter(({ code }) => code === 'WSE_AUTHORIZE_FAILED').length;
    expect([reports > 0, reports < 10]).toEqual([true, true]);
  });

  it('is told that it is late, and its late answer is nobody’s', async () => {
    const heard = warnings();
    const answers: ((allowed: boolean) => void)[] = [];
    const on = await start({
      authorizeTimeout: 0.2,
      authorize: (_conn, _user, topics) => topics.includes('quick') || new Promise<boolean>((resolve) => answers.push(resolve)),
    });
    const { client } = await join(on);
    expect((await ask(client, ['slow']))[2]).toEqual(['timeout']);
    answers[0]?.(true);
    await waitUntil(() => heard.length > 0, 'a report');
    expect(heard[0]).toMatchObject({ code: 'WSE_AUTHORIZE_FAILED', message: expect.stringContaining('authorizeTimeout') });
    expect((await ask(client, ['quick']))[0]).toEqual(['quick']);
    expect(on.metric('wse_authorize_unanswered_total')).toBe(1);
  });

  it('keeps so many waiting, and nobody else from being served', async () => {
    const answers: ((allowed: boolean) => void)[] = [];
    const on = await start({
      maxAuthorizing: 2,
      authorizeTimeout: 600,
      authorize: () => new Promise<boolean>((resolve) => answers.push(resolve)),
    });
    const waiting = [await join(on), await join(on)];
    for (const { client } of waiting) send(client, ['a']);
    await waitUntil(() => answers.length === 2, 'two that wait');
    const { client: third, conn } = await join(on);
    expect((await ask(third, ['a']))[2]).toEqual(['busy']);
    expect((await ask(third, ['x'], 'unsubscribe'))[0]).toEqual(['x']);
    on.server.send(conn, '"served"');
    expect(await next(third)).toEqual(['served']);
    // One goes while it waits, and its place is free.
    waiting[0]?.client.socket.terminate();
    await waitUntil(() => on.gauge('waiting_authorize') === 1, 'its place');
    send(third, ['a']);
    await waitUntil(() => answers.length === 3, 'the third');
    for (const answer of answers) answer(true);
    expect((await next(third))[0]?.p['success_topics']).toEqual(['a']);
    await waitUntil(() => on.gauge('waiting_authorize') === 0, 'no one that waits');
  });

  it('is asked for a name that is covered by a pattern the client holds, with a position or without', async () => {
    const asked: (readonly string[])[] = [];
    const on = await start({
      recovery: true,
      authorize: (_conn, _user, topics) => {
        asked.push(topics);
        return true;
      },
    });
    const { client } = await join(on);
    send(client, ['b*']);
    await next(client);
    on.server.publish('b1', 'x', {});
    await next(client);
    const recover = (recovery?: unknown): void =>
      client.send(
        JSON.stringify({ t: 'subscription_update', p: { action: 'subscribe', topics: ['b1'], recover: true, recovery } }),
      );
    // A position makes it a request for what was missed, of a topic that is held; one that is none makes it a subscription.
    recover({ b1: { ...on.server.position('b1'), offset: 0 } });
    const [missed, reply] = await next(client, 2);
    expect([missed?.t, reply?.p['success_topics'], asked.length]).toEqual(['x', ['b1'], 1]);
    recover({ b1: { epoch: 'zz', offset: 1 } });
    expect((await next(client))[0]?.p).toMatchObject({ success_topics: ['b1'], failed_topics: [] });
    expect(asked).toEqual([['b*'], ['b1']]);
  });

  it('does not keep the server from stopping', async () => {
    const on = await start({ authorizeTimeout: 600, authorize: () => new Promise<boolean>(() => {}) });
    const { client } = await join(on);
    send(client, ['a']);
    await waitUntil(() => on.gauge('waiting_authorize') === 1, 'one that waits');
    await on.server.stop();
    expect(await client.closed()).toBe(1012);
  });
});

describe('what the application hears of it', () => {
  it('is what has changed and what was refused, in the order of the wire', async () => {
    const on = await start({ authorize: (_conn, _user, topics) => topics.filter((topic) => topic !== 'b') });
    const { client, conn } = await join(on);
    on.server.setTopicAcl(conn, { deny: ['c'] });
    await ask(client, ['a', 'b', 'c']);
    await ask(client, ['a']);
    client.send('{"t":"between"}');
    await ask(client, ['a', 'never'], 'unsubscribe');
    const heard: WSEEvent[] = [];
    for (const type of ['subscribe', 'msg', 'unsubscribe'] as const) heard.push((await on.take(type, conn)) as WSEEvent);
    expect(heard).toEqual([
      [
        'subscribe',
        conn,
        {
          topics: ['a'],
          refused: [
            { topic: 'b', reason: 'not_authorized' },
            { topic: 'c', reason: 'not_allowed' },
          ],
        },
      ],
      ['msg', conn, { t: 'between' }],
      ['unsubscribe', conn, { topics: ['a'], refused: [] }],
    ]);
  });
});

describe('every style of reading', () => {
  type Heard = [string, SubscriptionChange];
  const expected: Heard[] = [
    ['subscribe', { topics: ['a'], refused: [{ topic: '', reason: 'invalid_name' }] }],
    ['unsubscribe', { topics: ['a'], refused: [] }],
  ];
  const asks = async (port: number): Promise<void> => {
    const client = await Client.open(port);
    await ask(client, ['a', '']);
    await ask(client, ['a'], 'unsubscribe');
  };
  const started = async (): Promise<[RustWSEServer, number]> => {
    const server = new RustWSEServer({ port: 0, shards: threads(1), subscriptions: 'acl', ...QUIET });
    onTestFinished(() => server.stop());
    return [server, (await server.start()).port as number];
  };

  it('callbacks', async () => {
    const [server, port] = await started();
    const heard: Heard[] = [];
    server.setCallbacks({
      onSubscribe: (_, info) => heard.push(['subscribe', info]),
      onUnsubscribe: (_, info) => heard.push(['unsubscribe', info]),
    });
    await asks(port);
    await waitUntil(() => heard.length === 2, 'both');
    expect(heard).toEqual(expected);
  });

  it('serve', async () => {
    const [server, port] = await started();
    const heard: Heard[] = [];
    const served = server.serve({
      subscribe: (_, info) => heard.push(['subscribe', info]),
      unsubscribe: (_, info) => heard.push(['unsubscribe', info]),
    });
    await asks(port);
    await waitUntil(() => heard.length === 2, 'both');
    expect(heard).toEqual(expected);
    await server.stop();
    await served;
  });

  it('drainInbound', async () => {
    const [server, port] = await started();
    const heard: Heard[] = [];
    const drain = (): void => {
      for (const [type, , payload] of server.drainInbound(256, 0)) {
        if (type === 'subscribe' || type === 'unsubscribe') heard.push([type, payload]);
      }
    };
    await asks(port);
    await waitUntil(() => {
      drain();
      return heard.length === 2;
    }, 'both');
    expect(heard).toEqual(expected);
  });
});

describe('the vectors', () => {
  interface Vector {
    name: string;
    acl?: { allow?: string[]; deny?: string[] };
    authorize?: Record<string, boolean | string>;
    states?: Record<string, unknown> | null;
    sent: string;
    replies: string[];
  }
  const file = new URL('../../../spec/vectors/answers.json', import.meta.url);
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];

  it.each(vectors)('$name', async ({ acl, authorize, states, sent, replies }) => {
    warnings();
    const get = (): Record<string, unknown> => {
      if (states === undefined || states === null) throw new Error('on purpose');
      return states;
    };
    const on = await start({
      ...(authorize === undefined ? {} : { authorize: () => authorize }),
      ...(states === undefined ? {} : { snapshots: { topics: '*', get } }),
    });
    const { client, conn } = await join(on);
    if (acl !== undefined) on.server.setTopicAcl(conn, acl);
    client.send(sent);
    expect(await client.heard(replies.length)).toEqual(replies);
  });
});
