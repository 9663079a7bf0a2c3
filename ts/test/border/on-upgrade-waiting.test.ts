/** Who waits for `onUpgrade`: in bounds, with a deadline, and at nobody else's cost. */

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { OnUpgrade, UpgradeAnswer } from '../../src/index.js';
import { selfSigned } from '../support/certificate.js';
import { frame, RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { type TestServer, waitUntil } from '../support/server.js';
import { never, start, startUnanswered, statusOf } from './asked.js';
import { Client, heardSoFar, join } from './client.js';

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
    const { on, signals } = await startUnanswered();
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
    const { on, signals } = await startUnanswered();
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
