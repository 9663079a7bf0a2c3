/** Where a token may be: whoever sends it there is let in, and nobody else. */

import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { encodeJwt, type WSEServerOptions } from '../../src/index.js';
import { type RawHeaders, RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { Client, QUIET } from './client.js';

const SECRET = 's'.repeat(32);
const tokenOf = (sub: string): string => encodeJwt({ sub, exp: Math.floor(Date.now() / 1000) + 60 }, SECRET);

type From = NonNullable<NonNullable<WSEServerOptions['jwt']>['from']>;

function start(from: From | undefined, options: Partial<WSEServerOptions> = {}): Promise<TestServer> {
  return startServer({
    ...QUIET,
    protocols: ['chat.v1', 'chat.v2'],
    allowedOrigins: ['https://a.example'],
    jwt: { secret: SECRET, ...(from === undefined ? {} : { from }) },
    ...options,
  });
}

/** Everything at once, each with another user. */
const EVERYWHERE: { path: string; headers: RawHeaders } = {
  path: `/?a=1&access_token=${tokenOf('query')}`,
  headers: [
    ['Cookie', `access_token=${tokenOf('cookie')}`],
    ['Authorization', `Bearer ${tokenOf('header')}`],
    ['Sec-WebSocket-Protocol', `chat.v2, bearer.${tokenOf('subprotocol')}`],
  ],
};

describe('jwt.from', () => {
  it.each<[From | undefined, string]>([
    [undefined, 'cookie'],
    [['header'], 'header'],
    [['query'], 'query'],
    [['subprotocol'], 'subprotocol'],
    [['subprotocol', 'query', 'cookie'], 'subprotocol'],
    [['query', 'cookie', 'header'], 'query'],
  ])('%j takes the first of its places that has one', async (from, user) => {
    const on = await start(from);
    const peer = await RawPeer.open(on.port, EVERYWHERE);
    const [, conn, name] = await on.take('auth_connect');
    expect(name).toBe(user);
    // The token is neither agreed on nor shown.
    expect(on.server.getConnectionInfo(conn)).toMatchObject({ user, path: '/', protocol: 'chat.v2' });
    peer.destroy();
  });

  it.each<[From, string, { path?: string; headers?: Record<string, string>; protocols?: string[] }]>([
    [['query'], 'no parameter', { headers: { authorization: `Bearer ${tokenOf('x')}` } }],
    [['query'], 'another parameter', { path: `/?token=${tokenOf('x')}` }],
    [['query'], 'a broken token', { path: `/?access_token=${tokenOf('x').slice(0, -3)}` }],
    [
      ['query', 'header'],
      'a broken one before a good one',
      {
        path: '/?access_token=nonsense',
        headers: { authorization: `Bearer ${tokenOf('x')}` },
      },
    ],
    [['header'], 'a query where none is looked at', { path: `/?access_token=${tokenOf('x')}` }],
  ])('%j refuses %s', async (from, _, request) => {
    const on = await start(from, { protocols: null });
    const client = await Client.open(on.port, request);
    expect(await client.closed()).toBe(4401);
    expect(on.events).toEqual([]);
  });

  it('lets an ordinary client in by a subprotocol, and answers 401 on a raw endpoint without', async () => {
    const on = await start(['subprotocol'], { protocol: 'raw' });
    const { WebSocket } = await import('ws');
    const client = new WebSocket(`ws://127.0.0.1:${on.port}`, ['chat.v1', `bearer.${tokenOf('ada')}`]);
    await once(client, 'open');
    const [, , user] = await on.take('auth_connect');
    expect([user, client.protocol]).toEqual(['ada', 'chat.v1']);
    client.terminate();
    const [refused] = await RawPeer.ask(
      on.port,
      `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat.v1, bearer.nonsense\r\n\r\n`,
    );
    expect(refused.status).toBe(401);
  });

  it('reads the parameter queryName names', async () => {
    const on = await start(undefined, { jwt: { secret: SECRET, from: ['query'], queryName: 'ticket' } });
    await Client.open(on.port, { path: `/?ticket=${tokenOf('ada')}`, headers: { 'sec-websocket-protocol': 'chat.v1' } }).catch(
      () => undefined,
    );
    expect((await on.take('auth_connect'))[2]).toBe('ada');
  });
});
