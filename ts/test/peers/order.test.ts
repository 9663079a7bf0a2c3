/** Order: what was published comes whole, once, and in the order of the calls; or its loss is told. */

import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { RustWSEServer } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { random } from '../support/random.js';
import { type Frame as RawFrame, RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { all, type Client, type Frame, join } from './harness.js';

const KIB = 1024;

/** `{"t":"n","p":[i,"…"]}`: its number, and a filling that tells whether it is whole. */
const numbered = (i: number, filling: number) => `{"c":"U","t":"n","p":[${i},"${String(i % 10).repeat(filling)}"]}`;

/** The number in a message of {@link numbered}; throws when it is not whole. */
function numberOf(text: string): number {
  const [i, filling] = JSON.parse(text).p as [number, string];
  if (filling !== String(i % 10).repeat(filling.length) || text !== numbered(i, filling.length)) throw new Error(`torn: ${text}`);
  return i;
}

/** The numbers a client hears from now on. */
function collect(client: Client): number[] {
  const numbers: number[] = [];
  client.socket.on('message', (data, binary) => {
    const text = data.toString();
    if (!binary && text.startsWith('{"c":"U","t":"n"')) numbers.push(numberOf(text));
  });
  return numbers;
}

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

/** First number that is out of place, or -1: a readable answer about long lists. */
const misplaced = (numbers: readonly number[]) => numbers.findIndex((n, i) => n !== i);

describe('a flood with backpressure', () => {
  it.each([
    ['small messages', 40_000, () => 40],
    ['messages of all sizes', 6000, (i: number) => (i % 500 === 0 ? 400 * KIB : i % 50 === 0 ? 20 * KIB : i % 200)],
  ])('of %s reaches every subscriber whole, in order, once', async (_, messages, size) => {
    await using host = await startServer({ publisher: { highWaterMark: 64 * KIB, hardLimit: 64 * 1024 * KIB } });
    const { server } = host;
    const subscriptions = [['flood'], ['flood'], ['flo*'], ['flood', '*'], ['other', 'flood'], ['flood']];
    const clients: Client[] = [];
    using _clients = all(clients);
    for (const topics of subscriptions) {
      const { client, conn } = await join(host);
      clients.push(client);
      expect(server.subscribeConnection(conn, topics)).toBe(topics.length);
    }
    const heard = clients.map(collect);

    // Goes on until the engine was behind at least once: on a busy machine it may keep up with us for long.
    let published = 0;
    for (let waits = 0; published < messages || waits === 0; ) {
      const i = published++;
      if (server.broadcast('flood', numbered(i, size(i)))) continue;
      waits += 1;
      await server.drained();
    }
    await waitUntil(() => heard.every((numbers) => numbers.length >= published), 'all messages', 25_000);
    for (const numbers of heard) expect(misplaced(numbers)).toBe(-1);
    expect(heard.map(({ length }) => length)).toEqual(clients.map(() => published));
    expect(host.metric('wse_slow_consumer_drops_total')).toBe(0);
  });

  it('does not keep pings, pongs and newcomers waiting', async () => {
    await using host = await startServer({ pingInterval: 1, shards: threads(1) });
    const { client, conn } = await join(host);
    using _client = client;
    host.server.subscribeConnection(conn, ['flood']);
    const numbers = collect(client);
    let published = 0;
    let over = false;
    const flood = (async () => {
      while (!over) {
        const ok = host.server.broadcast('flood', numbered(published++, 100));
        if (!ok) await host.server.drained();
        else if (published % 200 === 0) await nextTurn();
      }
    })();
    try {
      const pong = once(client.socket, 'pong');
      client.socket.ping();
      await pong;
      client.send({ t: 'ping', p: {} });
      await client.text('{"c":"WSE","t":"PONG"');
      const { client: late } = await join(host);
      using _late = late;
      await once(late.socket, 'ping');
      await waitUntil(() => client.pings.length > 0, 'ping in text');
    } finally {
      over = true;
      await flood;
    }
    await waitUntil(() => numbers.length === published, 'the rest');
    expect(misplaced(numbers)).toBe(-1);
  });
});

interface Listener {
  conn: number;
  client: Client;
  /** What it must hear, in order. */
  owed: number[];
  topics: Set<string>;
}

const TOPICS = ['a', 'b', 'a*', 'long/topic/name'];
const hears = ({ topics }: Listener, topic: string) => topics.has(topic) || (topic.startsWith('a') && topics.has('a*'));

/** One random call, and who must hear of it. */
function act(server: RustWSEServer, listeners: readonly Listener[], n: number, below: (n: number) => number): void {
  const listener = listeners[below(listeners.length)] as Listener;
  const topic = TOPICS[below(TOPICS.length)] as string;
  const filling = [0, 10, 200, 3000, 70_000][below(100) === 0 ? 4 : below(4)] as number;
  const bytes = Buffer.alloc(4 + filling);
  bytes.writeUInt32BE(n);
  switch (below(9)) {
    case 0:
    case 1:
    case 2: {
      const name = topic === 'a*' ? 'a' : topic;
      server.broadcast(name, numbered(n, filling));
      for (const other of listeners) if (hears(other, name)) other.owed.push(n);
      break;
    }
    case 3:
      server.broadcastAll(numbered(n, filling));
      for (const other of listeners) other.owed.push(n);
      break;
    case 4:
      server.broadcastAllBytes(bytes);
      for (const other of listeners) other.owed.push(n);
      break;
    case 5:
      expect(server.send(listener.conn, numbered(n, filling))).toBe(true);
      listener.owed.push(n);
      break;
    case 6:
      expect(server.sendBytes(listener.conn, bytes)).toBe(true);
      listener.owed.push(n);
      break;
    case 7:
      expect(server.sendEvent(listener.conn, { t: 'event', p: [n, 'e'.repeat(filling)] })).toBeGreaterThan(0);
      listener.owed.push(n);
      break;
    default:
      if (listener.topics.delete(topic)) {
        expect(server.unsubscribeConnection(listener.conn, [topic])).toBe(true);
      } else {
        expect(server.subscribeConnection(listener.conn, [topic])).toBe(1);
        listener.topics.add(topic);
      }
  }
}

/** The number of any message of {@link act}; undefined: the engine's own. */
function decode({ data, binary }: Frame): number | undefined {
  // An event, for who has not said hello.
  if (!binary && data.includes('"t":"event"')) return JSON.parse(data.toString()).p[0];
  if (!binary) return data.toString().startsWith('{"c":"U"') ? numberOf(data.toString()) : undefined;
  const head = data.subarray(0, 2).toString('latin1');
  if (head === 'C:') return JSON.parse(inflateSync(data.subarray(2)).toString()).p[0];
  if (head === '{"') return JSON.parse(data.toString()).p[0];
  return data.readUInt32BE(0);
}

describe('mixed calls', () => {
  it.each([1, 2, 3, 4, 5, 6])('keep the order of each connection (seed %i)', async (seed) => {
    const CALLS = 2500;
    const below = random(seed);
    await using host = await startServer();
    const listeners: Listener[] = [];
    using _ = {
      [Symbol.dispose]: () => {
        for (const { client } of listeners) client[Symbol.dispose]();
      },
    };
    for (let i = 0; i < 5; i += 1) listeners.push({ ...(await join(host)), owed: [], topics: new Set() });
    // Some hear events as bytes, the others as text.
    for (const { client } of listeners.slice(0, 3)) {
      client.send({ t: 'client_hello' });
      await client.frame(({ data }) => data.includes('"t":"server_hello"'), 'server_hello');
    }
    for (let n = 0; n < CALLS; n += 1) {
      act(host.server, listeners, n, below);
      if (below(100) === 0) await nextTurn();
    }
    for (const { conn } of listeners) host.server.send(conn, 'the end');
    for (const { client, owed } of listeners) {
      await client.text('the end');
      const heard = client.frames.map(decode).filter((n) => n !== undefined);
      expect(heard).toEqual(owed);
      expect(owed.length).toBeGreaterThan(CALLS / 10);
    }
  });
});

/** A subscriber that reads when told to, and what it was owed. */
async function sluggish(host: TestServer): Promise<{ peer: RawPeer; conn: number }> {
  const peer = await RawPeer.open(host.port);
  const [, conn] = await host.take('connect');
  await peer.nextText();
  peer.pause();
  host.server.subscribeConnection(conn, ['flood']);
  return { peer, conn };
}

const textsOf = (frames: readonly RawFrame[]) =>
  frames.filter(({ opcode }) => opcode === 1).map(({ payload }) => payload.toString());

const numbersOf = ({ frames }: RawPeer) =>
  textsOf(frames)
    .filter((text) => text.startsWith('{"c":"U"'))
    .map(numberOf);

interface Told {
  messages: number;
  bytes: number;
}

function told(host: TestServer, conn: number, policy: 'drop' | 'close'): Told {
  const sum = { messages: 0, bytes: 0 };
  for (const [type, from, payload] of host.events) {
    if (type !== 'slow_consumer') continue;
    expect([from, payload.policy]).toEqual([conn, policy]);
    expect(payload.droppedMessages).toBeGreaterThan(0);
    sum.messages += payload.droppedMessages;
    sum.bytes += payload.droppedBytes;
  }
  return sum;
}

describe('a slow reader', () => {
  it("loses whole messages under 'drop', and every loss is told", async () => {
    const BUDGET = 256 * KIB;
    const ROUND = 100;
    await using host = await startServer({ maxOutboundQueueBytes: BUDGET, slowConsumer: 'drop', shards: threads(1) });
    const { server } = host;
    const { peer, conn } = await sluggish(host);
    const { client } = await join(host);
    using _client = client;
    const fast = collect(client);
    server.subscribeConnection(host.server.getConnections().find((id) => id !== conn) ?? -1, ['flood']);

    // Floods, reads, floods again: losses begin and end several times. The fast one gets its turn after each round.
    let n = 0;
    const publish = async (rounds: number) => {
      for (const end = n + rounds * ROUND; n < end; ) {
        for (let i = 0; i < ROUND; i += 1, n += 1) server.broadcast('flood', numbered(n, n % 1500));
        await waitUntil(() => fast.length === n, 'the fast reader');
      }
    };
    const drops = () => host.metric('wse_slow_consumer_drops_total');
    for (let flood = 0; flood < 3; flood += 1) {
      const before = drops();
      while (drops() < before + 500) await publish(1);
      peer.resume();
      await waitUntil(() => host.metric('wse_outbound_bytes') === 0, 'an empty queue');
      // What is published now fits again.
      const after = drops();
      await publish(1);
      expect(drops()).toBe(after);
      peer.pause();
    }
    peer.resume();
    await waitUntil(() => host.metric('wse_outbound_bytes') === 0, 'an empty queue');
    server.send(conn, 'the end');
    await waitUntil(() => textsOf(peer.frames).includes('the end'), 'the end');

    const numbers = numbersOf(peer);
    expect(misplaced(fast)).toBe(-1);
    const repeats = numbers.filter((number, i) => i > 0 && number <= (numbers[i - 1] as number));
    expect(repeats).toEqual([]);
    const lost = n - numbers.length;
    expect(lost).toBeGreaterThanOrEqual(1500);
    expect(drops()).toBe(lost);
    await waitUntil(() => told(host, conn, 'drop').messages >= lost, 'word of every loss', 5000);
    const came = new Set(numbers);
    const missing = upTo(n).filter((i) => !came.has(i));
    const frameSize = (payload: number) => payload + (payload < 126 ? 2 : 4);
    const bytes = missing.reduce((sum, i) => sum + frameSize(numbered(i, i % 1500).length), 0);
    expect(told(host, conn, 'drop')).toEqual({ messages: lost, bytes });
  });

  it('is told of before its disconnect, and counted when its own calls are dropped', async () => {
    await using host = await startServer({ maxOutboundQueueBytes: 64 * KIB, slowConsumer: 'drop' });
    const { peer, conn } = await sluggish(host);
    const drops = () => host.metric('wse_slow_consumer_drops_total');
    const text = 'x'.repeat(30 * KIB);
    for (let i = 0; drops() < 100; i += 1) {
      if (i % 3 === 0) host.server.send(conn, text);
      else if (i % 3 === 1) host.server.sendEvent(conn, { t: 'e', p: text }, { compressionThreshold: 0 });
      else host.server.broadcastAll(text);
      if (i % 50 === 0) await nextTurn();
    }
    // What the engine would answer is lost like anything else.
    const before = drops();
    await waitUntil(() => {
      for (let i = 0; i < 200; i += 1) peer.text('{"t":"ping"}');
      return drops() > before;
    }, 'PONG without room');
    peer.reset();
    await host.take('disconnect', conn);
    expect(told(host, conn, 'drop').messages).toBe(drops());
  });

  it("is closed with 4300 under 'close', after whole messages", async () => {
    await using host = await startServer({ maxOutboundQueueBytes: 128 * KIB, slowConsumer: 'close' });
    const { peer, conn } = await sluggish(host);
    let n = 0;
    while (!host.events.some(([type]) => type === 'slow_consumer')) {
      for (let i = 0; i < 50; i += 1) host.server.broadcast('flood', numbered(n++, 1000));
      await nextTurn();
    }
    peer.resume();
    expect(await peer.closing()).toEqual({ code: 4300, reason: 'slow consumer' });
    peer.close(4300);
    await host.take('disconnect', conn);
    const numbers = numbersOf(peer);
    expect(misplaced(numbers)).toBe(-1);
    expect(numbers.length).toBeLessThan(n);
    expect(told(host, conn, 'close').messages).toBe(host.metric('wse_slow_consumer_drops_total'));
  });
});
