/** What a page does to a client: hidden, frozen, restored, offline, online. */

import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { circuitBreaker, connect, type WSEClient } from '../../src/index.js';
import { attempted, Socket } from '../support/socket.js';
import { TestClock } from '../support/time.js';

class Page extends EventTarget {
  visibilityState = 'visible';
}

const page = new Page();
const shared = globalThis as unknown as Record<string, unknown>;
const window = new EventTarget();
let clock: TestClock;
let client: WSEClient;

beforeEach(async () => {
  Socket.all = [];
  Socket.reachable = true;
  Socket.answers = true;
  shared['document'] = page;
  shared['addEventListener'] = window.addEventListener.bind(window);
  shared['removeEventListener'] = window.removeEventListener.bind(window);
  clock = new TestClock();
  client = connect('ws://x', { clock, webSocket: Socket as never, random: () => 0 });
  await attempted();
  expect(client.state).toBe('connected');
});

afterEach(async () => {
  await client.close();
  for (const name of ['document', 'addEventListener', 'removeEventListener']) delete shared[name];
});

const pings = (): number => Socket.all.flatMap(({ sent }) => sent).filter(({ t }) => t === 'ping').length;
async function pass(ms: number): Promise<void> {
  clock.pass(ms);
  await turn();
}

it('a page that is put away lets its socket go, and connects when it is back', async () => {
  window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted: true }));
  expect(Socket.all[0]?.readyState).toBe(3);
  expect(client.state).toBe('reconnecting');
  await pass(3_600_000);
  expect(Socket.all).toHaveLength(1);
  window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  await turn();
  expect(client.state).toBe('connected');
});

it('one that was told to wait, too', async () => {
  Socket.all[0]?.end(4429);
  window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted: true }));
  await pass(3_600_000);
  window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  await turn();
  expect(client.state).toBe('connected');
});

it('a network that comes back is tried at once; without one it is tried less', async () => {
  window.dispatchEvent(new Event('offline'));
  Socket.reachable = false;
  Socket.all[0]?.end(1006);
  await pass(29_000);
  expect(Socket.all).toHaveLength(1);
  Socket.reachable = true;
  window.dispatchEvent(new Event('online'));
  await turn();
  expect(client.state).toBe('connected');
});

it('a page that is seen again asks whether its server is still there', async () => {
  const before = pings();
  page.dispatchEvent(new Event('visibilitychange'));
  expect(pings()).toBe(before + 1);
  Socket.answers = false;
  page.dispatchEvent(new Event('visibilitychange'));
  await pass(4_999);
  expect(client.isConnected).toBe(true);
  Socket.answers = true;
  (Socket.all[0] as Socket).send = () => {};
  await pass(1);
  expect(client.state).toBe('reconnecting');
  await pass(1_000);
  expect(client.state).toBe('connected');
});

it('an attempt that is under way keeps its time, whatever the page does', async () => {
  Socket.fate = () => {};
  client.forceReconnect();
  await turn();
  page.dispatchEvent(new Event('visibilitychange'));
  window.dispatchEvent(new Event('online'));
  Socket.fate = undefined;
  expect(Socket.all).toHaveLength(2);
  await pass(10_000);
  await pass(1_000);
  expect([Socket.all.length, client.state]).toEqual([3, 'connected']);
});

describe('an open circuit breaker', () => {
  beforeEach(async () => {
    await client.close();
    Socket.all = [];
    Socket.reachable = false;
    const breaker = circuitBreaker({ failures: 1, timeout: 60_000 });
    client = connect('ws://x', { clock, webSocket: Socket as never, random: () => 0, breaker });
    await attempted();
    expect([Socket.all.length, client.state]).toEqual([1, 'reconnecting']);
    Socket.reachable = true;
  });

  it('stays open whatever the page does', async () => {
    page.dispatchEvent(new Event('visibilitychange'));
    window.dispatchEvent(new Event('online'));
    await turn();
    expect(Socket.all).toHaveLength(1);
    await pass(59_999);
    expect(Socket.all).toHaveLength(1);
    await pass(1);
    expect(client.state).toBe('connected');
  });

  it('lets a page that comes back connect when it closes', async () => {
    window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted: true }));
    await pass(20_000);
    window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
    await turn();
    expect(Socket.all).toHaveLength(1);
    // One timer, however often.
    page.dispatchEvent(new Event('visibilitychange'));
    const { timers } = clock;
    page.dispatchEvent(new Event('visibilitychange'));
    expect(clock.timers).toBe(timers);
    await pass(39_999);
    expect(Socket.all).toHaveLength(1);
    await pass(1);
    expect(client.state).toBe('connected');
  });
});
