/** `onUpgrade`: what it sees, what its answers do, and that whatever it does harms nobody but the client it is about. */

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WebSocket } from 'ws';
import { encodeJwt, type OnUpgrade, type UpgradeAnswer, type UpgradeRequest, type WSEServerOptions } from '../../src/index.js';
import { selfSigned } from '../support/certificate.js';
import { frame, RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { UNTELLABLE } from '../support/thrown.js';
import { Client, heardSoFar, join, QUIET } from './client.js';

const SECRET = 's'.repeat(32);
const never = (): Promise<UpgradeAnswer> => new Promise(() => {});

function start(onUpgrade: OnUpgrade, options: Partial<WSEServerOptions> = {}): Promise<TestServer> {
  return startServer({ ...QUIET, ...options, onUpgrade });
}

/** What is reported, and not shown. */
function warnings(): { code: string | undefined; message: string }[] {
  const heard: { code: string | undefined; message: string }[] = [];
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation(((warning: unknown, options: unknown) => {
    heard.push({ message: String(warning), code: (options as { code?: string } | undefined)?.code });
  }) as typeof process.emitWarning);
  onTestFinished(() => spy.mockRestore());
  return heard;
}

async function statusOf(port: number, options: Parameters<typeof upgradeRequest>[0] = {}): Promise<number> {
  const [response, peer] = await RawPeer.ask(port, upgradeRequest(options));
  peer.destroy();
  return response.status;
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

describe('who waits', () => {
  it('is told 503 when the time is over, and may be let in by nobody after that', async () => {
    const signals: AbortSignal[] = [];
    let late: ((answer: UpgradeAnswer) => void) | undefined;
    const on = await start(
      (request) => {
        signals.push(request.signal);
        return new Promise((resolve) => {
          late = resolve;
        });
      },
      { handshake: { upgradeTimeout: 0.2 } },
    );
    const [response] = await RawPeer.ask(on.port, upgradeRequest());
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    await waitUntil(() => signals[0]?.aborted === true, 'the signal');
    late?.({ user: 'ada' });
    expect(on.metric('wse_upgrades_unanswered_total')).toBe(1);
    expect(on.server.getConnectionCount()).toBe(0);
    await waitUntil(() => on.gauge('waiting_upgrades') === 0, 'its place');
  });

  it('frees its place at once when it dies, and its signal is aborted', async () => {
    const signals: AbortSignal[] = [];
    const on = await start(
      (request) => {
        signals.push(request.signal);
        return never();
      },
      { handshake: { timeout: 600, upgradeTimeout: 599 } },
    );
    for (const end of ['end', 'destroy'] as const) {
      const peer = await RawPeer.dial(on.port);
      peer.send(upgradeRequest());
      await waitUntil(() => on.gauge('waiting_upgrades') === 1 && signals.length > 0, 'a waiting one');
      if (end === 'end') peer.socket.end();
      else peer.socket.resetAndDestroy();
      await waitUntil(() => on.gauge('waiting_upgrades') === 0 && on.gauge('pending_handshakes') === 0, 'its place');
      await waitUntil(() => signals.every(({ aborted }) => aborted), 'the signal');
      signals.length = 0;
    }
  });

  it('gets what it sent too early to where it belongs', async () => {
    let admit: ((answer: UpgradeAnswer) => void) | undefined;
    const on = await start(
      () =>
        new Promise((resolve) => {
          admit = resolve;
        }),
    );
    const peer = await RawPeer.dial(on.port);
    peer.send(Buffer.concat([upgradeRequest(), frame({ opcode: 1, payload: 'first' })]));
    await waitUntil(() => admit !== undefined, 'the question');
    const rest = Array.from({ length: 60 }, (_, n) => frame({ opcode: 1, payload: `${n} ${'x'.repeat(1000)}` }));
    peer.send(Buffer.concat(rest));
    // More than is read while it waits: the rest stays in the socket.
    await new Promise((resolve) => setTimeout(resolve, 50));
    admit?.({});
    await waitUntil(() => on.events.filter(([type]) => type === 'raw').length === 61, 'all of it');
    const texts = on.events.filter(([type]) => type === 'raw').map(([, , text]) => String(text).split(' ')[0]);
    expect(texts).toEqual(['first', ...Array.from({ length: 60 }, (_, n) => String(n))]);
    peer.destroy();
  });

  it('is bounded: beyond handshake.maxWaiting it is a 503, and who is connected is served meanwhile', async () => {
    const on = await start((request) => (request.path === '/in' ? {} : never()), {
      handshake: { maxWaiting: 50, timeout: 600, upgradeTimeout: 599 },
    });
    const { client, conn } = await join(on, { path: '/in' });
    const peers = await Promise.all(Array.from({ length: 50 }, () => RawPeer.dial(on.port)));
    for (const peer of peers) peer.send(upgradeRequest());
    await waitUntil(() => on.gauge('waiting_upgrades') === 50, 'fifty');
    for (let n = 0; n < 20; n += 1) expect(await statusOf(on.port, { path: '/in' })).toBe(503);
    expect(on.metric('wse_upgrades_overflow_total')).toBe(20);
    on.server.send(conn, 'hello');
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['hello']);
    for (const peer of peers) peer.destroy();
    await waitUntil(() => on.gauge('waiting_upgrades') === 0, 'nobody');
    expect(await statusOf(on.port, { path: '/in' })).toBe(101);
  });

  it.skipIf(process.platform !== 'linux')('leaves three quarters of the places to other addresses', async () => {
    const handshake = { maxWaiting: 40, timeout: 600, upgradeTimeout: 599 };
    const here: OnUpgrade = ({ address }) => (address === '127.0.0.2' ? never() : {});
    const flood = async (on: TestServer, headers: readonly (readonly [string, string])[] = []): Promise<RawPeer[]> => {
      const peers = await Promise.all(Array.from({ length: 50 }, () => RawPeer.dial(on.port, { localAddress: '127.0.0.2' })));
      for (const peer of peers) peer.send(upgradeRequest({ headers }));
      return peers;
    };
    const on = await start(here, { host: '0.0.0.0', handshake });
    const peers = await flood(on);
    await waitUntil(() => on.metric('wse_upgrades_overflow_total') === 40, 'those that are too many');
    expect(on.gauge('waiting_upgrades')).toBe(10);
    expect(await statusOf(on.port)).toBe(101);
    const [response] = await RawPeer.ask(on.port, upgradeRequest(), { localAddress: '127.0.0.2' });
    expect(response.status).toBe(503);
    for (const peer of peers) peer.destroy();
    await waitUntil(() => on.gauge('waiting_upgrades') === 0, 'their places');

    // The address of a proxy is many clients', and the client it names is one.
    const behind = await start(() => never(), { host: '0.0.0.0', handshake, trustProxy: { addresses: ['127.0.0.2'] } });
    await flood(behind, [['X-Forwarded-For', '203.0.113.7']]);
    await waitUntil(() => behind.metric('wse_upgrades_overflow_total') === 40, 'those of one client');
    await flood(behind);
    await waitUntil(() => behind.gauge('waiting_upgrades') === 40, 'all places');

    // Nobody else can ask.
    const local = await start(() => never(), { handshake });
    await flood(local);
    await waitUntil(() => local.gauge('waiting_upgrades') === 40, 'all places');
  });

  it.each(['drain', 'stop'] as const)('is told 503 at once by %s()', async (end) => {
    const signals: AbortSignal[] = [];
    const on = await start(
      (request) => {
        signals.push(request.signal);
        return never();
      },
      { handshake: { timeout: 600, upgradeTimeout: 599 } },
    );
    const peers = await Promise.all(Array.from({ length: 20 }, () => RawPeer.dial(on.port)));
    for (const peer of peers) peer.send(upgradeRequest());
    await waitUntil(() => on.gauge('waiting_upgrades') === 20 && signals.length === 20, 'all of them');
    const ended = end === 'drain' ? on.server.drain({ timeout: 5 }) : on.server.stop({ timeout: 5 });
    for (const peer of peers) expect((await peer.response()).status).toBe(503);
    await ended;
    await waitUntil(() => signals.every(({ aborted }) => aborted), 'the signals');
    for (const peer of peers) peer.destroy();
  });

  it('is no obstacle to a handshake that needs no answer from JavaScript', async () => {
    const on = await start(never, { handshake: { maxPending: 4, timeout: 600, upgradeTimeout: 599 } });
    const waiting = await RawPeer.dial(on.port);
    waiting.send(upgradeRequest());
    await waitUntil(() => on.gauge('waiting_upgrades') === 1, 'the waiting one');
    // Newer handshakes take the place of older ones that say nothing, and not of one that waits for us.
    const silent = await Promise.all(Array.from({ length: 12 }, () => RawPeer.dial(on.port)));
    await waitUntil(() => silent.filter((peer) => peer.over !== undefined).length === 8, 'those that give way');
    expect([waiting.over, on.gauge('waiting_upgrades')]).toEqual([undefined, 1]);
    for (const peer of [waiting, ...silent]) peer.destroy();
  });

  it('works over TLS', async () => {
    const { cert, key } = await selfSigned();
    const on = await start(async (request) => (request.path === '/no' ? { status: 418 } : { user: 'ada' }), {
      tls: { cert, key },
    });
    const client = await Client.open(on.port, { scheme: 'wss', rejectUnauthorized: false });
    expect((await on.take('auth_connect'))[2]).toBe('ada');
    client.socket.terminate();
    const [response] = await RawPeer.ask(on.port, upgradeRequest({ path: '/no' }), { tls: {} });
    expect(response.status).toBe(418);
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
    expect(heard.filter(({ code }) => code === 'WSE_UPGRADE_FAILED').length).toBeLessThan(20);
    expect(on.metric('wse_upgrades_failed_total')).toBe(200);
    on.server.send(conn, 'hello');
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['hello']);
  });
});

