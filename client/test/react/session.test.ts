/** A session without components: what it says of its connection while it has one, and when it has none any more. */

import '../support/dom.js';
import { expect, it } from 'vitest';
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
