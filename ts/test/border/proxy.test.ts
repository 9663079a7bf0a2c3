/** Whose address a client has behind a proxy: what a proxy says counts, what anybody else says does not. */

import { describe, expect, it } from 'vitest';
import { RustWSEServer, type WSEServerOptions } from '../../src/index.js';
import { type RawHeaders, RawPeer } from '../support/raw-peer.js';
import { startServer, waitUntil } from '../support/server.js';
import { QUIET } from './client.js';

async function addressOf(trustProxy: WSEServerOptions['trustProxy'], headers: RawHeaders): Promise<string | undefined> {
  const on = await startServer({ ...QUIET, ...(trustProxy === undefined ? {} : { trustProxy }) });
  const peer = await RawPeer.open(on.port, { headers });
  const [, conn] = await on.take('connect');
  const address = on.server.getConnectionInfo(conn)?.address;
  peer.destroy();
  return address;
}

const LOCAL = { addresses: ['127.0.0.1', '10.0.0.0/8'] };

describe('trustProxy', () => {
  it.each<[string, WSEServerOptions['trustProxy'], RawHeaders, string]>([
    ['nobody is trusted', undefined, [['X-Forwarded-For', '203.0.113.7']], '127.0.0.1'],
    ['the proxy is another one', { addresses: ['192.0.2.1'] }, [['X-Forwarded-For', '203.0.113.7']], '127.0.0.1'],
    ['it names the client', LOCAL, [['X-Forwarded-For', '203.0.113.7']], '203.0.113.7'],
    ['it says nothing', LOCAL, [], '127.0.0.1'],
    ['the client lies in front', LOCAL, [['X-Forwarded-For', '1.1.1.1, 203.0.113.7, 10.1.2.3']], '203.0.113.7'],
    [
      'in several headers',
      LOCAL,
      [
        ['X-Forwarded-For', '1.1.1.1'],
        ['x-forwarded-for', '203.0.113.7'],
      ],
      '203.0.113.7',
    ],
    [
      'the client lies in the other header',
      LOCAL,
      [
        ['Forwarded', 'for=1.1.1.1'],
        ['X-Forwarded-For', '203.0.113.7'],
      ],
      '203.0.113.7',
    ],
    ['in Forwarded', { ...LOCAL, header: 'forwarded' }, [['Forwarded', 'for="[2001:db8::1]:80";proto=https']], '2001:db8::1'],
    ['in words', LOCAL, [['X-Forwarded-For', 'unknown']], '127.0.0.1'],
  ])('where %s', async (_, trustProxy, headers, expected) => {
    expect(await addressOf(trustProxy, headers)).toBe(expected);
  });

  it('lets a proxy have as many handshakes in progress as there may be', async () => {
    const handshake = { maxPendingPerAddress: 2 };
    for (const [trustProxy, admitted] of [
      [null, 2],
      [LOCAL, 6],
    ] as const) {
      const on = await startServer({ ...QUIET, handshake, trustProxy });
      const peers = await Promise.all(Array.from({ length: 6 }, () => RawPeer.dial(on.port)));
      await waitUntil(() => on.gauge('pending_handshakes') === admitted, `${admitted} in progress`);
      for (const peer of peers) peer.destroy();
    }
  });

  it.each(['10.0.0.0/33', 'localhost', '10.0.0', '::/129'])('refuses the network %s', (network) => {
    const options = { port: 0, trustProxy: { addresses: ['127.0.0.1', network] } };
    const make = (): unknown => new RustWSEServer(options);
    expect(make).toThrow(expect.objectContaining({ code: 'WSE_CONFIG_INVALID', path: 'trustProxy.addresses[1]' }));
  });
});
