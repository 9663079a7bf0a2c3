/** The life of a token: given another one in-band or by the host, announced before its end, revoked. */

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { encodeJwt, type JwtClaims, RustWSEServer, type WSEServerOptions } from '../../src/index.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

const SECRET = 's'.repeat(32);
const now = (): number => Math.floor(Date.now() / 1000);
const tokenOf = (sub: string, claims: JwtClaims = {}): string => encodeJwt({ sub, exp: now() + 3600, ...claims }, SECRET);

type Jwt = Partial<NonNullable<WSEServerOptions['jwt']>>;

function start(jwt: Jwt = {}, options: Partial<WSEServerOptions> = {}): Promise<TestServer> {
  return startServer({ ...QUIET, allowedOrigins: [], jwt: { secret: SECRET, ...jwt }, ...options });
}

async function join(on: TestServer, token: string): Promise<{ client: Client; conn: number }> {
  const client = await Client.open(on.port, { headers: { authorization: `Bearer ${token}` } });
  const [, conn] = await on.take('auth_connect');
  await client.heard(1);
  client.texts.length = 0;
  return { client, conn };
}

/** What a client hears next. */
async function next(client: Client): Promise<{ t: string; p: Record<string, unknown> }> {
  await client.heard(1);
  return JSON.parse(client.texts.shift() as string) as { t: string; p: Record<string, unknown> };
}

async function refused(on: TestServer, token: string): Promise<number> {
  const client = await Client.open(on.port, { headers: { authorization: `Bearer ${token}` } });
  return client.closed();
}

const code = (error: unknown): unknown => (error as { code?: unknown }).code;
const ask = (token: unknown): string => JSON.stringify({ c: 'WSE', t: 'auth_refresh', p: { token }, v: 1 });

