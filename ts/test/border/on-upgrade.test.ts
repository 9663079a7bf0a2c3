/** `onUpgrade`: what it sees, what its answers do, and that whatever it does harms nobody but the client it is about. */

import { once } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WebSocket } from 'ws';
import { encodeJwt, type OnUpgrade, type UpgradeAnswer, type UpgradeRequest } from '../../src/index.js';
import { RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { waitUntil } from '../support/server.js';
import { UNTELLABLE } from '../support/thrown.js';
import { start, statusOf } from './asked.js';
import { Client, heardSoFar, join } from './client.js';

const SECRET = 's'.repeat(32);

/** What is reported, and not shown. */
function warnings(): { code: string | undefined; message: string }[] {
  const heard: { code: string | undefined; message: string }[] = [];
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation(((warning: unknown, options: unknown) => {
    heard.push({ message: String(warning), code: (options as { code?: string } | undefined)?.code });
  }) as typeof process.emitWarning);
  onTestFinished(() => spy.mockRestore());
  return heard;
}

describe('what onUpgrade sees', () => {
  it('is the request, whole', async () => {
    const seen: UpgradeRequest[] = [];
    const on = await start(
      (request) => {
        seen.push(request);
        return {};
      },
      { trustProxy: { addresses: ['127.0.0.1'] } },
    );
    const peer = await RawPeer.open(on.port, {
      path: '/a%20b/c?x=1&y=%C3%A9&x=2',
      headers: [
        ['Cookie', 'sid="abc"; other=1'],
        ['X-Two', 'a'],
        ['cookie', 'sid=zzz; bad=%zz; good=%C3%A9; constructor=c'],
        ['x-two', 'b'],
        ['User-Agent', 'first'],
        ['User-Agent', 'second'],
        ['X-Bytes', '\u00e9\u00ff'],
        ['__proto__', 'p'],
        ['Sec-WebSocket-Protocol', 'chat.v1, no good'],
        ['Sec-WebSocket-Protocol', 'chat.v2'],
        ['X-Forwarded-For', '203.0.113.9'],
      ],
    });
    await on.take('connect');
    const request = seen[0] as UpgradeRequest;
    expect(request).toMatchObject({
      method: 'GET',
      path: '/a%20b/c',
      search: 'x=1&y=%C3%A9&x=2',
      address: '203.0.113.9',
      protocols: ['chat.v1', 'chat.v2'],
      user: null,
      claims: null,
    });
    expect([request.query.getAll('x'), request.query.get('y')]).toEqual([['1', '2'], 'é']);
    expect(request.headers).toMatchObject({
      host: '127.0.0.1',
      'x-two': 'a, b',
      'user-agent': 'first',
      'x-bytes': '\u00e9\u00ff',
      cookie: 'sid="abc"; other=1; sid=zzz; bad=%zz; good=%C3%A9; constructor=c',
    });
    expect(Object.keys(request.headers)).toContain('__proto__');
    expect(request.headers['tostring']).toBeUndefined();
    expect({ ...request.cookies }).toEqual({ sid: 'abc', other: '1', bad: '%zz', good: 'é', constructor: 'c' });
    expect(request.signal.aborted).toBe(false);
    peer.destroy();
  });

  it('is nothing of what the engine refuses itself', async () => {
    let asked = 0;
    const on = await start(
      () => {
        asked += 1;
        return {};
      },
      {
        path: '/wse',
        allowedOrigins: ['https://a.example'],
        protocols: ['chat.v1'],
        requireProtocol: true,
        jwt: { secret: SECRET },
      },
    );
    const headers = [['Sec-WebSocket-Protocol', 'chat.v1']] as const;
    expect(await statusOf(on.port, { path: '/other', headers })).toBe(404);
    expect(await statusOf(on.port, { headers: [...headers, ['Origin', 'https://b.example']] })).toBe(403);
    expect(await statusOf(on.port)).toBe(400);
    // As ever: 101, an error, a Close.
    expect(await statusOf(on.port, { headers })).toBe(101);
    expect(asked).toBe(0);
    const token = encodeJwt({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 60, role: 'admin' }, SECRET);
    expect(await statusOf(on.port, { headers: [...headers, ['Authorization', `Bearer ${token}`]] })).toBe(101);
    expect(asked).toBe(1);
  });

  it("is the token's user and claims, and never the token among the subprotocols", async () => {
    const token = encodeJwt({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 60, role: 'admin' }, SECRET);
    let seen: UpgradeRequest | undefined;
    const on = await start(
      (request) => {
        seen = request;
        return {};
      },
      {
        protocols: ['chat.v1'],
        jwt: { secret: SECRET, from: ['subprotocol'] },
      },
    );
    const client = new WebSocket(`ws://127.0.0.1:${on.port}`, ['chat.v1', `bearer.${token}`]);
    await once(client, 'open');
    const [, conn, user] = await on.take('auth_connect');
    expect([user, seen?.user, seen?.claims?.['role'], seen?.protocols]).toEqual(['ada', 'ada', 'admin', ['chat.v1']]);
    expect(on.server.getConnectionInfo(conn)).toMatchObject({ user: 'ada', data: null, protocol: 'chat.v1' });
    client.terminate();
  });
});

describe('what its answer does', () => {
  it.each<[string, UpgradeAnswer]>([
    ['nothing', undefined],
    ['null', null],
    ['{}', {}],
  ])('%s lets the client in as it is', async (_, answer) => {
    const on = await start(async () => answer);
    const { conn } = await join(on);
    expect(on.server.getConnectionInfo(conn)).toMatchObject({ user: null, data: null, protocol: null, topics: [] });
  });

  it('terms: user, data, protocol, acl, topics', async () => {
    const data = { plan: 'pro', seats: [1, 2], name: 'né' };
    const on = await start(async () => ({
      user: 'ada',
      data,
      protocol: 'chat.v2',
      acl: { allow: ['news.*'], deny: ['news.secret'] },
      topics: ['news.local', 'news.*', 'news.secret', 'other'],
    }));
    const client = new WebSocket(`ws://127.0.0.1:${on.port}`, ['chat.v1', 'chat.v2']);
    await once(client, 'open');
    const [, conn, user] = await on.take('auth_connect');
    expect([user, client.protocol]).toEqual(['ada', 'chat.v2']);
    expect(on.server.getUserConnections('ada')).toEqual([conn]);
    const info = on.server.getConnectionInfo(conn);
    expect(info).toMatchObject({ user: 'ada', data, protocol: 'chat.v2' });
    expect(info?.topics.sort()).toEqual(['news.*', 'news.local']);
    expect(on.server.subscribeConnection(conn, ['other'])).toBe(0);
    client.terminate();
  });

  it('misses nothing of its topics from the moment it is greeted', async () => {
    const on = await start(() => ({ topics: ['ticks'] }), { serverReady: true });
    let n = 0;
    const timer = setInterval(() => {
      for (let i = 0; i < 20; i += 1) {
        n += 1;
        on.server.broadcast('ticks', String(n));
      }
    }, 1);
    onTestFinished(() => clearInterval(timer));
    for (let round = 0; round < 20; round += 1) {
      const client = await Client.open(on.port);
      await waitUntil(() => client.texts.length >= 50, 'ticks');
      const [ready, ...ticks] = client.texts.slice(0, 50);
      expect(ready).toContain('server_ready');
      expect(ticks.map(Number)).toEqual(ticks.map((_, index) => Number(ticks[0]) + index));
      client.socket.terminate();
    }
  });

  it('a refusal: status, headers, body', async () => {
    const on = await start(async () => ({
      status: 401,
      headers: {
        'WWW-Authenticate': 'Basic realm="x"',
        'Set-Cookie': ['a=1', 'b=2'],
        'X-N': 7,
        'content-type': 'application/json',
      },
      body: '{"why":"né"}',
    }));
    const [response, peer] = await RawPeer.ask(on.port, upgradeRequest());
    expect(response.status).toBe(401);
    expect(response.head).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\nContent-Length: 13\r\n/);
    expect(response.head).toContain('set-cookie: a=1\r\nset-cookie: b=2');
    expect([response.headers.get('x-n'), response.headers.get('content-type')]).toEqual(['7', 'application/json']);
    await waitUntil(() => peer.over === 'end', 'the end');
    const error = new Promise((resolve) =>
      new WebSocket(`ws://127.0.0.1:${on.port}`).on('unexpected-response', (_, r) => resolve(r.statusCode)),
    );
    expect(await error).toBe(401);
    expect(on.server.getConnectionCount()).toBe(0);
    expect(on.events).toEqual([]);
  });

  it('is heard in every thread', async () => {
    const on = await start(() => ({ data: [1, { a: null }] }));
    const { conn } = await join(on);
    const { RustWSEServer } = await import('../../src/index.js');
    expect(RustWSEServer.attach(on.server.handle).getConnectionInfo(conn)?.data).toEqual([1, { a: null }]);
  });

  it.each<[string, unknown, string]>([
    ['a number', 7, 'answer'],
    ['an unknown member', { usr: 'ada' }, 'answer.usr'],
    ['terms for who is refused', { status: 403, user: 'ada' }, 'answer.user'],
    ['headers without a status', { headers: {} }, 'answer.status'],
    ['status 101', { status: 101 }, 'answer.status'],
    ['status 600', { status: 600 }, 'answer.status'],
    ['a header that ends the line', { status: 403, headers: { 'X-A': 'a\r\nSet-Cookie: b' } }, 'answer.headers.X-A'],
    ['a name that does', { status: 403, headers: { 'X\r\nA': 'a' } }, 'answer.headers.X'],
    ["the engine's header", { status: 403, headers: { 'content-length': 5 } }, 'answer.headers.content-length'],
    ['an empty user', { user: '' }, 'answer.user'],
    ['a user that is none', { user: 7 }, 'answer.user'],
    ['half a character', { user: 'x\ud800'.repeat(1000) }, 'answer.user'],
    ['data beyond its limit', { data: 'x'.repeat(65_536) }, 'answer.data'],
    ['data without a JSON form', { data: new Map() }, 'answer.data'],
    ['a subprotocol nobody offers', { protocol: 'chat.v9' }, 'answer.protocol'],
    ['an ACL with a typing error', { acl: { alow: ['a'] } }, 'answer.acl.alow'],
    ['an ACL with too much', { acl: { allow: Array.from({ length: 1025 }, () => 'a') } }, 'answer.acl'],
    ['an empty topic', { topics: ['a', ''] }, 'answer.topics[1]'],
    ['a pattern that is too long', { topics: [`${'x'.repeat(9000)}*`] }, 'answer.topics[0]'],
    ['too many topics', { topics: Array.from({ length: 1025 }, (_, n) => `t${n}`) }, 'answer.topics'],
  ])('%s is a 500 and a report', async (_, answer, path) => {
    const heard = warnings();
    const on = await start((request) => (request.path === '/good' ? {} : (answer as UpgradeAnswer)));
    expect(await statusOf(on.port)).toBe(500);
    await waitUntil(() => heard.length > 0, 'a report');
    expect(heard[0]).toMatchObject({ code: 'WSE_UPGRADE_FAILED', message: expect.stringContaining(path) });
    expect(on.metric('wse_upgrades_failed_total')).toBe(1);
    expect(await statusOf(on.port, { path: '/good' })).toBe(101);
  });

  it('leaves out topics beyond the limit of a connection', async () => {
    const on = await start(() => ({ topics: ['a', 'b', 'c'] }), { maxSubscriptionsPerConnection: 2 });
    const { conn } = await join(on);
    expect(on.server.getConnectionInfo(conn)?.topics).toEqual(['a', 'b']);
  });
});

