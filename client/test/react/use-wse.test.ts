/** `useWSE`, as programs written for the published hook use it, and what it tells the window. */

import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { expect, it, onTestFinished, vi } from 'vitest';
import { encodeJwt } from '../../../ts/src/index.js';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { type UseWSEReturn, useWSE, watchWindow } from '../../src/react/index.js';
import { provide, render, serve, show } from '../support/react.js';
import { Peer } from '../support/wse.js';

const FAST = { linger: 50, heartbeat: 100 } as const;

/** Collects the window's events of these names. */
function overhear(...names: string[]): [name: string, detail: unknown][] {
  const heard: [string, unknown][] = [];
  const page = globalThis as unknown as EventTarget;
  for (const name of names) {
    const fn = (event: Event): void => void heard.push([name, (event as CustomEvent).detail]);
    page.addEventListener(name, fn);
    onTestFinished(() => page.removeEventListener(name, fn));
  }
  return heard;
}

it('returns what the published hook returns, and isConnected', async () => {
  const server = await serve();
  const config = { ...FAST, endpoints: [`ws://127.0.0.1:${server.port}`] };
  const hook = show(() => useWSE(undefined, ['notifications'], config));
  const grades = overhear('connectionQualityChanged', 'wse:quality-change');
  const heard = overhear('notifications', 'connectionStateChange', 'subscriptionUpdate');
  const page = render(createElement(hook.component));
  await waitUntil(() => hook.last()?.activeTopics.includes('notifications'), 'subscription');
  const wse = hook.last();
  expect(wse).toMatchObject({ isConnected: true, connectionHealth: 'connected', activeTopics: ['notifications'] });
  await waitUntil(() => hook.last().diagnostics.latency !== null, 'latency');
  expect(hook.last().diagnostics.quality).not.toBe('unknown');
  const grade = expect.objectContaining({ quality: hook.last().diagnostics.quality });
  expect(grades.slice(-2)).toEqual([
    ['connectionQualityChanged', grade],
    ['wse:quality-change', grade],
  ]);
  expect(hook.last().sendMessage).toBe(wse.sendMessage);
  expect(Object.keys(wse).sort()).toEqual(NAMES);

  server.server.publish('notifications', 'notifications', { text: 'hi' });
  await waitUntil(() => heard.some(([name]) => name === 'notifications'), 'window event');
  expect(heard.filter(([name]) => name === 'notifications')).toEqual([['notifications', { text: 'hi' }]]);
  expect(heard[0]).toEqual(['connectionStateChange', expect.objectContaining({ oldState: 'pending', newState: 'connecting' })]);
  expect(heard).toContainEqual([
    'subscriptionUpdate',
    expect.objectContaining({ action: 'subscribe', success_topics: ['notifications'] }),
  ]);

  expect((await server.take('msg'))[2]).toMatchObject({ t: 'sync_request', p: { topics: ['notifications'] } });
  await wse.sendMessage('order', { qty: 3 }, { priority: 'high', correlation_id: 'c1' });
  const [, , order] = await server.take('msg');
  expect(order).toMatchObject({ t: 'order', p: { qty: 3 }, pri: 8, cid: 'c1' });
  await wse.sendBatch([{ type: 'a', payload: 1 }, { type: 'b' }]);
  expect((await server.take('msg'))[2]).toMatchObject({ t: 'batch', p: { count: 2 } });
  await expect(wse.sendMessage('x', 1, { encrypted: true as never })).rejects.toMatchObject({ code: 'WSE_ARGUMENT' });
  await wse.setCompression(true);
  expect((await server.take('msg'))[2]).toMatchObject({ t: 'config_update', p: { compression_enabled: true } });

  expect(await wse.subscribe(['news'])).toMatchObject({ success: true, topics: ['news'] });
  await waitUntil(() => hook.last().activeTopics.includes('news'), 'news');
  wse.unsubscribe(['news', 'notifications']);
  await waitUntil(() => !hook.last().activeTopics.includes('news'), 'no news');
  // The component still asks for it.
  expect(hook.last().activeTopics).toEqual(['notifications']);
  expect(hook.last().stats).toMatchObject({ state: 'connected', reconnectCount: 0 });

  wse.forceReconnect();
  await server.take('disconnect');
  await waitUntil(() => hook.last().stats?.reconnectCount === 1 && hook.last().isConnected, 'reconnect');
  await waitUntil(() => hook.last().activeTopics.includes('notifications'), 'subscription');
  page.unmount();
  await server.take('disconnect');
});

