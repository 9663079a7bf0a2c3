/** Hours of a client in no time: its clock is moved by hand, and its socket is one of these. */

import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { connect, type StateChange, type WSEClient } from '../../src/index.js';
import { Socket } from '../support/socket.js';
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
  await turn();
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
