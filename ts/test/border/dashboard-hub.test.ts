/** The dashboard's hub, against an engine: what a tab gets that asks for more than it may have. */

import { expect, it, onTestFinished, vi } from 'vitest';
import { startServer, waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

type Hub = { handle(event: readonly [type: string, conn: number, payload: unknown]): void };
const { createHub } = (await import(new URL('../../../examples/dashboard/hub.mjs', import.meta.url).href)) as {
  createHub(parts: object): Hub;
};

it('a tab whose subscription was refused is not among the open tabs', async () => {
  let hub: Hub | undefined;
  const on = await startServer({
    ...QUIET,
    maxSubscriptionsPerConnection: 2,
    presence: true,
    recovery: true,
    onUpgrade: () => ({ user: 'ada' }),
    onEvent: (event) => hub?.handle(event as never),
  });
  const { server, port } = on;
  const feed = { snapshot: () => ({}) };
  hub = createHub({ server, publisher: {}, feed, load: { handles: () => false } });
  // Where the hub reports what it did not expect.
  const complaints = vi.spyOn(console, 'error');
  onTestFinished(() => complaints.mockRestore());
  const conn = on.take('auth_connect').then(([, conn]) => conn);
  const client = await Client.open(port);
  const ask = (topics: readonly string[]): void =>
    client.send(JSON.stringify({ t: 'subscription_update', p: { action: 'subscribe', topics, recover: true, recovery: {} } }));
  const told = (): { t: string; p: object }[] =>
    client.texts.map((text) => JSON.parse(text)).filter(({ t }) => t !== 'server_ready');
  ask(['chat', 'system.cpu', 'tabs']);
  await waitUntil(() => told().length > 0, 'an answer');
  expect(told()[0]).toMatchObject({
    t: 'subscription_update',
    p: { success: true, success_topics: ['chat', 'system.cpu'], failed_topics: ['tabs'] },
  });
  ask(['tabs']);
  await waitUntil(() => told().length > 1, 'another answer');
  expect(told()[1]).toMatchObject({ p: { success: false, success_topics: [], failed_topics: ['tabs'] } });
  server.unsubscribeConnection(await conn, ['chat', 'system.cpu']);
  ask(['tabs']);
  await waitUntil(() => told().some(({ t }) => t === 'tabs'), 'the list');
  expect(told().filter(({ t }) => t === 'tabs')).toHaveLength(1);
  expect(server.presence('tabs')).toHaveProperty('ada');
  expect(complaints.mock.calls).toEqual([]);
});