const NAMES = [
  'activeTopics',
  'changeEndpoint',
  'clearOfflineQueue',
  'connectionHealth',
  'debugHandlers',
  'diagnostics',
  'downloadDiagnostics',
  'forceReconnect',
  'getClient',
  'getQueueSize',
  'isConnected',
  'requestSnapshot',
  'sendBatch',
  'sendMessage',
  'setCompression',
  'stats',
  'subscribe',
  'unsubscribe',
];

it('shares one connection among components, in both forms', async () => {
  const server = await serve();
  const one = show(() => useWSE(undefined, ['a'], { ...FAST, url: server.url }));
  const two = show(() => useWSE({ ...FAST, url: server.url, topics: ['b'] }));
  render(createElement('div', null, createElement(one.component), createElement(two.component)));
  await waitUntil(() => one.last()?.activeTopics.length === 2, 'two topics');
  await waitUntil(() => two.last()?.activeTopics.length === 2, 'two topics');
  expect(one.last().getClient()).toBe(two.last().getClient());
  expect(server.gauge('connections')).toBe(1);
});

it('asks once for what is subscribed, with its options, and so does the next client', async () => {
  const peer = await Peer.start();
  const hook = show(() => useWSE(undefined, ['a'], { ...FAST, url: peer.url, reconnect: { baseDelay: 1 } }));
  render(createElement(hook.component), false);
  /** What a connection is asked for, until it hears `end`. */
  const asked = async (index: number, work?: () => void): Promise<unknown[]> => {
    const connection = await peer.connection(index);
    connection.ready({ recovery: true });
    await waitUntil(() => hook.last().isConnected, 'connection');
    work?.();
    // What is asked for with the next turn comes before this.
    await new Promise((resolve) => setTimeout(resolve));
    await hook.last().sendMessage('end');
    await connection.next('end');
    return connection.heard.filter(({ t }) => t === 'subscription_update').map(({ p }) => p);
  };
  const room = { action: 'subscribe', topics: ['room'], presence: { name: 'Ada' } };
  const first = await asked(0, () => {
    void hook.last().subscribe(['room'], { presence: { name: 'Ada' }, recover: false, timeout: 60_000 });
    void hook.last().subscribe(['gone'], { recover: false });
    hook.last().unsubscribe(['gone']);
  });
  expect(first).toEqual([
    { action: 'subscribe', topics: ['a'] },
    room,
    { action: 'subscribe', topics: ['gone'] },
    { action: 'unsubscribe', topics: ['gone'] },
  ]);
  peer.connections[0]?.socket.close(1012);
  expect(await asked(1)).toEqual([{ action: 'subscribe', topics: ['a'] }, room]);
  // Ended for good: what comes then is another client.
  peer.connections[1]?.socket.close(4403);
  await waitUntil(() => hook.last().connectionHealth === 'error', 'the end');
  hook.last().forceReconnect();
  expect(await asked(2)).toEqual(expect.arrayContaining([{ action: 'subscribe', topics: ['a'] }, room]));
});

it('keeps what is sent without a connection, and drops it when told to', async () => {
  const peer = await Peer.start();
  const hook = show(() => useWSE(undefined, [], { ...FAST, url: peer.url }));
  render(createElement(hook.component));
  const connection = await peer.connection(0);
  const dropped = hook.last().sendMessage('one', 1);
  expect(hook.last().getQueueSize()).toBe(1);
  await expect(hook.last().sendMessage('now', 1, { offline: false })).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
  hook.last().clearOfflineQueue();
  await expect(dropped).rejects.toMatchObject({ code: 'WSE_ABORTED' });
  expect(hook.last().getQueueSize()).toBe(0);
  const kept = hook.last().sendMessage('two', 2);
  connection.ready();
  await kept;
  expect((await connection.next('two')).p).toBe(2);
  expect(connection.heard.filter(({ t }) => t === 'one')).toEqual([]);
});

it('keeps what is sent as long as the configuration says, an hour if it says nothing', async () => {
  const peer = await Peer.start();
  const config = { ...FAST, url: peer.url, timeout: 20 };
  const names = ['hour', 'short', 'none', 'small'] as const;
  const offline = { hour: {}, short: { maxAge: 20 }, none: { enabled: false }, small: { maxSize: 1 } };
  const hooks = names.map((name) => show(() => useWSE(undefined, [], { ...config, name, offline: offline[name] })));
  render(hooks.map(({ component }, key) => createElement(component, { key })));
  await peer.connection(3);
  const [hour, short, none, small] = hooks.map((hook) => hook.last()) as [UseWSEReturn, UseWSEReturn, UseWSEReturn, UseWSEReturn];
  const kept = [hour.sendMessage('order', 1), small.sendMessage('order', 2), none.sendMessage('order', 3, { offline: true })];
  await expect(short.sendMessage('order')).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
  await expect(hour.sendMessage('order', 0, { ttl: 20 })).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
  await expect(none.sendMessage('order')).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
  await expect(small.sendMessage('order')).rejects.toMatchObject({ code: 'WSE_QUEUE_FULL' });
  // Five times what a client waits by itself.
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(hour.getQueueSize()).toBe(1);
  for (const connection of peer.connections) connection.ready();
  await Promise.all(kept);
});

