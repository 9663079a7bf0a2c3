/** Before the first connection, while what it needs is being loaded, or cannot be. */

import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { inbound } from '../../src/inbound/index.js';
import { circuitBreaker, connect, endpointPool, type StateChange, type WSEClient, WSEError } from '../../src/index.js';
import { attempted, Socket } from '../support/socket.js';
import { TestClock } from '../support/time.js';

const PART = '../../src/core/inbound.js';
const POSITION = { epoch: '0000000a', offset: 2 };

let clock: TestClock;
let errors: WSEError[];
let states: StateChange[];
let client: WSEClient;

beforeEach(() => {
  Socket.all = [];
  Socket.reachable = true;
  Socket.answers = true;
  clock = new TestClock();
  errors = [];
  states = [];
});
afterEach(() => client.close());

function start(options: object = {}, urls: string | string[] = 'ws://x'): void {
  client = connect(urls, { clock, webSocket: Socket as never, random: () => 0, page: false, ...options });
  client.watch('error', (error) => errors.push(error as WSEError));
  client.watch('state', (change) => states.push(change));
}

/** Nothing can be loaded until the function is called that it returns. */
function offline(): () => void {
  vi.doMock(PART, () => {
    throw new Error('offline');
  });
  const back = (): void => void vi.doUnmock(PART);
  onTestFinished(back);
  return back;
}

/** Lets time go by until the client is in a state. */
async function until(state: string): Promise<void> {
  for (let second = 0; second < 60 && client.state !== state; second += 1) {
    clock.pass(1_000);
    await attempted();
  }
  expect(client.state).toBe(state);
}

describe('a file that cannot be loaded', () => {
  it('is a failed attempt, and what waits is sent behind the next', async () => {
    const back = offline();
    start();
    await vi.waitUntil(() => client.state === 'reconnecting', { timeout: 20_000 });
    expect(states.at(-1)).toMatchObject({ code: 1006, reason: 'a part was not loaded', attempt: 1, error: errors[0] });
    expect(errors).toEqual([expect.objectContaining({ code: 'WSE_CONNECT_FAILED', cause: expect.any(Error) })]);
    expect(Socket.all).toHaveLength(0);
    const late = expect(client.send('late', 1, { timeout: 100 })).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    const sent = client.send('x', 1, { timeout: 60_000 });
    const subscribed = client.subscribe(['a']);
    expect(client.wantedTopics).toEqual(['a']);
    expect(client.getStats()).toMatchObject({ sendQueueSize: 2, state: 'reconnecting' });
    await expect(client.refreshToken('t')).rejects.toMatchObject({ code: 'WSE_CONNECT_FAILED' });
    clock.pass(100);
    await late;
    back();
    await until('connected');
    await sent;
    const [socket] = Socket.all;
    expect(socket?.sent.map(({ t }) => t)).toEqual(['client_hello', 'subscription_update', 'x']);
    socket?.say({ t: 'subscription_update', p: { action: 'subscribe', success: true, success_topics: ['a'] } });
    expect(await subscribed).toMatchObject({ success: true });
  });

  it('is no failure of an endpoint, and opens no breaker', async () => {
    const back = offline();
    start({ breaker: circuitBreaker({ failures: 2 }), pool: endpointPool() }, ['ws://a', 'ws://b']);
    for (let second = 0; second < 6; second += 1) {
      await attempted();
      clock.pass(1_000);
    }
    expect(errors.length).toBeGreaterThan(2);
    const { circuitBreaker: breaker, connectionPool } = client.getStats();
    expect(breaker).toMatchObject({ state: 'closed' });
    expect(connectionPool.map(({ healthy, failures }) => [healthy, failures])).toEqual(Array(2).fill([true, 0]));
    back();
    await until('connected');
  });

  it('is told by its own words, a failed token never by those of its error', async () => {
    const token = (): never => {
      throw new WSEError('WSE_TIMEOUT', 'another client of mine');
    };
    start({ inbound, token });
    await attempted();
    expect(states.at(-1)).toMatchObject({ reason: 'no token', error: errors[0] });
    expect(errors).toEqual([expect.objectContaining({ message: 'another client of mine' })]);
  });

  it('ends a client that is not to try again', async () => {
    offline();
    start({ reconnect: false });
    await client.closed;
    expect(client.state).toBe('error');
    await expect(client.connected()).rejects.toMatchObject({ code: 'WSE_CONNECT_FAILED' });
    expect(clock.timers).toBe(0);
  });

  it('leaves nothing of a client that was closed meanwhile', async () => {
    start();
    await turn();
    await client.close();
    await attempted();
    expect([client.state, clock.timers, Socket.all.length]).toEqual(['disconnected', 0, 0]);
  });
});