describe('auth_refresh and refreshToken()', () => {
  it('swap what a connection may have and until when, in one step', async () => {
    const on = await start();
    const { client, conn } = await join(on, tokenOf('ada'));
    on.server.subscribeConnection(conn, ['a', 'b', 'x.*']);
    on.server.subscribeConnection(conn, ['jobs'], { queueGroup: 'workers' });
    const exp = now() + 7200;
    client.send(ask(tokenOf('ada', { exp, wse_topics: { allow: ['a'] } })));
    expect(await next(client)).toMatchObject({ t: 'auth_refreshed', p: { expires_at: exp } });
    const ended = await next(client);
    expect(ended).toMatchObject({ t: 'subscription_update', p: { action: 'unsubscribe', success: true, failed_topics: [] } });
    const [, , change] = await on.take('unsubscribe', conn);
    expect(change).toEqual({ topics: expect.any(Array), refused: [], reason: 'not_allowed' });
    expect([...change.topics].sort()).toEqual(['b', 'jobs', 'x.*']);
    expect(ended.p['success_topics']).toEqual(change.topics);
    expect(on.server.getConnectionInfo(conn)).toMatchObject({ topics: ['a'], queueGroups: [] });

    const again = await on.server.refreshToken(conn, tokenOf('ada', { exp, wse_topics: { deny: ['a'] } }));
    expect(again).toEqual({ expiresAt: new Date(exp * 1000) });
    expect((await on.take('unsubscribe', conn))[2].topics).toEqual(['a']);
    on.server.publish('a', 'x', {});
    on.server.send(conn, '{"t":"end"}');
    const rest = [await next(client), await next(client), await next(client)].map(({ t }) => t);
    expect(rest).toEqual(['auth_refreshed', 'subscription_update', 'end']);
  });

  it('reject with what is wrong, and nothing has changed', async () => {
    const on = await start();
    const { client, conn } = await join(on, tokenOf('ada', { wse_topics: { allow: ['a'] } }));
    on.server.subscribeConnection(conn, ['a']);
    on.server.revoke({ jti: 'gone' });
    for (const [token, expected] of [
      ['nonsense', 'WSE_TOKEN_INVALID'],
      ['', 'WSE_TOKEN_INVALID'],
      ['x'.repeat(2 ** 20), 'WSE_TOKEN_INVALID'],
      ['\ud800', 'WSE_TOKEN_INVALID'],
      [tokenOf('ada', { exp: 1 }), 'WSE_TOKEN_INVALID'],
      [tokenOf('ada', { wse_topics: { allow: 'a' } } as JwtClaims), 'WSE_TOKEN_INVALID'],
      [tokenOf('bob'), 'WSE_TOKEN_OTHER_USER'],
      [tokenOf('ada', { jti: 'gone' }), 'WSE_TOKEN_REVOKED'],
    ] as const) {
      expect(await on.server.refreshToken(conn, token).catch(code), token.slice(0, 20)).toBe(expected);
    }
    on.server.publish('a', 'still', {});
    expect((await next(client)).t).toBe('still');
    expect(await on.server.refreshToken(conn + 2 ** 27, tokenOf('ada'))).toBe(false);
    for (const wrong of [undefined, null, 7, {}]) {
      await expect(on.server.refreshToken(conn, wrong as never)).rejects.toThrow(TypeError);
      await expect(on.server.refreshToken(wrong === 7 ? ('7' as never) : (wrong as never), 't')).rejects.toThrow(TypeError);
    }
  });

  it('leave a client with a bad token alone until it has tried too often', async () => {
    const on = await start();
    const { client, conn } = await join(on, tokenOf('ada'));
    const bad = [ask('nonsense'), ask(tokenOf('bob')), ask('x'.repeat(1_000_000)), ask(7), '{"t":"auth_refresh"}'];
    const reasons: unknown[] = [];
    for (const text of bad) {
      client.send(text);
      const { p } = await next(client);
      reasons.push([p['code'], p['reason'], p['recoverable']]);
    }
    expect(reasons).toEqual([
      ['AUTH_REFRESH_FAILED', 'invalid_token', true],
      ['AUTH_REFRESH_FAILED', 'other_user', true],
      ['AUTH_REFRESH_FAILED', 'invalid_token', true],
      ['AUTH_REFRESH_FAILED', 'invalid_token', true],
      ['AUTH_REFRESH_FAILED', 'invalid_token', false],
    ]);
    expect(await client.closed()).toBe(4401);
    expect((await on.take('disconnect', conn))[2]).toEqual({ code: 4401, reason: 'Too many failed refreshes', by: 'server' });
    expect(on.events).toEqual([]);
  });

  it('do not touch what the host has said', async () => {
    const on = await start({}, { onUpgrade: ({ user }) => (user === 'eve' ? { acl: { allow: ['a'] }, user: 'session-1' } : {}) });
    const { client, conn } = await join(on, tokenOf('eve'));
    await on.server.refreshToken(conn, tokenOf('eve'));
    expect(on.server.subscribeConnection(conn, ['a', 'b'])).toBe(1);
    // It is the token's user that counts, whatever the host calls it.
    expect(await on.server.refreshToken(conn, tokenOf('session-1')).catch(code)).toBe('WSE_TOKEN_OTHER_USER');
    expect(on.server.getConnectionInfo(conn)?.user).toBe('session-1');
    expect(on.server.revoke({ sub: 'session-1', before: now() + 9 })).toBe(0);
    expect(on.server.revoke({ sub: 'eve' })).toBe(1);
    expect(await client.closed()).toBe(4401);

    const own = await join(on, tokenOf('ada', { wse_topics: { allow: ['a', 'b'] } }));
    on.server.subscribeConnection(own.conn, ['a', 'b']);
    on.server.setTopicAcl(own.conn, { allow: ['a'] });
    await on.server.refreshToken(own.conn, tokenOf('ada', { wse_topics: { deny: ['*'] } }));
    expect(on.server.getConnectionInfo(own.conn)?.topics).toEqual(['a', 'b']);
    expect(on.server.subscribeConnection(own.conn, ['c'])).toBe(0);
  });

  it('lose and repeat nothing of what stays allowed, whatever is published meanwhile', async () => {
    const on = await start();
    const { client, conn } = await join(on, tokenOf('ada'));
    on.server.subscribeConnection(conn, ['keep', 'lose']);
    let n = 0;
    let refreshed = false;
    const publish = async (): Promise<void> => {
      for (let turn = 0; turn < 400; turn += 1) {
        for (let i = 0; i < 5; i += 1, n += 1) {
          on.server.publish('keep', 'keep', { n });
          on.server.publish('lose', 'lose', { n });
        }
        if (turn === 100) client.send(ask(tokenOf('ada', { wse_topics: { allow: ['keep'] } })));
        await new Promise((resolve) => setImmediate(resolve));
        await on.server.drained();
        refreshed ||= on.events.some(([type]) => type === 'unsubscribe');
        if (turn === 399 && !refreshed) turn -= 1;
      }
    };
    await publish();
    on.server.send(conn, '{"t":"end"}');
    await waitUntil(() => client.texts.at(-1) === '{"t":"end"}', 'the end');
    const heard = client.texts.map((text) => JSON.parse(text) as { t: string; p: { n: number } });
    const numbers = (t: string): number[] => heard.filter((one) => one.t === t).map(({ p }) => p.n);
    expect(numbers('keep')).toEqual(Array.from({ length: n }, (_, i) => i));
    const lost = numbers('lose');
    expect(lost).toEqual(Array.from({ length: lost.length }, (_, i) => i));
    const types = heard.map(({ t }) => t);
    expect(types.lastIndexOf('lose')).toBeLessThan(types.indexOf('auth_refreshed'));
  });

  it('work for a key nobody knew, and say so when nobody names it', async () => {
    const pair = (): { publicKey: KeyObject; privateKey: KeyObject } => generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const [first, second] = [pair(), pair()];
    const pem = (key: KeyObject, type: 'spki' | 'pkcs8'): string => key.export({ type, format: 'pem' } as never) as string;
    const keys = async (kid: string | null): Promise<string | null> => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (kid === 'slow') await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
      if (kid === 'throws') throw new Error('no key today');
      return { a: pem(first.publicKey, 'spki'), b: pem(second.publicKey, 'spki') }[kid ?? ''] ?? null;
    };
    const on = await startServer({
      ...QUIET,
      allowedOrigins: [],
      jwt: { algorithm: 'ES256', keys },
      handshake: { timeout: 2, upgradeTimeout: 0.5 },
    });
    const signed = (kid: string, { privateKey }: { privateKey: KeyObject }): string =>
      encodeJwt({ sub: 'ada', exp: now() + 3600 }, pem(privateKey, 'pkcs8'), { algorithm: 'ES256', keyId: kid });
    const { client, conn } = await join(on, signed('a', first));
    expect(await on.server.refreshToken(conn, signed('b', second))).not.toBe(false);
    expect((await next(client)).t).toBe('auth_refreshed');
    client.send(ask(signed('slow', first)));
    await waitUntil(() => on.gauge('waiting_refreshes') === 1, 'it waits');
    expect(await on.server.refreshToken(conn, signed('b', second)).catch(code)).toBe('WSE_TOKEN_BUSY');
    on.server.send(conn, '{"t":"live"}');
    expect((await next(client)).t).toBe('live');
    expect((await next(client)).p).toMatchObject({ reason: 'unavailable', recoverable: true });
    expect(await on.server.refreshToken(conn, signed('c', second)).catch(code)).toBe('WSE_TOKEN_INVALID');
    expect(await on.server.refreshToken(conn, signed('throws', second)).catch(code)).toBe('WSE_TOKEN_UNAVAILABLE');
    expect(await on.server.refreshToken(conn, signed('b', first)).catch(code)).toBe('WSE_TOKEN_INVALID');
  });

  it('are answered while the server drains and when it has stopped', async () => {
    const on = await start();
    const { conn } = await join(on, tokenOf('ada'));
    const pending = on.server.refreshToken(conn, tokenOf('ada'));
    const stopped = on.server.stop({ timeout: 1 });
    expect(await pending.catch(code)).toBeDefined();
    await stopped;
    expect(await on.server.refreshToken(conn, tokenOf('ada')).catch(code)).toBe('WSE_STOPPED');
    expect(() => on.server.revoke({ sub: 'ada' })).toThrow(expect.objectContaining({ code: 'WSE_STOPPED' }));
  });

  it('need tokens', async () => {
    const on = await startServer(QUIET);
    const client = await Client.open(on.port);
    const [, conn] = await on.take('connect');
    expect(await on.server.refreshToken(conn, 't').catch(code)).toBe('WSE_NO_JWT');
    expect(() => on.server.revoke({ sub: 'ada' })).toThrow(expect.objectContaining({ code: 'WSE_NO_JWT' }));
    client.send(ask('t'));
    expect((await on.take('msg', conn))[2]).toMatchObject({ t: 'auth_refresh', p: { token: 't' } });
    const idle = new RustWSEServer({ jwt: { secret: SECRET } });
    expect(await idle.refreshToken(1, 't').catch(code)).toBe('WSE_NOT_RUNNING');
  });
});

