/** Hours of a client in no time: its clock is moved by hand, and its socket is one of these. */

import { setImmediate as turn } from 'node:timers/promises';
import { deflateSync } from 'node:zlib';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { batching, connect, endpointPool, type StateChange, type WSEClient } from '../../src/index.js';
import { attempted, Socket } from '../support/socket.js';
import { TestClock } from '../support/time.js';

interface Life {
  readonly clock: TestClock;
  readonly client: WSEClient;
  readonly states: StateChange[];
  /** Moves the clock in steps of a second, letting promises settle in between. */
  pass(seconds: number): Promise<void>;
}

async function live(options: object = {}): Promise<Life> {
  Socket.all = [];
  Socket.reachable = true;
  Socket.answers = true;
  const clock = new TestClock();
  const client = connect('ws://x', { clock, webSocket: Socket as never, random: () => 0, page: false, ...options });
  const states: StateChange[] = [];
  client.watch('state', (change) => states.push(change));
  await attempted();
  return {
    clock,
    client,
    states,
    async pass(seconds) {
      for (let i = 0; i < seconds; i += 1) {
        clock.pass(1_000);
        await turn();
      }
    },
  };
}

const pings = (): number => Socket.all.reduce((sum, { sent }) => sum + sent.filter(({ t }) => t === 'ping').length, 0);

describe('an hour', () => {
  it('of a good connection is 240 heartbeats', async () => {
    const { client, states, pass } = await live();
    await pass(3_600);
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
    expect(pings()).toBe(240);
    expect(Socket.all).toHaveLength(1);
    await client.close();
  });

  it('without a server is one attempt every 30 s in the end, and the first minute has more', async () => {
    const { client, states, pass } = await live();
    Socket.reachable = false;
    Socket.all[0]?.end(1006);
    await turn();
    await pass(60);
    expect(Socket.all.length).toBeGreaterThan(5);
    const before = Socket.all.length;
    await pass(3_600);
    expect(Socket.all.length - before).toBeLessThanOrEqual(3_600 / 30 + 1);
    expect(Socket.all.length - before).toBeGreaterThan(3_600 / 30 - 5);
    expect(states.at(-1)?.state).toBe('reconnecting');
    Socket.reachable = true;
    await pass(31);
    expect(client.state).toBe('connected');
    await client.close();
  });

  it('leaves no timer behind', async () => {
    const { clock, client, pass } = await live();
    void client.send('x', 1).catch(() => {});
    void client.request('y').catch(() => {});
    void client.subscribe(['a']);
    await pass(5);
    await client.close();
    expect(clock.timers).toBe(0);
  });
});

describe('a dead network', () => {
  it('is degraded after one heartbeat without an answer, and given up after 40 s', async () => {
    const { client, states, pass } = await live();
    await pass(20);
    Socket.answers = false;
    await pass(11);
    expect(client.state).toBe('connected');
    await pass(15);
    expect(client.state).toBe('degraded');
    await pass(8);
    expect(client.state).toBe('degraded');
    Socket.answers = true;
    await pass(3);
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected', 'degraded', 'reconnecting', 'connected']);
    await client.close();
  });

  it('is not believed in after a sleep: the other side is asked first', async () => {
    const { clock, client, states, pass } = await live();
    await pass(20);
    // An hour in which nothing ran: one timer, an hour late.
    const before = pings();
    clock.sleep(3_600_000);
    clock.pass(0);
    await turn();
    expect(pings()).toBe(before + 1);
    await pass(60);
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
    Socket.answers = false;
    clock.sleep(3_600_000);
    clock.pass(0);
    await turn();
    expect(client.isConnected).toBe(true);
    Socket.answers = true;
    const [dead] = Socket.all;
    (dead as Socket).send = () => {};
    await pass(8);
    expect(Socket.all).toHaveLength(2);
    expect(client.state).toBe('connected');
    await client.close();
  });
});

/** Answers the requests of the last socket that have come since. */
const requests = (): Record<string, unknown>[] =>
  (Socket.all.at(-1) as Socket).sent.filter(({ t }) => t === 'subscription_update').map(({ p }) => p);

describe('a subscription nobody answers', () => {
  it('is asked for again, however many were answered before it', async () => {
    const { client, pass } = await live();
    for (const topic of ['a', 'b', 'c']) {
      const asked = client.subscribe([topic]);
      Socket.all[0]?.say({ t: 'subscription_update', p: { action: 'subscribe', success: true, success_topics: [topic] } });
      await asked;
      await pass(50);
    }
    const before = requests().length;
    void client.subscribe(['lost']);
    await pass(9);
    expect(requests().length).toBe(before + 1);
    await pass(2 + 20 + 40);
    expect(requests().slice(before)).toEqual(Array(4).fill({ action: 'subscribe', topics: ['lost'] }));
    // And one more, behind one that was given up.
    await pass(200);
    void client.subscribe(['next']);
    await pass(11);
    expect(requests().at(-1)).toEqual({ action: 'subscribe', topics: ['lost', 'next'] });
    await client.close();
  });
});