it('rejects what is asked of it when its component is gone, and throws nothing', async () => {
  const peer = await Peer.start();
  const hook = show(() => useWSE(undefined, [], { ...FAST, url: peer.url, linger: 0 }));
  const page = render(createElement(hook.component));
  await peer.connection(0);
  const wse = hook.last();
  page.unmount();
  await waitUntil(() => wse.stats === null, 'the end');
  const asked = [
    () => wse.subscribe(['a']),
    () => wse.sendMessage('a'),
    () => wse.sendBatch([{ type: 'a' }]),
    () => wse.requestSnapshot(),
    () => wse.setCompression(true),
  ];
  for (const ask of asked) await expect(ask()).rejects.toMatchObject({ code: 'WSE_CLOSED' });
});

it('asks for the state of its topics after each connect, unless it is told not to', async () => {
  const server = await serve();
  const hook = show(() => useWSE(undefined, ['a', 'b'], { ...FAST, url: server.url }));
  render(createElement(hook.component));
  // Without `snapshots` it is the application that answers.
  const [, , asked] = await server.take('msg');
  expect(asked).toMatchObject({ t: 'sync_request', p: { topics: ['a', 'b'], include_snapshots: true } });
  hook.last().forceReconnect();
  expect((await server.take('msg'))[2]).toMatchObject({ t: 'sync_request' });
  const other = show(() => useWSE(undefined, ['a'], { ...FAST, url: server.url, name: 'quiet', sync: false }));
  render(createElement(other.component));
  await waitUntil(() => other.last()?.isConnected, 'connection');
  await other.last().sendMessage('first');
  expect((await server.take('msg'))[2]).toMatchObject({ t: 'first' });
});

it('sends no token where the cookie counts, and has the cookie renewed', async () => {
  const peer = await Peer.start();
  let refreshes = 0;
  const refreshAuthToken = async (): Promise<void> => {
    refreshes += 1;
  };
  const config = { ...FAST, url: peer.url, tokenIn: 'subprotocol', reconnection: { baseDelay: 1 } } as const;
  const renewing = show(() => useWSE('cookie', ['t'], { ...config, refreshAuthToken }));
  render(createElement(renewing.component));
  const first = await peer.connection(0);
  first.ready();
  await waitUntil(() => renewing.last().isConnected, 'connection');
  first.socket.close(4401);
  const second = await peer.connection(1);
  expect(refreshes).toBe(1);
  second.ready();
  await waitUntil(() => renewing.last().isConnected, 'connection');
  // The client has nothing to give the server in band, and says so; the cookie is for the next connection.
  const said = vi.spyOn(console, 'error').mockImplementation(() => {});
  onTestFinished(() => said.mockRestore());
  second.send({ c: 'WSE', t: 'auth_expiring', p: { expires_in: 1 } });
  await waitUntil(() => refreshes === 2, 'a new cookie');
  await renewing.last().sendMessage('end');
  await second.next('end');
  const plain = show(() => useWSE({ ...config, token: 'cookie', name: 'plain' }));
  render(createElement(plain.component));
  await peer.connection(2);
  expect(peer.connections.map(({ headers }) => headers['sec-websocket-protocol'])).toEqual([undefined, undefined, undefined]);
  expect(second.heard.filter(({ t }) => t === 'auth_refresh')).toEqual([]);
});

it('asks for another token when the server refuses one, and tells the window', async () => {
  const secret = 's'.repeat(32);
  const server = await serve({ jwt: { secret, from: ['query'] } });
  const good = encodeJwt({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 600 }, secret);
  const old = encodeJwt({ sub: 'ada', exp: 1 }, secret);
  let refreshes = 0;
  const refreshAuthToken = async (): Promise<string> => {
    refreshes += 1;
    return good;
  };
  const reconnection = { baseDelay: 1 };
  const config = { ...FAST, url: server.url, tokenIn: 'query', refreshAuthToken, reconnection } as const;
  const hook = show(() => useWSE(old, [], config));
  const heard = overhear('authTokenExpired', 'wseAuthFailed');
  const page = render(createElement(hook.component));
  await waitUntil(() => hook.last()?.isConnected, 'connection');
  expect(refreshes).toBe(1);
  expect(heard.map(([name]) => name)).toEqual(['wseAuthFailed', 'authTokenExpired']);
  hook.last().forceReconnect();
  await waitUntil(() => hook.last().stats?.reconnectCount === 1, 'reconnect');
  expect(refreshes).toBe(1);
  // What a refresh has brought is the connection's: whoever takes it over goes on with it.
  const successor = show(() => useWSE(old, [], config));
  page.render(createElement(successor.component));
  await waitUntil(() => successor.last()?.isConnected, 'the same connection');
  successor.last().forceReconnect();
  await waitUntil(() => successor.last().stats?.reconnectCount === 2, 'reconnect');
  expect(refreshes).toBe(1);

  const refused = show(() => useWSE(old, [], { ...FAST, url: server.url, tokenIn: 'query' }));
  render(createElement(refused.component));
  await waitUntil(() => refused.last()?.connectionHealth === 'error', 'refusal');
  await waitUntil(() => heard.filter(([name]) => name === 'wseAuthFailed').length === 3, 'window event');
});