describe('auth_expiring', () => {
  it('is told once per token, to the client and in every style', async () => {
    const on = await start({ expiryWarning: 30, leeway: 0 });
    const exp = now() + 20;
    const { client, conn } = await join(on, tokenOf('ada', { exp }));
    expect(await next(client)).toMatchObject({ t: 'auth_expiring', p: { expires_at: exp } });
    const [, , expiring] = await on.take('auth_expiring', conn);
    expect(expiring).toEqual({ expiresAt: new Date(exp * 1000), expiresIn: expect.any(Number) });
    expect(expiring.expiresIn).toBeLessThanOrEqual(20);
    await on.server.refreshToken(conn, tokenOf('ada', { exp: exp + 1 }));
    expect((await next(client)).t).toBe('auth_refreshed');
    expect((await next(client)).t).toBe('auth_expiring');
    expect((await on.take('auth_expiring', conn))[2].expiresAt).toEqual(new Date((exp + 1) * 1000));
  });

  it.each(['serve', 'setCallbacks'] as const)('reaches %s, with unsubscribe', async (style) => {
    const on = await startServer({
      ...QUIET,
      keep: false,
      allowedOrigins: [],
      jwt: { secret: SECRET, expiryWarning: 3600 },
    });
    const heard: [string, number, unknown][] = [];
    const unsubscribe = (conn: number, info: unknown): unknown => heard.push(['unsubscribe', conn, info]);
    const authExpiring = (conn: number, info: unknown): unknown => heard.push(['authExpiring', conn, info]);
    if (style === 'serve') void on.server.serve({ unsubscribe, authExpiring });
    else on.server.setCallbacks({ onUnsubscribe: unsubscribe, onAuthExpiring: authExpiring });
    await Client.open(on.port, { headers: { authorization: `Bearer ${tokenOf('ada', { exp: now() + 60 })}` } });
    await waitUntil(() => heard.length === 1, 'authExpiring');
    const conn = heard[0]?.[1] as number;
    on.server.subscribeConnection(conn, ['a']);
    await on.server.refreshToken(conn, tokenOf('ada', { exp: now() + 7200, wse_topics: { deny: ['a'] } }));
    await waitUntil(() => heard.length === 2, 'unsubscribe');
    expect(heard[1]).toEqual(['unsubscribe', conn, { topics: ['a'], refused: [], reason: 'not_allowed' }]);
  });

  it('is off with 0', async () => {
    const on = await start({ expiryWarning: 0, leeway: 0 });
    const { client } = await join(on, tokenOf('ada', { exp: now() + 4 }));
    expect(await client.closed()).toBe(4401);
    expect([client.texts, on.events.filter(([type]) => type === 'auth_expiring')]).toEqual([[], []]);
  });
});