describe('snapshots', () => {
  it('come to who has asked for those topics', async () => {
    const { client, pass } = await live();
    const [socket] = Socket.all;
    const told: string[] = [];
    const ask = (name: string, topics?: string[]): void =>
      void client.requestSnapshot(topics).then(({ topics: of }) => told.push(`${name}: ${of}`));
    ask('a', ['a']);
    ask('b', ['b', 'c.*']);
    ask('all');
    const say = async (...topics: string[]): Promise<string[]> => {
      socket?.say({ c: 'S', t: 'snapshot_complete', p: { topics, count: topics.length } });
      await turn();
      return told.splice(0);
    };
    await pass(1);
    expect(await say('b', 'c.d')).toEqual(['b: b,c.d']);
    expect(await say('a')).toEqual(['a: a']);
    ask('none', ['x']);
    await turn();
    expect(await say('y')).toEqual(['all: y']);
    expect(await say('z')).toEqual([]);
    expect(await say()).toEqual(['none: ']);
    await client.close();
  });
});

describe('a batch', () => {
  const Bad = { payload: 1n, code: 'WSE_ARGUMENT' };
  it('with a payload that is none costs nobody else his message', async () => {
    const { client } = await live({ batch: batching({ size: 3 }) });
    const results = await Promise.allSettled([client.send('a', 1), client.send('b', Bad.payload), client.send('c', 3)]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({ code: Bad.code });
    expect(Socket.all[0]?.sent.filter(({ t }) => /^[abc]$/.test(t)).map(({ p }) => p)).toEqual([1, 3]);
    await client.close();
  });

  it('that is more than the server takes goes one by one', async () => {
    const { client } = await live({ batch: batching({ size: 3 }) });
    Socket.all[0]?.say({ c: 'WSE', t: 'server_hello', p: { limits: { max_message_size: 200 } } });
    await Promise.all(['a', 'b', 'c'].map((t) => client.send(t, t.repeat(80))));
    expect(Socket.all[0]?.sent.filter(({ t }) => /^[abc]$/.test(t)).map(({ t }) => t)).toEqual(['a', 'b', 'c']);
    await client.close();
  });
});

describe('what is made of a client', () => {
  it('answers no request of a connection that was never ready', async () => {
    const signals: AbortSignal[] = [];
    const { client, pass } = await live();
    client.onRequest('x', (_, { signal }) => {
      signals.push(signal);
      return new Promise(() => {});
    });
    await vi.dynamicImportSettled();
    onTestFinished(() => {
      Socket.fate = undefined;
    });
    Socket.fate = (socket) => {
      Socket.fate = undefined;
      socket.readyState = 1;
      socket.onopen?.();
      socket.say({ t: 'x', cid: 'a', rq: 60_000, p: {} });
      socket.end(1006);
    };
    Socket.all[0]?.end(1006);
    await pass(5);
    expect(Socket.all).toHaveLength(3);
    expect(client.isConnected).toBe(true);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    await client.close();
  });

  it('counts its first connection at a clock of zero', async () => {
    const { client, states } = await live({ pool: endpointPool() });
    expect(client.getStats().connectionPool).toMatchObject([{ connections: 1, active: 1 }]);
    client.forceReconnect();
    await turn();
    expect(states.at(-1)?.state).toBe('connected');
    expect(client.getStats()).toMatchObject({ reconnectCount: 1, connectionPool: [{ connections: 2, active: 1 }] });
    await client.close();
  });

  it('leaves no timer where an extension refuses', () => {
    const clock = new TestClock();
    const attach = (): never => {
      throw new Error('no');
    };
    expect(() => connect('ws://x', { clock, webSocket: Socket as never, extensions: [{ attach }] })).toThrow('no');
    expect(clock.timers).toBe(0);
  });

  it('forgets who has waited for a connection', async () => {
    const { client, pass } = await live({ page: false });
    Socket.reachable = false;
    Socket.all[0]?.end(1006);
    await turn();
    // Whatever hangs on `closed` hangs there for the life of the client.
    const reactions = vi.spyOn(client.closed, 'then');
    const waits = Array.from({ length: 50 }, () => client.connected(10).catch((error: unknown) => error));
    await pass(1);
    expect((await Promise.all(waits)).every((error) => (error as { code?: string }).code === 'WSE_TIMEOUT')).toBe(true);
    expect(reactions).not.toHaveBeenCalled();
    const last = client.connected();
    await client.close();
    await expect(last).rejects.toMatchObject({ code: 'WSE_CLOSED' });
  });
});

describe('waiting', () => {
  it('of subscribe counts from the request, and the topics stay wanted', async () => {
    const { client, pass } = await live();
    const asked = client.subscribe(['a']);
    await pass(11);
    await expect(asked).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    expect(client.wantedTopics).toEqual(['a']);
    Socket.reachable = false;
    Socket.all[0]?.end(1006);
    const offline = client.subscribe(['b'], { timeout: 1_000 });
    await pass(100);
    Socket.reachable = true;
    await pass(31);
    await expect(offline).rejects.toMatchObject({ code: 'WSE_TIMEOUT' });
    const last = Socket.all.at(-1)?.sent.find(({ t }) => t === 'subscription_update');
    expect(last?.p).toEqual({ action: 'subscribe', topics: ['a', 'b'] });
    await client.close();
  });
});

it('a token function that heeds its signal is no error once the client has ended', async () => {
  const token = ({ signal }: { signal: AbortSignal }): Promise<string> =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  const { client } = await live({ token });
  const errors: unknown[] = [];
  client.watch('error', (error) => errors.push(error));
  await client.close();
  await turn();
  expect(errors).toEqual([]);
});

describe('tokens exchanged', () => {
  const say = (t: string, p: object): void => Socket.all.at(-1)?.say({ c: 'WSE', t, p });
  const given = (): unknown[] =>
    (Socket.all.at(-1) as Socket).sent.filter(({ t }) => t === 'auth_refresh').map(({ p }) => p['token']);
  /** Until so many were sent. */
  const sent = (count: number): Promise<unknown> => vi.waitUntil(() => given().length === count, { timeout: 20_000 });

  it('by the program are not followed by the text the client was made with', async () => {
    const { client, pass } = await live({ token: 'old', tokenIn: 'none' });
    const asked = client.refreshToken('new');
    await sent(1);
    say('auth_refreshed', { expires_at: 5 });
    expect(await asked).toBe(5);
    say('auth_expiring', { expires_in: 1 });
    await pass(5);
    expect(given()).toEqual(['new']);
    await client.close();
  });

  it('do not wait for one that never comes, longer than its time or its connection', async () => {
    const calls: ((token: string) => void)[] = [];
    const { client, pass } = await live({
      tokenIn: 'none',
      token: ({ reason }: { reason: string }) => (reason === 'connect' ? 'first' : new Promise((resolve) => calls.push(resolve))),
    });
    const errors: unknown[] = [];
    client.watch('error', (error) => errors.push((error as { code?: string }).code));
    const hang = async (count: number): Promise<void> => {
      say('auth_expiring', { expires_in: 1 });
      await vi.waitUntil(() => pass(1).then(() => calls.length === count), { timeout: 20_000 });
    };
    await hang(1);
    // What a server says now is about no token of this one.
    say('auth_refreshed', { expires_at: 1 });
    const second = client.refreshToken('second');
    await pass(11);
    expect(errors).toEqual(['WSE_TIMEOUT']);
    expect(given()).toEqual(['second']);
    say('auth_refreshed', { expires_at: 2 });
    expect(await second).toBe(2);
    await hang(2);
    Socket.all[0]?.end(1006);
    await pass(2);
    const third = client.refreshToken('third');
    await sent(1);
    for (const come of calls) come('late');
    say('auth_refreshed', { expires_at: 3 });
    expect(await third).toBe(3);
    expect(given()).toEqual(['third']);
    expect(errors).toEqual(['WSE_TIMEOUT', 'WSE_CONNECTION_LOST']);
    await client.close();
  });
});

describe('a part that cannot be loaded', () => {
  const PART = '../../src/protocol/packed.js';
  async function asked(): Promise<Life & { errors: Error[]; types: string[]; again(): void }> {
    vi.doMock(PART, () => {
      throw new Error('offline');
    });
    const again = (): void => void vi.doUnmock(PART);
    onTestFinished(again);
    const life = await live();
    const errors: Error[] = [];
    const types: string[] = [];
    life.client.watch('error', (error) => errors.push(error));
    life.client.onAny(({ type }) => types.push(type));
    const [socket] = Socket.all;
    socket?.onmessage?.({ data: new Uint8Array(deflateSync('{"t":"packed"}')).buffer });
    socket?.say({ t: 'behind', p: 1 });
    await vi.waitUntil(() => errors.length > 0, { timeout: 20_000 });
    return { ...life, errors, types, again };
  }

  it('loses neither the frame that needs it nor those behind', async () => {
    const { client, pass, errors, types, again } = await asked();
    expect(types).toEqual([]);
    again();
    await pass(2);
    await vi.waitUntil(() => types.length === 2, { timeout: 20_000 });
    expect(types).toEqual(['packed', 'behind']);
    expect(errors).toHaveLength(1);
    await client.close();
  });

  it('is not spoken of once the client has ended', async () => {
    const { client, clock, errors } = await asked();
    await client.close();
    await turn();
    expect(errors).toHaveLength(1);
    expect(clock.timers).toBe(0);
  });
});