describe('the page', () => {
  class Page extends EventTarget {
    visibilityState = 'visible';
  }
  const global = globalThis as unknown as Record<string, unknown>;
  let page: Page;
  let window: EventTarget;
  beforeEach(() => {
    page = new Page();
    window = new EventTarget();
    global['document'] = page;
    for (const name of ['addEventListener', 'removeEventListener'] as const) global[name] = window[name].bind(window);
  });
  afterEach(async () => {
    await client.close();
    for (const name of ['document', 'addEventListener', 'removeEventListener']) delete global[name];
  });

  it('that has a network again tries at once, also where the file could not be loaded', async () => {
    const back = offline();
    start({ page: true });
    await vi.waitUntil(() => client.state === 'reconnecting', { timeout: 20_000 });
    window.dispatchEvent(new Event('offline'));
    back();
    window.dispatchEvent(new Event('online'));
    await attempted();
    expect(client.state).toBe('connected');
  });

  it('that is frozen meanwhile gets no socket until it is back', async () => {
    let give = (): void => {};
    const token = (): Promise<string> => new Promise((resolve) => (give = () => resolve('t')));
    start({ page: true, token });
    await attempted();
    page.dispatchEvent(new Event('freeze'));
    give();
    await attempted();
    expect([client.state, Socket.all.length]).toEqual(['reconnecting', 0]);
    page.dispatchEvent(new Event('resume'));
    await attempted();
    give();
    await attempted();
    expect([client.state, Socket.all.length]).toEqual(['connected', 1]);
  });
});

describe('positions', () => {
  const GIVEN = { a: POSITION, b: { value: 1 }, c: { ...POSITION, value: 'more' }, d: null, 'e.1': POSITION, 'e.2': POSITION };

  it('are copied, and seen before there is a connection', async () => {
    const positions = structuredClone(GIVEN);
    start({ positions });
    positions.a.offset = 9;
    const mine = client.recoveryState as unknown as typeof positions;
    mine.a.offset = 9;
    const seen = { a: POSITION, c: POSITION, 'e.1': POSITION, 'e.2': POSITION };
    expect(client.recoveryState).toEqual(seen);
    expect(client.getStats().recovery).toMatchObject({ topics: 4, positions: seen });
    await until('connected');
    expect(client.recoveryState).toEqual(seen);
  });

  it('may be null, as what a store has not', () => {
    start({ positions: null });
    expect(client.recoveryState).toEqual({});
  });

  it('are forgotten with their topics', async () => {
    start({ positions: GIVEN, topics: ['a', 'e.2'] });
    await client.unsubscribe(['a', 'e.*']);
    expect(client.recoveryState).toEqual({ c: POSITION, 'e.2': POSITION });
    await until('connected');
    void client.subscribe(['a']);
    const asked = Socket.all[0]?.sent.filter(({ t }) => t === 'subscription_update').map(({ p }) => p);
    expect(asked).toEqual([
      { action: 'subscribe', topics: ['e.2'], recover: true, recovery: { 'e.2': POSITION } },
      { action: 'subscribe', topics: ['a'] },
    ]);
  });
});

it('a token is exchanged as soon as there is a connection to exchange it on', async () => {
  let give: (token: string) => void = () => {};
  start({
    token: ({ reason }: { reason: string }) => (reason === 'connect' ? 'first' : new Promise((resolve) => (give = resolve))),
  });
  const exchanged = client.refreshToken();
  await until('connected');
  give('second');
  await attempted();
  const [socket] = Socket.all;
  expect(socket?.sent.at(-1)).toMatchObject({ t: 'auth_refresh', p: { token: 'second' } });
  socket?.say({ t: 'auth_refreshed', p: { expires_at: 7 } });
  expect(await exchanged).toBe(7);
});

it('parts that throw do so at connect()', () => {
  const broken = {
    get features(): never {
      throw new Error('broken');
    },
    attach: () => ({}),
  };
  expect(() => start({ extensions: [broken] })).toThrow('broken');
  start();
});

