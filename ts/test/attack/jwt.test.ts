/**
 * Tokens that must not be believed: CVE-2026-25537 GHSA-h395-gr6q-cpjc (jsonwebtoken), CVE-2026-44459 (hono),
 * CVE-2026-31904 (unlimited attempts). The upgrade succeeds, then comes the error and Close 4401.
 */

import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { JwtOptions } from '../../src/index.js';
import { type RawHeaders, RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, waitUntil } from '../support/server.js';
import { alone, attacked, unharmed } from './witness.js';

const SECRET = 'the-secret-of-this-test-0123456789';
const NOW = Math.floor(Date.now() / 1000);
const GOOD_CLAIMS = `{"sub":"u","exp":${NOW + 600}}`;
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const PUBLIC_PEM = publicKey.export({ type: 'spki', format: 'pem' }).toString();

const part = (text: string | Buffer): string => Buffer.from(text).toString('base64url');

/** A token with a right HS256 signature over whatever text. */
function signed(claims: string, header = '{"alg":"HS256","typ":"JWT"}', key: string | Buffer = SECRET): string {
  const message = `${part(header)}.${part(claims)}`;
  return `${message}.${createHmac('sha256', key).update(message).digest('base64url')}`;
}

const bearer = (token: string): RawHeaders => [['Authorization', `Bearer ${token}`]];
const guarded = (jwt: Partial<JwtOptions> = {}): { jwt: JwtOptions; allowedOrigins: string[] } => ({
  jwt: { secret: SECRET, ...jwt },
  allowedOrigins: [],
});

async function refused(
  port: number,
  headers: RawHeaders,
  code = 'AUTH_FAILED',
  message = 'Authentication failed',
): Promise<void> {
  const peer = await RawPeer.open(port, { headers });
  const error = JSON.parse(await peer.nextText()) as { t: string; p: { code: string; message: string } };
  expect(error).toMatchObject({ t: 'error', p: { code, message } });
  expect(await peer.closing()).toEqual({ code: 4401, reason: 'Authentication failed' });
  peer.destroy();
}

const good = signed(GOOD_CLAIMS);
const [goodHeader = '', goodClaims = '', goodSignature = ''] = good.split('.');

