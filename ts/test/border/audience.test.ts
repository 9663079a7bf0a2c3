/** Who gets a publication and in which form: bytes, all but one, the topic named, names that are no patterns. */

import { describe, expect, it } from 'vitest';
import { topicSegment, WSEArgumentError, WSEError, WSEOverloadedError } from '../../src/index.js';
import { startServer, type TestServer } from '../support/server.js';
import { waitUntil } from '../support/wait.js';
import { type Client, heardSoFar, join, QUIET } from './client.js';

interface Joined {
  client: Client;
  conn: number;
}

async function joinAll(on: TestServer, count: number, topics: string[]): Promise<Joined[]> {
  const joined: Joined[] = [];
  for (let i = 0; i < count; i += 1) {
    const one = await join(on);
    on.server.subscribeConnection(one.conn, topics);
    joined.push(one);
  }
  return joined;
}

const hex = ({ client }: Joined): string[] => client.binaries.map((bytes) => bytes.toString('hex'));

describe('publishBytes', () => {
  it('sends binary frames, byte for byte and in the order of all calls', async () => {
    const on = await startServer(QUIET);
    const [exact, pattern] = (await joinAll(on, 2, ['t'])) as [Joined, Joined];
    on.server.unsubscribeConnection(pattern.conn);
    on.server.subscribeConnection(pattern.conn, ['?', 'u*']);
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    const seen: string[] = [];
    exact.client.socket.on('message', (data, binary) => seen.push(binary ? (data as Buffer).toString('hex') : String(data)));
    expect(on.server.publishBytes('t', all)).toBe(true);
    on.server.broadcast('t', 'text');
    on.server.publishBytes('t', new Uint8Array(0));
    on.server.send(exact.conn, 'direct');
    on.server.publishBytes('t', all.subarray(1, 3));
    on.server.publishBytes('t', new DataView(all.buffer, 254));
    on.server.publishBytes('u', all.buffer);
    on.server.sendBytes(exact.conn, all.subarray(9, 10));
    const { texts } = await heardSoFar(on, exact.client, exact.conn);
    expect(texts).toEqual(['text', 'direct']);
    const whole = Buffer.from(all).toString('hex');
    expect(seen.slice(0, -1)).toEqual([whole, 'text', '', 'direct', '0102', 'feff', '09']);
    await waitUntil(() => pattern.client.binaries.length === 5, 'five at the pattern');
    expect(hex(pattern)).toEqual([whole, '', '0102', 'feff', whole]);
  });

  it('copies what it is given, whatever becomes of it, and large and small ones keep their order', async () => {
    const on = await startServer({ ...QUIET, publisher: { highWaterMark: 64 * 2 ** 20 } });
    const [one] = (await joinAll(on, 1, ['t'])) as [Joined];
    const shared = new Uint8Array(new SharedArrayBuffer(8)).fill(7);
    const scratch = new Uint8Array(300_000);
    const sizes: number[] = [];
    for (let i = 0; i < 400; i += 1) {
      const size = [1, 100, 5000, 16_384, 16_385, 70_000, 300_000][i % 7] as number;
      sizes.push(size);
      scratch[0] = i;
      scratch[size - 1] = i;
      on.server.publishBytes('t', scratch.subarray(0, size));
      scratch.fill(255, 0, 1);
      if (i % 20 === 19) await on.server.drained();
    }
    on.server.publishBytes('t', shared);
    shared.fill(1);
    await waitUntil(() => one.client.binaries.length === 401, 'all');
    const got = one.client.binaries;
    expect(got.slice(0, 400).map((bytes) => bytes.length)).toEqual(sizes);
    expect(got.slice(0, 400).every((bytes, i) => bytes[0] === i % 256 && bytes.at(-1) === i % 256)).toBe(true);
    expect(got[400]?.toString('hex')).toBe('07'.repeat(8));
  });

  it('obeys the rules of pressure: false above the mark, refused above the limit, taken again after drained()', async () => {
    const on = await startServer({ ...QUIET, publisher: { highWaterMark: 65_536, hardLimit: 131_072 } });
    const [one] = (await joinAll(on, 1, ['t'])) as [Joined];
    const bytes = new Uint8Array(10_000);
    const answers: unknown[] = [];
    for (let i = 0; i < 10_000 && !answers.includes(false); i += 1) {
      try {
        answers.push(on.server.publishBytes('t', bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(WSEOverloadedError);
        answers.push('refused');
        break;
      }
    }
    expect([answers[0], answers.includes(false)]).toEqual([true, true]);
    await on.server.drained();
    expect(on.server.publishBytes('t', bytes)).toBe(true);
    const taken = answers.filter((answer) => answer !== 'refused').length + 1;
    await waitUntil(() => one.client.binaries.length === taken, 'whatever was taken arrives');
  });

  it('goes to one member of each queue group', async () => {
    const on = await startServer(QUIET);
    const members = [await join(on), await join(on)];
    for (const { conn } of members) on.server.subscribeConnection(conn, ['jobs'], { queueGroup: 'g' });
    for (let i = 0; i < 4; i += 1) on.server.publishBytes('jobs', Uint8Array.of(i));
    await waitUntil(() => members.every((member) => hex(member).length === 2), 'two each');
    expect(members.flatMap(hex).sort()).toEqual(['00', '01', '02', '03']);
  });

  it.each<[string, (server: TestServer['server']) => unknown, typeof TypeError]>([
    ['text for bytes', (server) => server.publishBytes('t', 'text' as never), TypeError],
    ['an array', (server) => server.publishBytes('t', [1] as never), TypeError],
    ['a number for the topic', (server) => server.publishBytes(1 as never, new Uint8Array(1)), TypeError],
    ['a connection for the options', (server) => server.publishBytes('t', new Uint8Array(1), 5 as never), TypeError],
    ['text for except', (server) => server.publishBytes('t', new Uint8Array(1), { except: '5' as never }), TypeError],
    ['text for includeTopic', (server) => server.publishBytes('t', new Uint8Array(1), { includeTopic: 'x' as never }), TypeError],
  ])('refuses %s', async (_, call, kind) => {
    const on = await startServer(QUIET);
    expect(() => call(on.server)).toThrow(kind);
  });
});

describe('except', () => {
  it.each([1, 4])('leaves one connection out, of subscribers of the name and of a pattern (%i shards)', async (shards) => {
    const on = await startServer({ ...QUIET, shards });
    const all = await joinAll(on, 6, ['room.a']);
    const wild = await joinAll(on, 2, ['room.*', 'room.a']);
    const everybody = [...all, ...wild];
    const expected = everybody.map((): string[] => []);
    const long = 'x'.repeat(5000);
    for (let i = 0; i < 200; i += 1) {
      const out = i % (everybody.length + 1); // and now and then nobody
      const text = i % 3 === 0 ? `${long}${i}` : `m${i}`;
      const except = everybody[out]?.conn;
      if (i % 2 === 0) on.server.broadcast('room.a', text, except === undefined ? undefined : { except });
      else on.server.publishBytes('room.a', Buffer.from(text), except === undefined ? {} : { except });
      everybody.forEach((_, at) => {
        if (at !== out) expected[at]?.push(text);
      });
    }
    for (const [at, { client, conn }] of everybody.entries()) {
      const { texts, binaries } = await heardSoFar(on, client, conn);
      const of = (list: readonly string[]): string => list.map((text) => text.slice(-6)).join();
      expect(of(texts)).toBe(of(expected[at]?.filter((text) => Number(text.match(/\d+$/)?.[0]) % 2 === 0) ?? []));
      expect(of(binaries)).toBe(of(expected[at]?.filter((text) => Number(text.match(/\d+$/)?.[0]) % 2 === 1) ?? []));
    }
  });

  it('is for the one call only, and leaves nobody out when it names nobody', async () => {
    const on = await startServer(QUIET);
    const [first, second] = (await joinAll(on, 2, ['t'])) as [Joined, Joined];
    second.client.socket.close();
    await on.take('disconnect', second.conn);
    on.server.publish('t', 'typing', 1, { except: first.conn });
    for (const except of [second.conn, 0, -1, 1.5, Number.NaN, 2 ** 60]) on.server.publish('t', 'said', 2, { except });
    on.server.publish('t', 'last', 3);
    const said = '{"c":"U","t":"said","p":2,"v":1}';
    const { texts } = await heardSoFar(on, first.client, first.conn);
    expect(texts).toEqual([said, said, said, said, said, said, '{"c":"U","t":"last","p":3,"v":1}']);
  });

  it('passes a member of a queue group over', async () => {
    const on = await startServer(QUIET);
    const members = [await join(on), await join(on)];
    for (const { conn } of members) on.server.subscribeConnection(conn, ['jobs'], { queueGroup: 'g' });
    const [first, second] = members as [Joined, Joined];
    for (let i = 0; i < 5; i += 1) on.server.broadcast('jobs', `${i}`, { except: first.conn });
    expect((await heardSoFar(on, second.client, second.conn)).texts).toEqual(['0', '1', '2', '3', '4']);
    expect((await heardSoFar(on, first.client, first.conn)).texts).toEqual([]);
  });
});

describe('includeTopic', () => {
  it('names the topic in the envelope, for subscribers of a pattern', async () => {
    const on = await startServer(QUIET);
    const [one] = (await joinAll(on, 1, ['md.*'])) as [Joined];
    on.server.publish('md.AAPL', 'q', { bid: 1 }, { includeTopic: true });
    on.server.publish('md."x"ü', 'q', 2, { includeTopic: true, id: 'i' });
    on.server.publish('md.AAPL', 'q', 3, { includeTopic: false });
    expect((await heardSoFar(on, one.client, one.conn)).texts).toEqual([
      '{"c":"U","t":"q","p":{"bid":1},"topic":"md.AAPL","v":1}',
      '{"c":"U","t":"q","p":2,"id":"i","topic":"md.\\"x\\"ü","v":1}',
      '{"c":"U","t":"q","p":3,"v":1}',
    ]);
  });

  it('puts the name in front of bytes', async () => {
    const on = await startServer(QUIET);
    const [one] = (await joinAll(on, 1, ['m*'])) as [Joined];
    on.server.publishBytes('mdü', Uint8Array.of(0, 255), { includeTopic: true });
    on.server.publishBytes('m'.repeat(300), new Uint8Array(0), { includeTopic: true });
    await waitUntil(() => one.client.binaries.length === 2, 'both');
    expect(hex(one)).toEqual(['543a00046d64c3bc00ff', `543a012c${'6d'.repeat(300)}`]);
  });

  it('is refused where the text is sent as it is given', async () => {
    const on = await startServer(QUIET);
    expect(() => on.server.broadcast('t', 'x', { includeTopic: true } as never)).toThrow(TypeError);
  });
});

describe('a name that is none', () => {
  const wrong = ['', '*', 'room.*', 'a?'];

  it.each(wrong)('%j is refused by every way to publish, and nothing is sent', async (topic) => {
    const on = await startServer(QUIET);
    const [one] = (await joinAll(on, 1, ['*'])) as [Joined];
    const calls = [
      () => on.server.broadcast(topic, 'x'),
      () => on.server.broadcastLocal(topic, 'x'),
      () => on.server.publish(topic, 't', 1),
      () => on.server.publishBytes(topic, new Uint8Array(1)),
    ];
    for (const call of calls) {
      expect(call).toThrow(WSEArgumentError);
      expect(call).toThrow(expect.objectContaining({ code: 'WSE_INVALID_TOPIC', path: 'topic' }));
      expect(call).toThrow(WSEError);
    }
    expect(await heardSoFar(on, one.client, one.conn)).toEqual({ texts: [], binaries: [] });
  });

  it.each(wrong)('%j is refused by an exact subscription, and none of them is made', async (topic) => {
    const on = await startServer(QUIET);
    const { conn } = await join(on);
    const subscribe = (): unknown => on.server.subscribeConnection(conn, ['fine', topic], { exact: true });
    expect(subscribe).toThrow(expect.objectContaining({ code: 'WSE_INVALID_TOPIC', path: 'topics[1]' }));
    expect(on.server.getTopicSubscriberCount('fine')).toBe(0);
    expect(on.server.subscribeConnection(conn, ['fine', 'too'], { exact: true })).toBe(2);
  });

  it('made by topicSegment() is a room of its own: whoever asks for * hears no other', async () => {
    const on = await startServer(QUIET);
    const [eve, bob] = [await join(on), await join(on)];
    const roomOf = (typed: string): string => `room.${topicSegment(typed)}`;
    on.server.subscribeConnection(eve.conn, [roomOf('*')], { exact: true });
    on.server.subscribeConnection(bob.conn, [roomOf('tea')], { exact: true });
    on.server.broadcast(roomOf('tea'), 'the password is 1234');
    on.server.broadcast(roomOf('*'), 'to the room called *');
    expect((await heardSoFar(on, eve.client, eve.conn)).texts).toEqual(['to the room called *']);
    expect((await heardSoFar(on, bob.client, bob.conn)).texts).toEqual(['the password is 1234']);
  });
});

describe('what has no JSON form', () => {
  it('is refused by publish() and sendEvent() with its place, and nothing is sent', async () => {
    const on = await startServer(QUIET);
    const [one] = (await joinAll(on, 1, ['t'])) as [Joined];
    const values = [new Map([[1, 2]]), new Set(), new RangeError('no'), Symbol('s'), /x/, Promise.resolve()];
    for (const value of values) {
      const refused = (path: string): unknown => expect.objectContaining({ code: 'WSE_NO_JSON_FORM', path });
      expect(() => on.server.publish('t', 'x', value)).toThrow(refused('payload'));
      expect(() => on.server.publish('t', 'x', { a: [value] })).toThrow(refused('payload.a[0]'));
      expect(() => on.server.sendEvent(one.conn, { t: 'x', p: value })).toThrow(refused('event.p'));
    }
    on.server.publish('t', 'x', { exact: 2n ** 53n - 1n, beyond: 2n ** 53n });
    expect((await heardSoFar(on, one.client, one.conn)).texts).toEqual([
      '{"c":"U","t":"x","p":{"exact":9007199254740991,"beyond":"9007199254740992"},"v":1}',
    ]);
  });
});