describe('a handler that fails', () => {
  it.each<[string, OnUpgrade]>([
    [
      'throws',
      () => {
        throw new Error('on purpose');
      },
    ],
    ['rejects', () => Promise.reject(new Error('on purpose'))],
    ['rejects with nothing', () => Promise.reject()],
    ...(Object.entries(UNTELLABLE).flatMap(([what, thrown]) => [
      [
        `throws ${what}`,
        () => {
          throw thrown();
        },
      ],
      [`rejects with ${what}`, () => Promise.reject(thrown())],
    ]) as [string, OnUpgrade][]),
    [
      'has a then that throws',
      () =>
        // biome-ignore lint/suspicious/noThenProperty: that is the point
        ({ then: () => void JSON.parse('on purpose') }) as unknown as UpgradeAnswer,
    ],
  ])('and %s for every request is a 500 each, and one report a second', async (_, handler) => {
    const heard = warnings();
    const on = await start((request) => (request.path === '/in' ? {} : handler(request)));
    const { client, conn } = await join(on, { path: '/in' });
    for (let round = 0; round < 5; round += 1) {
      const all = await Promise.all(Array.from({ length: 40 }, () => statusOf(on.port)));
      expect(new Set(all)).toEqual(new Set([500]));
    }
    const reports = heard.filter(({ code }) => code === 'WSE_UPGRADE_FAILED').length;
    expect([reports > 0, reports < 20]).toEqual([true, true]);
    expect(on.metric('wse_upgrades_failed_total')).toBe(200);
    on.server.send(conn, 'hello');
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['hello']);
  });
});