const FORGED: [string, string][] = [
  ['alg none without signature', `${part('{"alg":"none"}')}.${part(GOOD_CLAIMS)}.`],
  ['alg none with the signature', signed(GOOD_CLAIMS, '{"alg":"none"}')],
  ['alg nOnE', `${part('{"alg":"nOnE"}')}.${part(GOOD_CLAIMS)}.`],
  ['alg of an empty string', signed(GOOD_CLAIMS, '{"alg":""}')],
  ['no alg', signed(GOOD_CLAIMS, '{"typ":"JWT"}')],
  ['alg hs256', signed(GOOD_CLAIMS, '{"alg":"hs256"}')],
  ['alg HS512', signed(GOOD_CLAIMS, '{"alg":"HS512"}')],
  ['alg RS256', signed(GOOD_CLAIMS, '{"alg":"RS256"}')],
  ['alg in an array', signed(GOOD_CLAIMS, '{"alg":["HS256"]}')],
  ['alg twice', signed(GOOD_CLAIMS, '{"alg":"none","alg":"HS256"}')],
  ['crit', signed(GOOD_CLAIMS, '{"alg":"HS256","crit":["b64"],"b64":false}')],
  ['a header that is an array', signed(GOOD_CLAIMS, '["HS256"]')],
  ['a header that is no JSON', signed(GOOD_CLAIMS, 'HS256')],
  ['a key of its own (jwk)', signed(GOOD_CLAIMS, '{"alg":"HS256","jwk":{"kty":"oct","k":"eHh4"}}', 'xxx')],
  ['a key elsewhere (jku)', signed(GOOD_CLAIMS, '{"alg":"HS256","jku":"http://127.0.0.1/jwks"}', 'xxx')],
  ['a kid that is a path', signed(GOOD_CLAIMS, '{"alg":"HS256","kid":"../../../../dev/null"}', '')],
  ['a kid that is a query', signed(GOOD_CLAIMS, `{"alg":"HS256","kid":"x' UNION SELECT 'k"}`, 'k')],
  ['a kid that is an object', signed(GOOD_CLAIMS, '{"alg":"HS256","kid":{}}')],
  ['the key of nobody', signed(GOOD_CLAIMS, undefined, 'x'.repeat(32))],
  ['an empty key', signed(GOOD_CLAIMS, undefined, '')],
  ['no signature', `${goodHeader}.${goodClaims}.`],
  ['a cut signature', `${goodHeader}.${goodClaims}.${goodSignature.slice(0, -2)}`],
  ['a padded signature', `${good}=`],
  ['two parts', `${goodHeader}.${goodClaims}`],
  ['four parts', `${good}.x`],
  ['five parts (JWE)', `${good}.x.y`],
  ['other claims under the signature', `${goodHeader}.${part(`{"sub":"admin","exp":${NOW + 600}}`)}.${goodSignature}`],
  ['no exp', signed('{"sub":"u"}')],
  ['an exp of the past', signed(`{"sub":"u","exp":${NOW - 60}}`)],
  ['CVE-2026-44459: exp as text', signed(`{"sub":"u","exp":"${NOW + 600}"}`)],
  ['CVE-2026-44459: exp null', signed('{"sub":"u","exp":null}')],
  ['CVE-2026-44459: exp true', signed('{"sub":"u","exp":true}')],
  ['CVE-2026-44459: exp in an array', signed(`{"sub":"u","exp":[${NOW + 600}]}`)],
  ['exp beyond all numbers', signed('{"sub":"u","exp":1e999}')],
  ['exp NaN', signed('{"sub":"u","exp":NaN}')],
  ['exp Infinity', signed('{"sub":"u","exp":Infinity}')],
  ['a negative exp', signed('{"sub":"u","exp":-1e300}')],
  ['CVE-2026-25537: nbf of the future as text', signed(`{"sub":"u","exp":${NOW + 600},"nbf":"${NOW + 300}"}`)],
  ['CVE-2026-25537: nbf of the past as text', signed(`{"sub":"u","exp":${NOW + 600},"nbf":"0"}`)],
  ['nbf null', signed(`{"sub":"u","exp":${NOW + 600},"nbf":null}`)],
  ['nbf of the future', signed(`{"sub":"u","exp":${NOW + 600},"nbf":${NOW + 300}}`)],
  ['nbf beyond all numbers', signed(`{"sub":"u","exp":${NOW + 600},"nbf":1e999}`)],
  ['exp twice', signed(`{"sub":"u","exp":1,"exp":${NOW + 600}}`)],
  ['sub twice', signed(`{"sub":"u","sub":"admin","exp":${NOW + 600}}`)],
  ['a member twice, deep inside', signed(`{"sub":"u","exp":${NOW + 600},"x":[{"a":1,"a":2}]}`)],
  ['claims that are an array', signed('[]')],
  ['claims with something behind', signed(`${GOOD_CLAIMS} {}`)],
  ['claims that are not UTF-8', signed(Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'))],
  ['claims nested 5,000 deep', signed(`{"sub":"u","exp":${NOW + 600},"x":${'['.repeat(2500)}${']'.repeat(2500)}}`)],
  ['more than 8,192 bytes', signed(`{"sub":"u","exp":${NOW + 600},"x":"${'x'.repeat(8192)}"}`)],
  ['topics that are a list', signed(`{"sub":"u","exp":${NOW + 600},"wse_topics":["a"]}`)],
  ['topics that are text', signed(`{"sub":"u","exp":${NOW + 600},"wse_topics":"*"}`)],
  ['topics with a number', signed(`{"sub":"u","exp":${NOW + 600},"wse_topics":{"allow":[1]}}`)],
  ['topics without allow and deny', signed(`{"sub":"u","exp":${NOW + 600},"wse_topics":{}}`)],
  ['topics with Allow', signed(`{"sub":"u","exp":${NOW + 600},"wse_topics":{"Allow":["a"]}}`)],
  ['topics with a member nobody reads', signed(`{"sub":"u","exp":${NOW + 600},"wse_topics":{"deny":["a"],"topics":["b"]}}`)],
  ['a thousand topics', signed(`{"sub":"u","exp":${NOW + 600},"wse_topics":{"allow":[${'"a*",'.repeat(999)}"a"]}}`)],
];

describe('forged tokens', () => {
  it.each(FORGED)('%s', async (_, token) => {
    const { target, witness } = await attacked(guarded(), { headers: bearer(good) });
    await refused(target.port, bearer(token));
    await refused(target.port, [['Cookie', `access_token=${token}`]]);
    expect(target.metric('wse_auth_failures_total')).toBe(2);
    expect(target.events.filter(([type]) => type === 'auth_connect')).toHaveLength(1);
    await alone(target);
    await unharmed(target, witness);
  });

  it.each([
    ['a number', '{"sub":1,"exp":4102444800}'],
    ['empty', '{"sub":"","exp":4102444800}'],
    ['an array', '{"sub":["u"],"exp":4102444800}'],
    ['missing', '{"exp":4102444800}'],
  ])('a subject that is %s', async (_, claims) => {
    const { target, witness } = await attacked(guarded(), { headers: bearer(good) });
    await refused(target.port, bearer(signed(claims)), 'AUTH_FAILED', 'Token missing user ID');
    await unharmed(target, witness);
  });

  it('confusion of algorithms: the public key is no HS256 secret', async () => {
    const message = `${part('{"alg":"RS256"}')}.${part(GOOD_CLAIMS)}`;
    const valid = `${message}.${sign('sha256', Buffer.from(message), privateKey).toString('base64url')}`;
    const options = guarded({ secret: PUBLIC_PEM, algorithm: 'RS256' });
    const { target, witness } = await attacked(options, { headers: bearer(valid) });
    for (const key of [PUBLIC_PEM, PUBLIC_PEM.trim(), publicKey.export({ type: 'spki', format: 'der' })]) {
      await refused(target.port, bearer(signed(GOOD_CLAIMS, '{"alg":"HS256"}', key)));
      await refused(target.port, bearer(signed(GOOD_CLAIMS, '{"alg":"RS256"}', key)));
    }
    await unharmed(target, witness);
  });

  it('a configured issuer, audience or kid is required', async () => {
    const full = `{"sub":"u","exp":${NOW + 600},"iss":"me","aud":["x","you"]}`;
    const header = '{"alg":"HS256","kid":"k1"}';
    const options = guarded({ issuer: 'me', audience: 'you', keyId: 'k1' });
    const { target, witness } = await attacked(options, { headers: bearer(signed(full, header)) });
    for (const token of [
      signed(full),
      signed(full, '{"alg":"HS256","kid":"k2"}'),
      signed(full, '{"alg":"HS256","kid":["k1"]}'),
      signed(full, '{"alg":"HS256","kid":"k1","kid":"k1"}'),
      signed(GOOD_CLAIMS, header),
      signed(full.replace('"me"', '"ME"'), header),
      signed(full.replace('"me"', '["me"]'), header),
      signed(full.replace('["x","you"]', '"your"'), header),
      signed(full.replace('["x","you"]', '{"you":1}'), header),
      signed(full.replace('["x","you"]', 'null'), header),
    ]) {
      await refused(target.port, bearer(token));
    }
    await unharmed(target, witness);
  });

  it('a bad cookie is not saved by a good header, and no token has an answer of its own', async () => {
    const { target, witness } = await attacked(guarded(), { headers: bearer(good) });
    await refused(target.port, [['Cookie', 'access_token=bad'], ...bearer(good)]);
    const none = ['AUTH_REQUIRED', 'No JWT cookie or Authorization header'] as const;
    await refused(target.port, [], ...none);
    await refused(target.port, [['Cookie', `xaccess_token=${good}; Access_Token=${good}`]], ...none);
    await refused(target.port, [['Authorization', `Basic ${good}`]], ...none);
    await unharmed(target, witness);
  });

  it('nothing a refused peer sends is heard', async () => {
    const { target, witness } = await attacked(guarded(), { headers: bearer(good) });
    const peer = await RawPeer.open(target.port, { headers: bearer('x') });
    for (let i = 0; i < 100; i += 1) peer.text('{"t":"let me in"}');
    expect(await peer.closing()).toMatchObject({ code: 4401 });
    peer.end();
    await peer.ended();
    await unharmed(target, witness);
    expect(target.events.filter(([type]) => type === 'msg' || type === 'connect')).toEqual([]);
  });

  it('a live connection whose token expires is closed with 4401', async () => {
    const { target, witness } = await attacked(guarded({ leeway: 0 }), { headers: bearer(good) });
    const peer = await RawPeer.open(target.port, {
      headers: bearer(signed(`{"sub":"u","exp":${Math.floor(Date.now() / 1000) + 2}}`)),
    });
    expect(await peer.closing(8_000)).toMatchObject({ code: 4401 });
    await unharmed(target, witness);
  });
});

describe('unlimited attempts: CVE-2026-31904', () => {
  it('a connection has one attempt, and attempts that linger are bounded per address', async () => {
    const options = { ...guarded(), handshake: { timeout: 1, maxPendingPerAddress: 8 } };
    const { target, witness } = await attacked(options, { headers: bearer(good) });
    const peers = await Promise.all(Array.from({ length: 60 }, () => RawPeer.dial(target.port, { halfOpen: true })));
    for (const peer of peers) peer.send(upgradeRequest({ headers: bearer('guess') }));
    const statuses = await Promise.all(peers.map(async (peer) => (await peer.response()).status));
    expect(statuses.filter((status) => status === 101).length).toBeLessThanOrEqual(8);
    expect(statuses.filter((status) => status === 503).length).toBeGreaterThanOrEqual(52);
    // None of them leaves by itself: the server ends them.
    await Promise.all(peers.map((peer) => peer.ended(5_000)));
    await waitUntil(() => target.gauge('pending_handshakes') === 0, 'end of the attempts', 5_000);
    await RawPeer.open(target.port, { headers: bearer(good) });
    await unharmed(target, witness);
  });

  it('each is counted', async () => {
    const target = await startServer(guarded());
    for (let i = 0; i < 200; i += 1) await refused(target.port, bearer(`guess-${i}`));
    expect(target.metric('wse_auth_failures_total')).toBe(200);
    expect(target.server.getConnectionCount()).toBe(0);
  });
});