describe('many at once', () => {
  const descriptors = (): number => readdirSync('/proc/self/fd').length;

  it.skipIf(process.platform !== 'linux')('leave nothing behind when nobody answers', async () => {
    const on = await start(never, {
      handshake: { maxWaiting: 200, timeout: 30, upgradeTimeout: 0.3, maxPending: 4096, maxPendingPerAddress: 4096 },
    });
    const before = descriptors();
    for (let round = 0; round < 6; round += 1) {
      const statuses = await Promise.all(Array.from({ length: 500 }, () => statusOf(on.port)));
      expect(new Set(statuses)).toEqual(new Set([503]));
    }
    await waitUntil(() => on.gauge('waiting_upgrades') === 0 && on.gauge('pending_handshakes') === 0, 'their places');
    await waitUntil(
      () => descriptors() <= before + 5,
      () => `descriptors (${before} before, ${descriptors()} now)`,
    );
    expect(on.metric('wse_upgrades_overflow_total') + on.metric('wse_upgrades_unanswered_total')).toBe(3000);
  });

  /** Up to ten thousand, as far as this process may have both ends of them. */
  const most = (): number => {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '1024';
    return Math.min(10_000, Math.floor((Number(limit) - descriptors() - 200) / 2));
  };

  it.skipIf(process.platform !== 'linux')(
    'take nothing from others while they wait for ever, nor when they are gone',
    async () => {
      const count = most();
      const signals: AbortSignal[] = [];
      const on = await start(
        ({ path, signal }) => {
          if (path === '/in') return {};
          signals.push(signal);
          return never();
        },
        {
          maxConnections: 100,
          handshake: {
            maxWaiting: count + 1,
            timeout: 600,
            upgradeTimeout: 599,
            maxPending: 20_000,
            maxPendingPerAddress: 20_000,
          },
        },
      );
      const { client, conn } = await join(on, { path: '/in' });
      const before = descriptors();
      const peers: RawPeer[] = [];
      while (peers.length < count) {
        const more = Math.min(500, count - peers.length);
        const dialled = await Promise.all(Array.from({ length: more }, () => RawPeer.dial(on.port)));
        for (const peer of dialled) peer.send(upgradeRequest());
        peers.push(...dialled);
      }
      await waitUntil(
        () => on.gauge('waiting_upgrades') === count && signals.length === count,
        () => `${count} that wait (${on.gauge('waiting_upgrades')} do, ${signals.length} were asked about)`,
      );
      on.server.send(conn, 'hello');
      expect((await heardSoFar(on, client, conn)).texts).toEqual(['hello']);
      expect(await statusOf(on.port, { path: '/in' })).toBe(101);
      expect(peers.filter((peer) => peer.over !== undefined).length).toBe(0);

      for (const peer of peers) peer.destroy();
      await waitUntil(() => on.gauge('waiting_upgrades') === 0 && on.gauge('pending_handshakes') === 0, 'their places');
      await waitUntil(() => signals.every(({ aborted }) => aborted), 'their signals');
      await waitUntil(
        () => descriptors() <= before + 5,
        () => `descriptors (${before} before, ${descriptors()} now)`,
      );
      expect(on.metric('wse_upgrades_overflow_total') + on.metric('wse_upgrades_unanswered_total')).toBe(0);
      expect(await statusOf(on.port, { path: '/in' })).toBe(101);
      on.server.send(conn, 'still here');
      expect((await heardSoFar(on, client, conn)).texts).toContain('still here');
    },
    60_000,
  );

  it('are all let in when they are answered', async () => {
    const on = await start(
      async ({ query }) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return { user: `u${query.get('n')}`, data: Number(query.get('n')) };
      },
      { maxConnections: 2000 },
    );
    const peers = await Promise.all(Array.from({ length: 800 }, (_, n) => RawPeer.open(on.port, { path: `/?n=${n}` })));
    await waitUntil(() => on.server.getConnectionCount() === 800, 'all');
    for (const conn of on.server.getConnections()) {
      const info = on.server.getConnectionInfo(conn);
      expect(info?.user).toBe(`u${info?.data}`);
    }
    for (const peer of peers) peer.destroy();
  });
});