it('an answer that cannot be made is reported, and costs no frame', async () => {
  const heard: string[] = [];
  let well = true;
  const read = (): object => {
    if (!well) throw new Error('unwell');
    return { quality: 'unknown' };
  };
  start({ quality: () => ({ sample() {}, lost() {}, read }) });
  client.on('health_check', () => heard.push('asked'));
  client.onAny(({ type }) => heard.push(type));
  await until('connected');
  well = false;
  Socket.all[0]?.say({
    t: 'batch',
    p: {
      messages: [
        { t: 'health_check', p: {} },
        { t: 'behind', p: 1 },
      ],
    },
  });
  expect(heard).toEqual(['asked', 'behind']);
  expect(errors.map(({ message }) => message)).toEqual(['unwell']);
  well = true;
  expect(client.getStats().unreadable).toBe(0);
});

it('a part that is none is refused at connect()', () => {
  expect(() => start({ inbound: import('../../src/inbound/index.js') })).toThrow(
    expect.objectContaining({ code: 'WSE_ARGUMENT', message: expect.stringMatching(/^inbound: /) }),
  );
  start({ inbound: null });
});

it('a request right behind the connection is answered by whoever registers as it hears of the connection', async () => {
  onTestFinished(() => {
    Socket.fate = undefined;
  });
  Socket.fate = (socket) => {
    socket.readyState = 1;
    socket.onopen?.();
    socket.say({ c: 'WSE', t: 'server_ready', p: { details: { connection_id: 'x', features: {} } } });
    socket.say({ t: 'who', cid: '1', rq: 5_000, p: 1 });
    socket.say({ t: 'nobody', cid: '2', rq: 5_000, p: 1 });
    socket.say({ t: 'who', cid: '3', rq: 5_000, p: 3 });
    socket.say({ c: 'WSE', t: 'cancel', cid: '3' });
  };
  start();
  await client.connected();
  client.onRequest('who', (payload) => ['me', payload]);
  clock.pass(0);
  await turn();
  const replies = Socket.all[0]?.sent.filter(({ t }) => t === 'reply') as object[] | undefined;
  expect(replies).toHaveLength(2);
  expect(replies).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ cid: '1', p: ['me', 1] }),
      expect.objectContaining({ cid: '2', err: expect.objectContaining({ code: 'NOT_HANDLED' }) }),
    ]),
  );
});

it('a token that there is none of is exchanged for none, and that is no error', async () => {
  const reasons: string[] = [];
  start({ token: ({ reason }: { reason: string }) => void reasons.push(reason) });
  await until('connected');
  const [socket] = Socket.all;
  socket?.say({ t: 'auth_expiring', p: { expires_in: 60 } });
  clock.pass(0);
  await attempted();
  expect(reasons).toEqual(['connect', 'expiring']);
  expect(errors).toEqual([]);
  expect(socket?.sent.map(({ t }) => t)).toEqual(['client_hello']);
  await expect(client.refreshToken()).rejects.toMatchObject({ code: 'WSE_ARGUMENT' });
});

it('a token function that rejects with nothing is reported', async () => {
  start({ token: ({ reason }: { reason: string }) => (reason === 'expiring' ? Promise.reject(undefined) : 't') });
  await until('connected');
  Socket.all[0]?.say({ t: 'auth_expiring', p: { expires_in: 60 } });
  clock.pass(0);
  await attempted();
  expect(errors).toHaveLength(1);
});

it('a token the server is to be asked about again is asked about on its own connection alone', async () => {
  start({ token: () => 't' });
  await until('connected');
  const exchanged = client.refreshToken('u').catch(({ code }) => code);
  await turn();
  Socket.all[0]?.say({ t: 'error', p: { code: 'AUTH_REFRESH_FAILED', reason: 'busy' } });
  await client.close();
  expect(await exchanged).toBe('WSE_CONNECTION_LOST');
  expect(clock.timers).toBe(0);
});

it('a token that comes too late is no failure of an endpoint', async () => {
  start({ breaker: circuitBreaker({ failures: 2 }), pool: endpointPool(), token: () => new Promise(() => {}) }, [
    'ws://a',
    'ws://b',
  ]);
  for (let second = 0; second < 60; second += 1) {
    clock.pass(1_000);
    await turn();
  }
  const { attempts, circuitBreaker: breaker, connectionPool } = client.getStats();
  expect(attempts).toBeGreaterThan(2);
  expect(states.at(-1)).toMatchObject({ state: 'reconnecting', reason: 'no connection in time' });
  expect(breaker).toMatchObject({ state: 'closed' });
  expect(connectionPool.map(({ failures }) => failures)).toEqual([0, 0]);
});
