/**
 * Cross-site WebSocket hijacking and DNS rebinding: GHSA-vg6x-rcgg-rjx6 (Vite), GHSA-p773-8mf4-rjm5 (farm),
 * CVE-2025-52882, CVE-2025-49596, CVE-2020-28481.
 */

import { describe, expect, it } from 'vitest';
import { encodeJwt } from '../../src/index.js';
import { type RawHeaders, RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer } from '../support/server.js';
import { attacked, unharmed } from './witness.js';

const GOOD = 'https://app.example.com';
const SECRET = 's'.repeat(32);

async function statusOf(port: number, headers: RawHeaders): Promise<number> {
  const [{ status }] = await RawPeer.ask(port, upgradeRequest({ headers }));
  return status;
}

describe('allowedOrigins', () => {
  it.each([GOOD, 'HTTPS://APP.EXAMPLE.COM', 'http://127.0.0.1:3000'])('lets %s in', async (origin) => {
    const { target, witness } = await attacked({ allowedOrigins: [GOOD, 'http://127.0.0.1:3000'] });
    expect(await statusOf(target.port, [['Origin', origin]])).toBe(101);
    await unharmed(target, witness);
  });

  it.each([
    'https://evil.example',
    'null',
    '',
    `${GOOD}.evil.example`,
    `https://evil.example/${GOOD}`,
    'https://app.example.com@evil.example',
    'http://app.example.com',
    `${GOOD}:444`,
    `${GOOD}/`,
    `${GOOD} https://evil.example`,
    'https://sub.app.example.com',
    'https://appxexample.com',
    'https://127.0.0.1',
    'file://',
    '*',
  ])('CSWSH: refuses %j with 403', async (origin) => {
    const { target, witness } = await attacked({ allowedOrigins: [GOOD] });
    expect(await statusOf(target.port, [['Origin', origin]])).toBe(403);
    expect(target.server.getConnectionCount()).toBe(1);
    await unharmed(target, witness);
  });

  it('refuses several origins, whatever their order', async () => {
    const { target, witness } = await attacked({ allowedOrigins: [GOOD] });
    for (const origins of [
      [GOOD, 'https://evil.example'],
      ['https://evil.example', GOOD],
    ]) {
      expect([400, 403]).toContain(
        await statusOf(
          target.port,
          origins.map((origin) => ['Origin', origin] as const),
        ),
      );
    }
    await unharmed(target, witness);
  });

  it('DNS rebinding: a page of another name is refused, whatever Host it resolved to us', async () => {
    const { target, witness } = await attacked({ allowedOrigins: ['http://127.0.0.1:3000'] });
    const request = upgradeRequest({ headers: [['Origin', 'http://evil.example:3000']] });
    const rebound = request.toString('latin1').replace('Host: 127.0.0.1', 'Host: evil.example:3000');
    const [{ status }] = await RawPeer.ask(target.port, rebound);
    expect(status).toBe(403);
    await unharmed(target, witness);
  });

  it.each(['evil.example', 'evil.example:3000', 'localhost.evil.example', '192.168.1.5', '[fe80::1]', ''])(
    'DNS rebinding: a server bound to loopback is not asked for as %j, even where nobody named origins',
    async (host) => {
      const { target, witness } = await attacked();
      const request = upgradeRequest({ headers: [['Origin', `http://${host}`]] });
      const rebound = request.toString('latin1').replace('Host: 127.0.0.1', `Host: ${host}`);
      const [{ status }] = await RawPeer.ask(target.port, rebound);
      expect(status).toBe(403);
      await unharmed(target, witness);
    },
  );

  it.each(['localhost', 'localhost:3000', 'LOCALHOST', 'app.localhost', '127.0.0.1:80', '[::1]'])(
    'a server bound to loopback is asked for as %j',
    async (host) => {
      const { target, witness } = await attacked();
      const request = upgradeRequest().toString('latin1').replace('Host: 127.0.0.1', `Host: ${host}`);
      const [{ status }] = await RawPeer.ask(target.port, request);
      expect(status).toBe(101);
      await unharmed(target, witness);
    },
  );

  it('any host passes once origins are named: a proxy on the same machine hands on the public one', async () => {
    const { target, witness } = await attacked({ allowedOrigins: [GOOD] });
    const request = upgradeRequest({ headers: [['Origin', GOOD]] });
    const [{ status }] = await RawPeer.ask(
      target.port,
      request.toString('latin1').replace('Host: 127.0.0.1', 'Host: app.example.com'),
    );
    expect(status).toBe(101);
    await unharmed(target, witness);
  });

  it('an empty list lets in only who has no origin', async () => {
    const { target, witness } = await attacked({ allowedOrigins: [] });
    expect(await statusOf(target.port, [['Origin', GOOD]])).toBe(403);
    await unharmed(target, witness);
  });

  it('a cookie of the user does not help a foreign page, and the token is not even looked at', async () => {
    const target = await startServer({ jwt: { secret: SECRET }, allowedOrigins: [GOOD] });
    const token = encodeJwt({ sub: 'user', exp: Math.floor(Date.now() / 1000) + 60 }, SECRET);
    const cookie: RawHeaders = [['Cookie', `access_token=${token}`]];
    expect(await statusOf(target.port, [...cookie, ['Origin', 'https://evil.example']])).toBe(403);
    expect(
      await statusOf(target.port, [
        ['Cookie', 'access_token=x'],
        ['Origin', 'https://evil.example'],
      ]),
    ).toBe(403);
    expect(target.metric('wse_auth_failures_total')).toBe(0);
    expect(await statusOf(target.port, [...cookie, ['Origin', GOOD]])).toBe(101);
  });
});