it('is the connection of the provider above, whose `prepare` tells the window', async () => {
  const server = await serve();
  const heard = overhear('connectionStateChange');
  for (const prepare of [undefined, watchWindow]) {
    const hook = show(() => useWSE());
    const page = render(provide({ url: server.url, prepare, linger: 0 }, hook.component));
    await waitUntil(() => hook.last()?.isConnected, 'connection');
    expect(heard.length > 0).toBe(prepare !== undefined);
    page.unmount();
    await server.take('disconnect');
  }
});

it('refuses to send in clear what was to be encrypted', () => {
  const hook = show(() => useWSE(undefined, [], { security: { encryptionEnabled: true as never } }));
  expect(() => renderToString(createElement(hook.component))).toThrow('no encryption');
});

it('tells the window what servers say, and nothing the platform says itself', async () => {
  const peer = await Peer.start();
  const hook = show((): UseWSEReturn => useWSE(undefined, ['a'], { ...FAST, url: peer.url }));
  const names = [
    'presenceJoin',
    'configResponse',
    'rateLimitExceeded',
    'criticalError',
    'serverError',
    'wseServerError',
    'subscriptionFailed',
    'wseAuthFailed',
    'snapshotComplete',
    'click',
    'error',
    'tick',
    'end',
  ];
  const heard = overhear(...names);
  // As every browser has it.
  Object.assign(globalThis, { onclick: null });
  onTestFinished(() => void Reflect.deleteProperty(globalThis, 'onclick'));
  render(createElement(hook.component));
  const connection = await peer.connection(0);
  connection.ready();
  const say = (t: string, p: unknown): void => connection.send({ c: 'WSE', t, p });
  say('presence_join', { user_id: 'ada', data: 1, topic: 'a' });
  say('config_response', { a: 1 });
  say('error', { code: 'RATE_LIMITED', message: 'slow down', retry_after: 2 });
  say('error', { code: 'SERVER_ERROR', message: 'broken', recoverable: false });
  say('error', { code: 'AUTH_FAILED', message: 'no' });
  say('subscription_update', { action: 'subscribe', success: false, failed_topics: ['a'], failed_reasons: ['denied'] });
  say('click', {});
  say('tick', 1);
  (globalThis as unknown as EventTarget).dispatchEvent(
    new CustomEvent('wseRequestSnapshot', { detail: { topics: ['a'] } }) as unknown as Event,
  );
  // The first one was asked for by the hook itself.
  for (const _ of [1, 2]) expect((await connection.next('sync_request')).p).toMatchObject({ topics: ['a'] });
  say('snapshot_complete', { topics: ['a'], count: 1 });
  say('end', 0);
  await waitUntil(() => heard.some(([name]) => name === 'end'), 'the end');
  const details = undefined;
  const context = { messageType: 'error' };
  const server = { details, severity: undefined, timestamp: expect.any(Number), context };
  const known = { code: 'SERVER_ERROR', message: 'broken' };
  expect(heard).toEqual([
    ['presenceJoin', { user_id: 'ada', data: 1, topic: 'a' }],
    ['configResponse', { a: 1 }],
    ['rateLimitExceeded', { message: 'slow down', retryAfter: 2 }],
    ['serverError', { ...server, code: 'RATE_LIMITED', message: 'slow down', recoverable: true }],
    ['wseServerError', { ...known, details, recoverable: false }],
    ['criticalError', { ...known, shouldReconnect: undefined }],
    ['serverError', { ...server, ...known, recoverable: false }],
    ['wseAuthFailed', { code: 'AUTH_FAILED', message: 'no', details }],
    ['serverError', { ...server, code: 'AUTH_FAILED', message: 'no', recoverable: true }],
    ['subscriptionFailed', { message: 'denied', topics: ['a'], failed: [{ topic: 'a', reason: 'denied' }] }],
    ['tick', 1],
    ['snapshotComplete', { topics: ['a'], count: 1 }],
    ['end', 0],
  ]);
});