describe('revoke()', () => {
  it('refuses a user and closes what is open, until there is a later token', async () => {
    const on = await start();
    const old = tokenOf('ada', { iat: now() - 5 });
    const [first, second, bob] = [await join(on, old), await join(on, tokenOf('ada')), await join(on, tokenOf('bob'))];
    expect(on.server.revoke({ sub: 'ada' })).toBe(2);
    expect([await first.client.closed(), await second.client.closed()]).toEqual([4401, 4401]);
    expect(first.client.reason).toBe('Token revoked');
    expect([await refused(on, old), await refused(on, tokenOf('ada'))]).toEqual([4401, 4401]);
    const later = await join(on, tokenOf('ada', { iat: now() + 2 }));
    expect(await on.server.refreshToken(later.conn, old).catch(code)).toBe('WSE_TOKEN_REVOKED');
    expect(bob.client.code).toBeUndefined();
    expect([on.metric('wse_revoked_connections_total'), on.metric('wse_revocations')]).toEqual([2, 1]);
  });

  it('means one token by its id, whoever has it, or of one user', async () => {
    const on = await start();
    const [ada, bob] = [await join(on, tokenOf('ada', { jti: '1' })), await join(on, tokenOf('bob', { jti: '1' }))];
    expect(on.server.revoke({ jti: '1', sub: 'bob' })).toBe(1);
    expect(await bob.client.closed()).toBe(4401);
    expect(ada.client.code).toBeUndefined();
    expect(on.server.revoke({ jti: '1' })).toBe(1);
    expect(await ada.client.closed()).toBe(4401);
    await join(on, tokenOf('ada', { jti: '2' }));
  });

  it('says when the list is full, and then does nothing', async () => {
    const on = await start({ maxRevocations: 3 });
    const { client } = await join(on, tokenOf('ada'));
    for (const sub of ['x', 'y', 'z', 'x']) expect(on.server.revoke({ sub })).toBe(0);
    expect(() => on.server.revoke({ sub: 'ada' })).toThrow(expect.objectContaining({ code: 'WSE_REVOCATIONS_FULL' }));
    expect([on.gauge('revocations'), on.gauge('revocations_limit')]).toEqual([3, 3]);
    client.send('{"t":"hello"}');
    expect((await on.take('msg'))[2].t).toBe('hello');
  });

  it('forgets with maxLifetime what can match nothing any more', async () => {
    const on = await start({ maxRevocations: 1, maxLifetime: 60, leeway: 0 });
    expect(on.server.revoke({ sub: 'ada', before: now() - 100 })).toBe(0);
    expect(on.server.revoke({ sub: 'bob', before: new Date() })).toBe(0);
    expect(() => on.server.revoke({ sub: 'eve' })).toThrow(expect.objectContaining({ code: 'WSE_REVOCATIONS_FULL' }));
    expect(await refused(on, tokenOf('ada', { iat: now() }))).toBe(4401);
    expect(await refused(on, tokenOf('ada', { exp: now() + 50 }))).toBe(4401);
    await join(on, tokenOf('ada', { iat: now(), exp: now() + 60 }));
  });

  it.each([
    [{}, 'sub or a jti'],
    [{ sub: null }, 'sub or a jti'],
    [{ sub: '' }, 'revocation.sub'],
    [{ sub: 7 }, 'revocation.sub'],
    [{ jti: 'x'.repeat(8193) }, 'revocation.jti'],
    [{ sub: 'a', before: -1 }, 'revocation.before'],
    [{ sub: 'a', before: Number.NaN }, 'revocation.before'],
    [{ sub: 'a', before: '7' }, 'revocation.before'],
    [{ sub: 'a', before: 2 ** 53 }, 'milliseconds are a Date'],
    [{ sub: 'a', before: 2 ** 63 }, 'milliseconds are a Date'],
    [{ sub: 'a', before: Date.now() }, 'milliseconds are a Date'],
    [{ sub: 'a', before: Number.POSITIVE_INFINITY }, 'revocation.before'],
    [{ sub: 'a', before: new Date(Number.NaN) }, 'revocation.before'],
    ['ada', 'revocation'],
    [null, 'revocation'],
  ])('refuses %j', async (revocation, text) => {
    const on = await start();
    const revoke = (): number => on.server.revoke(revocation as never);
    expect(revoke).toThrow(TypeError);
    expect(revoke).toThrow(text);
    expect(on.gauge('revocations')).toBe(0);
  });
});

describe('disconnectUser()', () => {
  it('asks all connections of a user to close, and says how many', async () => {
    const on = await start();
    const clients = [await join(on, tokenOf('ada')), await join(on, tokenOf('ada'))];
    const bob = await join(on, tokenOf('bob'));
    expect(on.server.disconnectUser('ada', { code: 4403, reason: 'suspended' })).toBe(2);
    for (const { client } of clients) expect([await client.closed(), client.reason]).toEqual([4403, 'suspended']);
    expect([on.server.disconnectUser('nobody'), bob.client.code]).toEqual([0, undefined]);
    // Published clients end for good after 1000 and come back after 4300.
    expect(on.server.disconnectUser('bob')).toBe(1);
    expect(await bob.client.closed()).toBe(4300);
  });
});
