/** `jwt.keys`: which key a token is checked with is asked for by its name, seldom, and never decides how it is checked. */

import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type JwtKeys, RustWSEServer, type WSEServerOptions } from '../../src/index.js';
import { RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }) as string;
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const claims = (sub = 'ada'): object => ({ sub, exp: Math.floor(Date.now() / 1000) + 60 });

interface Pair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

const first: Pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const second: Pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** An ES256 token that names `kid`. */
function token(kid: string | undefined, { privateKey }: Pair, sub?: string): string {
  const message = `${part({ alg: 'ES256', ...(kid === undefined ? {} : { kid }) })}.${part(claims(sub))}`;
  return `${message}.${sign('sha256', Buffer.from(message), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

function start(keys: JwtKeys, options: Partial<WSEServerOptions> = {}, jwt: object = {}): Promise<TestServer> {
  // Raw, so that a refused token shows as a status.
  return startServer({ ...QUIET, protocol: 'raw', ...options, jwt: { algorithm: 'ES256', keys, ...jwt } });
}

async function statusOf(on: TestServer, bearer: string): Promise<number> {
  const headers = [['Authorization', `Bearer ${bearer}`]] as const;
  const [response, peer] = await RawPeer.ask(on.port, upgradeRequest({ headers }));
  peer.destroy();
  return response.status;
}

function warnings(): string[] {
  const heard: string[] = [];
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation(((warning: unknown, options: { code?: string }) => {
    heard.push(`${options?.code}: ${String(warning)}`);
  }) as typeof process.emitWarning);
  onTestFinished(() => spy.mockRestore());
  return heard;
}

describe('jwt.keys', () => {
  it('finds each key by its name, once', async () => {
    const asked: (string | null)[] = [];
    const on = await start(async (kid) => {
      asked.push(kid);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return { a: pem(first.publicKey), b: pem(second.publicKey) }[kid ?? ''] ?? null;
    });
    const many = await Promise.all(Array.from({ length: 40 }, () => statusOf(on, token('a', first))));
    expect(new Set(many)).toEqual(new Set([101]));
    expect(await statusOf(on, token('b', second))).toBe(101);
    expect(await statusOf(on, token('a', first))).toBe(101);
    // Another's name does not help, nor does one nobody knows, nor none.
    expect(await statusOf(on, token('a', second))).toBe(401);
    expect(await statusOf(on, token('c', first))).toBe(401);
    expect(await statusOf(on, token('c', first))).toBe(401);
    expect(await statusOf(on, token(undefined, first))).toBe(401);
    expect(asked).toEqual(['a', 'b', 'c', null]);
  });

  it('gives a key to tokens that name none', async () => {
    const on = await start((kid) => (kid === null ? pem(first.publicKey) : null));
    expect(await statusOf(on, token(undefined, first))).toBe(101);
  });

  it('takes a secret as text or bytes, for HS256', async () => {
    const secret = Buffer.from([...Array(32).keys()].map((n) => n + 200));
    const on = await start((kid) => (kid === 'text' ? 't'.repeat(32) : new Uint8Array(secret)), {}, { algorithm: 'HS256' });
    for (const [kid, key] of [
      ['text', 't'.repeat(32)],
      ['bytes', secret],
    ] as const) {
      const message = `${part({ alg: 'HS256', kid })}.${part(claims())}`;
      expect(await statusOf(on, `${message}.${createHmac('sha256', key).update(message).digest('base64url')}`)).toBe(101);
    }
  });

  it('asks nothing for a token no key would make good, and never lets it choose how it is checked', async () => {
    let asked = 0;
    const on = await start(() => {
      asked += 1;
      return pem(first.publicKey);
    });
    const good = token('a', first).split('.') as [string, string, string];
    for (const bad of [
      'nonsense',
      `${part({ alg: 'none', kid: 'a' })}.${good[1]}.`,
      `${part({ alg: 'HS256', kid: 'a' })}.${good[1]}.${good[2]}`,
      `${part({ alg: 'ES256', kid: 7 })}.${good[1]}.${good[2]}`,
      `${part({ alg: 'ES256', kid: 'x'.repeat(257) })}.${good[1]}.${good[2]}`,
      `${part({ alg: 'ES256', kid: 'a', crit: ['x'] })}.${good[1]}.${good[2]}`,
    ]) {
      expect(await statusOf(on, bad)).toBe(401);
    }
    expect(asked).toBe(0);
    // The public key as the secret of an HMAC: the confusion of algorithms.
    const message = `${part({ alg: 'HS256', kid: 'a' })}.${part(claims())}`;
    expect(
      await statusOf(on, `${message}.${createHmac('sha256', pem(first.publicKey)).update(message).digest('base64url')}`),
    ).toBe(401);
    expect(await statusOf(on, token('a', first))).toBe(101);
  });

  it('asks again when the time of a key is over', async () => {
    let key = first;
    let asked = 0;
    const on = await start(
      () => {
        asked += 1;
        return pem(key.publicKey);
      },
      {},
      { keysTtl: 0.3 },
    );
    expect(await statusOf(on, token('a', first))).toBe(101);
    key = second;
    await waitUntil(async () => (await statusOf(on, token('a', second))) === 101, 'the new key');
    expect(await statusOf(on, token('a', first))).toBe(401);
    expect(asked).toBeGreaterThan(1);
  });

  it.each<[string, JwtKeys, string]>([
    ['throws', () => JSON.parse('on purpose'), 'WSE_KEYS_FAILED'],
    ['rejects', () => Promise.reject(new Error('on purpose')), 'on purpose'],
    ['answers with a number', () => 7 as unknown as string, 'must be a string, bytes, or null'],
    ['answers with no key', () => 'no key at all', 'key'],
    ['answers with a private key', () => first.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, 'PEM public key'],
  ])('where it %s: a 503, a report, and another try later', async (_, failing, report) => {
    const heard = warnings();
    let fails = true;
    const on = await start((kid) => (fails ? failing(kid) : pem(first.publicKey)));
    expect(await statusOf(on, token('a', first))).toBe(503);
    await waitUntil(
      () => heard.some((text) => text.includes(report)),
      () => `${report} in ${heard.join()}`,
    );
    fails = false;
    await waitUntil(async () => (await statusOf(on, token('a', first))) === 101, 'another try');
  });

  it('where it does not answer in time: a 503, one report, and another try after a second', async () => {
    const heard = warnings();
    const reports = (): string[] => heard.filter((text) => text.startsWith('WSE_KEYS_FAILED'));
    const asked: number[] = [];
    const late: ((key: string) => void)[] = [];
    const begun = performance.now();
    const on = await start(
      () => {
        asked.push(performance.now());
        return asked.length > 1 ? pem(first.publicKey) : new Promise((resolve) => late.push(resolve));
      },
      { handshake: { upgradeTimeout: 0.5 } },
    );
    const all = await Promise.all(Array.from({ length: 10 }, () => statusOf(on, token('a', first))));
    expect(new Set(all)).toEqual(new Set([503]));
    await waitUntil(() => reports().length > 0, 'a report');
    // What it says now counts for nothing, and is no second failure.
    late[0]?.(pem(first.publicKey));
    await waitUntil(async () => (await statusOf(on, token('a', first))) === 101, 'another try');
    expect(asked.length).toBe(2);
    expect((asked[1] as number) - begun).toBeGreaterThan(1490);
    expect(reports()).toEqual([expect.stringMatching(/handshake\.upgradeTimeout/)]);
    // Who came when it was late already did not wait.
    expect(on.metric('wse_upgrades_unanswered_total')).toBeGreaterThan(0);
  });

  it('is bounded: time, names by the thousand, and who knows a key gets in all the while', async () => {
    let asked = 0;
    const on = await start(
      (kid) => {
        asked += 1;
        return kid === 'good' ? pem(first.publicKey) : new Promise(() => {});
      },
      { handshake: { upgradeTimeout: 1 } },
    );
    expect(await statusOf(on, token('good', first))).toBe(101);
    expect(await statusOf(on, token('slow', first))).toBe(503);
    expect(on.metric('wse_upgrades_unanswered_total')).toBe(1);
    for (let round = 0; round < 5; round += 1) {
      const flood = await Promise.all(Array.from({ length: 100 }, (_, n) => statusOf(on, token(`${round} ${n}`, second))));
      expect(new Set(flood)).toEqual(new Set([503]));
      expect(await statusOf(on, token('good', first))).toBe(101);
    }
    expect(asked).toBeLessThan(200);
    await waitUntil(() => on.gauge('waiting_upgrades') === 0 && on.gauge('pending_handshakes') === 0, 'their places');
  });

  it('outlives the one who asked first', async () => {
    let answer: ((key: string) => void) | undefined;
    const on = await start(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    const headers = [['Authorization', `Bearer ${token('a', first)}`]] as const;
    const leaving = await RawPeer.dial(on.port);
    leaving.send(upgradeRequest({ headers }));
    await waitUntil(() => answer !== undefined, 'the question');
    const staying = await RawPeer.dial(on.port);
    staying.send(upgradeRequest({ headers }));
    await waitUntil(() => on.gauge('waiting_upgrades') === 2, 'both');
    leaving.socket.resetAndDestroy();
    await waitUntil(() => on.gauge('waiting_upgrades') === 1, 'one');
    answer?.(pem(first.publicKey));
    expect((await staying.response()).status).toBe(101);
    staying.destroy();
  });

  it.each(['drain', 'stop'] as const)('lets nobody wait when %s() is called', async (end) => {
    const on = await start(() => new Promise(() => {}), { handshake: { timeout: 600, upgradeTimeout: 599 } });
    const peer = await RawPeer.dial(on.port);
    peer.send(upgradeRequest({ headers: [['Authorization', `Bearer ${token('a', first)}`]] }));
    await waitUntil(() => on.gauge('waiting_upgrades') === 1, 'one');
    const ended = on.server[end]({ timeout: 5 });
    expect((await peer.response()).status).toBe(503);
    await ended;
  });

  it('refuses as ever on a WSE endpoint, and hands claims to onUpgrade', async () => {
    const seen: unknown[] = [];
    const on = await start((kid) => (kid === 'a' ? pem(first.publicKey) : null), {
      protocol: 'wse',
      onUpgrade: ({ user, claims }) => {
        seen.push(user, claims?.['sub']);
        return { data: 1 };
      },
    });
    const refused = await Client.open(on.port, { headers: { authorization: `Bearer ${token('b', first)}` } });
    expect(await refused.closed()).toBe(4401);
    await Client.open(on.port, { headers: { authorization: `Bearer ${token('a', first, 'bob')}` } });
    const [, conn, user] = await on.take('auth_connect');
    expect([user, ...seen, on.server.getConnectionInfo(conn)?.data]).toEqual(['bob', 'bob', 'bob', 1]);
  });

  it.each<[string, object]>([
    ['jwt.secret', { secret: 's'.repeat(32), keys: () => null }],
    ['jwt.previousSecret', { previousSecret: 's'.repeat(32), keys: () => null }],
    ['jwt.keyId', { keyId: 'a', keys: () => null }],
    ['jwt.keysTtl', { secret: 's'.repeat(32), keysTtl: 5 }],
    ['jwt.keysTtl', { keysTtl: 600_000, keys: () => null }],
    ['jwt.keys', { keys: 'https://issuer.example/jwks.json' }],
    ['jwt.secret', {}],
  ])('refuses %s where it has no meaning', (path, jwt) => {
    const make = (): unknown => new RustWSEServer({ port: 0, jwt } as unknown as WSEServerOptions);
    expect(make).toThrow(expect.objectContaining({ code: 'WSE_CONFIG_INVALID', path }));
  });
});
