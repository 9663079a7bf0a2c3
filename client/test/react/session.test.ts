/** A session without components: what it says of its connection while it has one, and when it has none any more. */

import '../support/dom.js';
import { expect, it } from 'vitest';
import { startServer } from '../../../ts/test/support/server.js';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { NOWHERE, sessionFor } from '../../src/react/session.js';
import { Peer } from '../support/wse.js';

it('says nothing of its last connection once nobody has come back', async () => {
  const peer = await Peer.start();
  // The next attempt is far away.
  const session = sessionFor({ url: peer.url, linger: 0, reconnect: { baseDelay: 60_000, maxDelay: 60_000 } });
  const leave = session.acquire();
  const connection = await peer.connection(0);
  connection.ready();
  await waitUntil(() => session.info.isConnected, 'connection');
  connection.socket.close(4429, 'busy');
  await waitUntil(() => session.info.retryIn !== undefined, 'an attempt to wait for');
  expect(session.info).toMatchObject({ url: peer.url, code: 4429, reason: 'busy' });
  leave();
  await waitUntil(() => session.info.state === 'pending', 'the end');
  expect(session.info).toEqual(NOWHERE);
});

it('is drawn as it is by a schedule that does not wait', async () => {
  const peer = await Peer.start();
  const session = sessionFor({ url: peer.url, linger: 0, schedule: (fn) => fn() });
  const told: string[] = [];
  session.watch(() => told.push(session.info.state));
  const leave = session.acquire();
  (await peer.connection(0)).ready();
  await waitUntil(() => session.client?.isConnected, 'connection');
  expect(session.info).toMatchObject({ state: 'connected', isConnected: true });
  leave();
  await waitUntil(() => session.client === undefined, 'the end');
  expect(told.at(-1)).toBe('pending');
});

it('goes on with its streams when a client that has ended is replaced', async () => {
  const server = await startServer({ subscriptions: 'acl', recovery: true });
  const seen: unknown[] = [];
  server.server.publish('a', 'tick', 0);
  const { epoch = '' } = server.server.position('a') ?? {};
  const session = sessionFor({
    url: `ws://127.0.0.1:${server.port}`,
    linger: 0,
    initial: { a: { value: [], epoch, offset: 0 } },
  });
  const leave = session.acquire();
  session.store.listen('a', ({ payload }) => seen.push(payload));
  const [, conn] = await server.take('connect');
  for (const n of [1, 2]) server.server.publish('a', 'tick', n);
  await waitUntil(() => seen.length === 3, 'the first');
  server.server.disconnect(conn, { code: 4403 });
  await waitUntil(() => session.info.state === 'error', 'the end');
  server.server.publish('a', 'tick', 3);
  session.replace();
  await waitUntil(() => seen.length > 3, 'what was missed');
  server.server.publish('a', 'tick', 4);
  await waitUntil(() => seen.at(-1) === 4, 'the last');
  expect(seen).toEqual([0, 1, 2, 3, 4]);
  leave();
});
