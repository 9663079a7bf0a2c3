/** `trustProxy: { header: 'proxy-protocol' }` against proxies that lie, stutter or stop, and against clients that play proxy. */

import { readdirSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import type { WSEServerOptions } from '../../src/index.js';
import { selfSigned } from '../support/certificate.js';
import { RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';

const QUIET = { serverReady: false, pingInterval: 3600, idleTimeout: 7200 } as const;
const HERE = { addresses: ['127.0.0.1'], header: 'proxy-protocol' } as const;

const v1 = (client: string): Buffer => Buffer.from(`PROXY TCP4 ${client} 10.0.0.1 4711 443\r\n`);
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

function v2(client: string, { command = 0x21, tlvs = Buffer.alloc(0) } = {}): Buffer {
  const six = client.includes(':');
  const octets = six
    ? Buffer.concat([Buffer.from('20010db8', 'hex'), Buffer.alloc(11), Buffer.from([1])])
    : Buffer.from(client.split('.').map(Number));
  const body = Buffer.concat([octets, Buffer.alloc(octets.length), Buffer.from([0x12, 0x67, 1, 187]), tlvs]);
  const head = Buffer.from([command, six ? 0x21 : 0x11, body.length >> 8, body.length & 255]);
  return Buffer.concat([SIGNATURE, head, body]);
}

function start(options: Partial<WSEServerOptions> = {}): Promise<TestServer> {
  return startServer({ ...QUIET, trustProxy: HERE, ...options });
}

async function addressBehind(on: TestServer, header: Buffer, pieces?: number): Promise<string | undefined> {
  const peer = await RawPeer.dial(on.port);
  const bytes = Buffer.concat([header, upgradeRequest({ headers: [['X-Forwarded-For', '1.1.1.1']] })]);
  if (pieces === undefined) peer.send(bytes);
  else await peer.trickle(bytes, pieces);
  const { status } = await peer.response();
  expect(status).toBe(101);
  const [, conn] = await on.take('connect');
  const address = on.server.getConnectionInfo(conn)?.address;
  peer.destroy();
  return address;
}

describe('a trusted proxy', () => {
  it.each<[string, Buffer, string]>([
    ['version 1', v1('203.0.113.7'), '203.0.113.7'],
    ['version 1, UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), '127.0.0.1'],
    ['version 2', v2('203.0.113.8'), '203.0.113.8'],
    ['version 2, IPv6', v2('2001:db8::1'), '2001:db8::1'],
    ['version 2, LOCAL', v2('203.0.113.8', { command: 0x20 }), '127.0.0.1'],
    [
      'version 2 with more behind',
      v2('203.0.113.9', { tlvs: Buffer.concat([Buffer.from([4, 1, 0]), Buffer.alloc(256)]) }),
      '203.0.113.9',
    ],
  ])('names its client: %s', async (_, header, address) => {
    const on = await start();
    expect(await addressBehind(on, header)).toBe(address);
    expect(await addressBehind(on, header, 1)).toBe(address);
    expect(await addressBehind(on, header, 7)).toBe(address);
    expect(on.metric('wse_proxy_errors_total')).toBe(0);
  });

  it('speaks before TLS, and onUpgrade sees the client', async () => {
    const { cert, key } = await selfSigned();
    const seen: string[] = [];
    const on = await start({
      tls: { cert, key },
      onUpgrade: ({ address }) => {
        seen.push(address);
        return {};
      },
    });
    for (const header of [v1('203.0.113.7'), v2('203.0.113.8')]) {
      const socket = net.connect(on.port, '127.0.0.1');
      socket.write(header);
      const secure = tls.connect({ socket, rejectUnauthorized: false });
      secure.on('error', () => {});
      secure.write(upgradeRequest());
      const [, conn] = await on.take('connect');
      expect(on.server.getConnectionInfo(conn)?.address).toBe(seen.at(-1));
      secure.destroy();
    }
    expect(seen).toEqual(['203.0.113.7', '203.0.113.8']);
  });

  it('is not limited itself, but each of its clients is', async () => {
    const on = await start({ handshake: { maxPendingPerAddress: 2 } });
    const dial = async (client: string): Promise<RawPeer> => {
      const peer = await RawPeer.dial(on.port);
      peer.send(v1(client));
      return peer;
    };
    const two = [await dial('203.0.113.1'), await dial('203.0.113.1')];
    await waitUntil(() => on.gauge('pending_handshakes') === 2, 'two');
    const third = await dial('203.0.113.1');
    expect((await third.response()).status).toBe(503);
    const others = await Promise.all(['203.0.113.2', '203.0.113.3', '203.0.113.4'].map(dial));
    for (const peer of others) peer.send(upgradeRequest());
    for (const peer of others) expect((await peer.response()).status).toBe(101);
    for (const peer of two) peer.destroy();
    await waitUntil(() => on.gauge('pending_handshakes') <= 1, 'their places');
    const again = await dial('203.0.113.1');
    again.send(upgradeRequest());
    expect((await again.response()).status).toBe(101);
    for (const peer of [third, again, ...others]) peer.destroy();
  });
});

describe('what is no header', () => {
  it.each<[string, Buffer | string]>([
    ['the request itself', upgradeRequest()],
    ['a TLS hello', Buffer.from('16030100c8010000c40303', 'hex')],
    ['version 3', Buffer.concat([SIGNATURE, Buffer.from([0x31, 0x11, 0, 12]), Buffer.alloc(12)])],
    ['a datagram', v2('203.0.113.7').fill(0x12, 13, 14)],
    ['a name in place of an address', 'PROXY TCP4 evil.example 10.0.0.1 1 2\r\n'],
    ['an address of the other kind', 'PROXY TCP4 2001:db8::1 ::1 1 2\r\n'],
    ['a line without end', `PROXY UNKNOWN ${'x'.repeat(200)}`],
    ['a length of 64 KiB', Buffer.concat([SIGNATURE, Buffer.from([0x21, 0x11, 255, 255]), Buffer.alloc(200)])],
    ['a length too short for its addresses', Buffer.concat([SIGNATURE, Buffer.from([0x21, 0x11, 0, 4]), Buffer.alloc(40)])],
    ['a second header', Buffer.concat([v1('203.0.113.7'), v1('1.1.1.1'), upgradeRequest()])],
  ])('is closed and told nothing but an HTTP error: %s', async (_, bytes) => {
    const on = await start();
    const peer = await RawPeer.dial(on.port);
    peer.send(bytes);
    await waitUntil(() => peer.over !== undefined || peer.bytesRead > 0, 'the end');
    expect(on.server.getConnectionCount()).toBe(0);
    expect(on.events).toEqual([]);
    peer.destroy();
    await waitUntil(() => on.gauge('pending_handshakes') === 0, 'its place');
  });

  it('is counted', async () => {
    const on = await start();
    for (let n = 0; n < 5; n += 1) {
      const peer = await RawPeer.dial(on.port);
      peer.send(upgradeRequest());
      await waitUntil(() => peer.over !== undefined, 'the end');
      expect(peer.bytesRead).toBe(0);
    }
    await waitUntil(() => on.metric('wse_proxy_errors_total') === 5, 'the count');
  });

  it('is not looked for from anybody else: who plays proxy is refused', async () => {
    for (const trustProxy of [{ ...HERE, addresses: ['192.0.2.1'] }, { addresses: ['127.0.0.1'] }, null]) {
      const on = await start({ trustProxy });
      for (const header of [v1('203.0.113.7'), v2('203.0.113.7')]) {
        const [response, peer] = await RawPeer.ask(on.port, Buffer.concat([header, upgradeRequest()]));
        expect(response.status).toBe(400);
        peer.destroy();
      }
      const peer = await RawPeer.open(on.port);
      const [, conn] = await on.take('connect');
      expect(on.server.getConnectionInfo(conn)?.address).toBe('127.0.0.1');
      peer.destroy();
    }
  });

  it.skipIf(process.platform !== 'linux')('leaves nothing behind: hundreds that stop in the middle', async () => {
    const on = await start({ handshake: { timeout: 1.5 } });
    const descriptors = (): number => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    const whole = [v1('203.0.113.7'), v2('203.0.113.7')];
    const peers = await Promise.all(
      Array.from({ length: 300 }, async (_, n) => {
        const peer = await RawPeer.dial(on.port);
        const header = whole[n % 2] as Buffer;
        peer.send(header.subarray(0, n % header.length));
        return peer;
      }),
    );
    await waitUntil(() => on.gauge('pending_handshakes') === 0, 'their places');
    await waitUntil(() => peers.every((peer) => peer.over !== undefined), 'their ends');
    for (const peer of peers) peer.destroy();
    await waitUntil(() => descriptors() <= before + 5, 'descriptors');
    expect(await addressBehind(on, v1('203.0.113.7'))).toBe('203.0.113.7');
  });
});
