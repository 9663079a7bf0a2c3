/** What an outbox keeps, in which order it sends, and what it says, against a host that is told what happens. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createOutbox } from '../../src/outbox/index.js';
import { encode } from '../../src/protocol/encode.js';
import { FakeHost, hear, LastingStore, settled } from './host.js';

describe('an outbox', () => {
  it('keeps what is sent without a connection, and sends it by priority, then by age', async () => {
    const outbox = createOutbox();
    const host = new FakeHost(outbox);
    const heard = hear(outbox);
    await host.send('first');
    await host.send('low', 1, { priority: 'low' });
    await host.send('urgent', { a: 1 }, { priority: 'critical', correlationId: 'c' });
    await host.send('second');
    expect([outbox.size, outbox.bytes > 100, outbox.durable]).toEqual([4, true, false]);
    expect(host.take()).toEqual([]);
    await host.connect();
    const [urgent] = host.written;
    expect(urgent).toMatchObject({ type: 'urgent', payload: { a: 1 }, correlationId: 'c', priority: 10, id: expect.any(String) });
    expect(encode(urgent as never)).toMatch(/^\{"ob":\["[A-Za-z0-9_-]{8,64}",1\],"c":"U","t":"urgent",/);
    await host.ack(2);
    expect(host.take()).toEqual(['urgent:1', 'first:2', 'second:3', 'low:4']);
    expect(heard).toEqual(['delivered urgent', 'delivered first']);
    expect(outbox.size).toBe(2);
  });

  it('sends again what is not acknowledged, under the same numbers and before anything newer', async () => {
    const outbox = createOutbox({ window: 2 });
    const host = new FakeHost(outbox);
    await host.connect();
    for (const type of ['a', 'b', 'c']) await host.send(type);
    await host.send('d', 0, { priority: 'critical' });
    expect(host.take(), 'two at a time').toEqual(['a:1', 'b:2']);
    await host.disconnect();
    await host.connect();
    expect(host.written[0]?.outbox?.[0]).toMatch(/^ob-/);
    const stream = host.written[0]?.outbox?.[0];
    expect(host.take()).toEqual(['a:1', 'b:2']);
    await host.ack(1, stream);
    expect(host.take()).toEqual(['d:3']);
    // Of other streams, and what is no number.
    await host.ack(99, 'somebody-elses');
    host.hooks.event?.({ type: 'ack', category: 'WSE', payload: { stream, n: '9' } });
    host.hooks.event?.({ type: 'ack', category: 'WSE', payload: null });
    expect(host.hooks.event?.({ type: 'ack', category: 'U', payload: { stream, n: 9 } }), "the application's").toBe(false);
    expect(outbox.size).toBe(3);
    await host.ack(3, stream);
    expect([host.take(), outbox.size]).toEqual([['c:4'], 1]);
  });

  it('sends again what nobody acknowledges for a while', async () => {
    const outbox = createOutbox({ ackTimeout: 1000 });
    const host = new FakeHost(outbox);
    await host.connect();
    await host.send('a');
    await host.send('b');
    host.take();
    host.clock.pass(999);
    await settled();
    expect(host.take()).toEqual([]);
    host.clock.pass(1);
    await settled();
    const stream = host.written[0]?.outbox?.[0];
    expect(host.take()).toEqual(['a:1', 'b:2']);
    await host.ack(2, stream);
    host.clock.pass(10_000);
    await settled();
    expect(host.take()).toEqual([]);
  });

  it('refuses what it has no place for, and says so', async () => {
    const outbox = createOutbox({ maxSize: 2, maxMessageBytes: 1000 });
    const host = new FakeHost(outbox);
    await host.send('a');
    await expect(host.send('large', 'x'.repeat(1000))).rejects.toMatchObject({ code: 'WSE_TOO_LARGE' });
    await expect(host.send('bigint', 1n)).rejects.toMatchObject({ code: 'WSE_ARGUMENT' });
    await expect(host.send('odd', 1, { priority: 7 })).rejects.toMatchObject({ code: 'WSE_ARGUMENT' });
    await expect(host.send('late', 1, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'WSE_ABORTED' });
    await host.send('b');
    await expect(host.send('c')).rejects.toMatchObject({ code: 'WSE_QUEUE_FULL' });
    expect(outbox.size).toBe(2);
    const narrow = new FakeHost(createOutbox({ maxBytes: 200 }));
    await narrow.send('a', 'x'.repeat(100));
    await expect(narrow.send('b', 'x'.repeat(100))).rejects.toMatchObject({ code: 'WSE_QUEUE_FULL' });
    expect(() => createOutbox({ maxAge: 0 })).toThrow('maxAge');
    expect(() => outbox.attach(host)).toThrow('one client');
    // `takes` leaves the rest to the client.
    const some = new FakeHost(createOutbox({ takes: (type) => type === 'order' }));
    expect([some.hooks.send?.('ping', 0, {}), some.hooks.send?.('order', 0, {})]).toEqual([undefined, expect.any(Promise)]);
  });

  it('gives up what is too old, or refused, and says which', async () => {
    const outbox = createOutbox({ maxAge: 1000 });
    const host = new FakeHost(outbox);
    const heard = hear(outbox);
    await host.send('unsent');
    host.clock.pass(500);
    await host.connect();
    await host.send('later');
    const stream = host.written[0]?.outbox?.[0];
    await host.disconnect();
    host.clock.pass(500);
    expect(heard.splice(0)).toEqual(['expired unsent sent']);
    await host.connect();
    host.take();
    await host.send('bad');
    const refusal = { type: 'error', category: 'WSE' as const, payload: { code: 'MALFORMED_OUTBOX', stream, n: 3 } };
    expect(host.hooks.event?.(refusal)).toBe(true);
    expect(host.hooks.event?.({ ...refusal, payload: { code: 'RATE_LIMITED' } })).toBe(false);
    expect(heard.splice(0)).toEqual(['refused bad sent']);
    await host.ack(9, stream);
    expect(heard.splice(0)).toEqual(['delivered later']);
    await host.disconnect();
    await host.send('large', 'x'.repeat(5000));
    await host.send('small');
    await host.connect(true, { max_message_size: 1000 });
    expect(heard.splice(0)).toEqual(['refused large']);
    await expect(host.send('large', 'x'.repeat(5000))).rejects.toMatchObject({ code: 'WSE_TOO_LARGE' });
    expect(outbox.size).toBe(1);
  });

  it('sends at most once to a server that acknowledges nothing, and says so', async () => {
    const outbox = createOutbox();
    const host = new FakeHost(outbox);
    const heard = hear(outbox);
    await host.send('a');
    host.buffered = 10;
    await host.connect(false);
    expect([host.take(), outbox.size]).toEqual([['a'], 1]);
    host.clock.pass(20);
    expect(heard).toEqual([]);
    host.buffered = 0;
    host.clock.pass(20);
    expect(heard.splice(0)).toEqual(['left a']);
    host.buffered = 10;
    await host.send('b');
    await host.disconnect();
    expect([host.take(), heard.splice(0)]).toEqual([['b'], ['unconfirmed b sent']]);
    host.buffered = 0;
    await host.send('c');
    await host.connect();
    const stream = host.written[0]?.outbox?.[0];
    expect(host.take()).toEqual(['c:1']);
    // It may have arrived where it was sent with a number, so no other server gets it without.
    await host.disconnect();
    await host.connect(false);
    expect([host.take(), outbox.size]).toEqual([[], 1]);
    await host.disconnect();
    await host.connect();
    expect(host.take()).toEqual(['c:1']);
    await host.ack(1, stream);
    expect([outbox.size, heard]).toEqual([0, ['delivered c']]);
  });

  it('misses no call that comes as it ends what it did', async () => {
    // At some number of turns of the loop after the connection the store is open: whichever that is, everything goes out.
    for (let turns = 0; turns < 20; turns += 1) {
      const store = new LastingStore();
      const last = (seq: number) => ({
        stream: 'left-behind',
        seq,
        n: 0,
        at: Date.now(),
        priority: 5,
        json: `{"type":"${seq}"}`,
      });
      store.streams.set('left-behind', { last: 0, records: new Map([[1, last(1)]]) });
      let opens = (): void => {};
      const opened = new Promise<void>((resolve) => {
        opens = resolve;
      });
      const open = store.open.bind(store);
      store.open = async (own, adopt) => opened.then(() => open(own, adopt));
      const host = new FakeHost(createOutbox({ store }));
      await settled();
      opens();
      for (let i = 0; i < turns; i += 1) await null;
      await host.connect();
      expect(host.take(), `${turns} turns`).toEqual(['1:1']);
    }
  });

  it('gives up what cannot be written, and goes on', async () => {
    const outbox = createOutbox();
    const heard = hear(outbox);
    const host = new FakeHost(outbox);
    const write = host.write.bind(host);
    host.write = (message) => {
      if (message.type === 'bad') throw new Error('no text');
      return write(message);
    };
    for (const type of ['a', 'bad', 'b']) await host.send(type);
    await host.connect();
    expect([host.take(), heard, host.reported.length]).toEqual([['a:1', 'b:3'], ['refused bad sent'], 1]);
  });

  it('waits while the socket has too much to carry', async () => {
    const host = new FakeHost(createOutbox());
    await host.connect();
    host.buffered = 1_000_000;
    await host.send('a');
    expect(host.take()).toEqual([]);
    host.buffered = 0;
    host.clock.pass(20);
    await settled();
    expect(host.take()).toEqual(['a:1']);
  });
});

describe('a store', () => {
  it('brings back what a reload has left: what was sent first, then what was not, and numbers are never used twice', async () => {
    const store = new LastingStore();
    const first = new FakeHost(createOutbox({ store }));
    await first.connect();
    for (const type of ['a', 'b', 'c']) await first.send(type);
    const old = first.written[0]?.outbox?.[0] as string;
    await first.ack(1);
    await first.disconnect();
    await first.send('d');
    await first.send('e', 0, { priority: 'critical' });
    // No end: the page is gone.
    const outbox = createOutbox({ store });
    const heard = hear(outbox);
    const second = new FakeHost(outbox);
    await second.send('new');
    expect(outbox.size).toBe(5);
    await second.connect();
    const sent = second.written.map(({ type, outbox: ob }) => [type, ob?.[0] === old ? 'old' : 'own', ob?.[1]]);
    expect(sent).toEqual([
      ['b', 'old', 2],
      ['c', 'old', 3],
      ['e', 'old', 4],
      ['d', 'old', 5],
      ['new', 'own', 1],
    ]);
    await second.ack(5, old);
    expect(heard).toEqual(['delivered b', 'delivered c', 'delivered e', 'delivered d']);
    expect([...store.streams.keys()], 'what is empty is forgotten').not.toContain(old);
  });

  it('has the number of a message before the server has the message', async () => {
    const store = new LastingStore();
    const host = new FakeHost(createOutbox({ store }));
    await host.connect();
    let stored = -1;
    host.write = ({ outbox }) => {
      stored = store.streams.get(outbox?.[0] as string)?.records.get(1)?.n ?? 0;
      return true;
    };
    await host.send('a');
    expect(stored).toBe(1);
  });

  it.each(['open', 'put', 'assign', 'remove'])('that fails at %s is left, said so, and nothing is lost', async (call) => {
    const store = new LastingStore();
    store.fails = call;
    const outbox = createOutbox({ store });
    const heard = hear(outbox);
    const host = new FakeHost(outbox);
    await host.send('a');
    await host.connect();
    await host.ack(1);
    await host.send('b');
    expect(heard).toContain(`storage ${call} failed`);
    // Closed it would be another's, who would send again what it has.
    expect([outbox.durable, store.closed, host.reported.length]).toEqual([false, false, 1]);
    // Where `a` had its number from the store, `b` is the first of another stream.
    expect(host.take()).toEqual(['a:1', call === 'remove' ? 'b:1' : 'b:2']);
    await host.hooks.close?.();
    expect(store.closed).toBe(true);
  });

  it('is believed about ages by no clock that has jumped', async () => {
    const store = new LastingStore();
    const record = (seq: number, at: number) => ({
      stream: 'left-behind',
      seq,
      n: 0,
      at,
      priority: 5,
      json: `{"type":"${seq}"}`,
    });
    store.streams.set('left-behind', {
      last: 0,
      records: new Map([
        [1, record(1, Date.now() - 86_400_000)],
        [2, record(2, Date.now() + 86_400_000)],
        [3, record(3, Date.now() - 500)],
      ]),
    });
    const outbox = createOutbox({ store, maxAge: 1000 });
    const heard = hear(outbox);
    const host = new FakeHost(outbox);
    await settled();
    expect(heard.splice(0)).toEqual(['expired 1']);
    host.clock.pass(600);
    expect(heard.splice(0)).toEqual(['expired 3']);
    host.clock.pass(400);
    expect(heard.splice(0)).toEqual(['expired 2']);
  });

  it('says of each message one thing: what is given up is not delivered', async () => {
    const outbox = createOutbox({ maxAge: 1000 });
    const heard = hear(outbox);
    const host = new FakeHost(outbox);
    await host.connect(false);
    host.buffered = 10;
    await host.send('a');
    host.clock.pass(2000);
    host.buffered = 0;
    host.clock.pass(100);
    expect(heard).toEqual(['expired a sent']);
    host.buffered = 10;
    await host.send('b');
    host.clock.pass(2000);
    await host.disconnect();
    expect(heard).toEqual(['expired a sent', 'expired b sent']);
  });

  it('is closed with the client', async () => {
    const store = new LastingStore();
    const host = new FakeHost(createOutbox({ store }));
    await host.send('a');
    await host.hooks.close?.();
    expect([store.closed, store.streams.size, host.clock.timers]).toEqual([true, 1, 0]);
    await expect(host.send('b')).rejects.toMatchObject({ code: 'WSE_CLOSED' });
  });
});

describe('the wire', () => {
  const file = new URL('../../../spec/vectors/outbox-client.json', import.meta.url);
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as { kind: string; stream: string | null; n: number; message: string }[];

  it('is as its vectors say: what the server reads is what is written', () => {
    for (const { kind, stream, n, message } of vectors) {
      if (kind !== 'read' || stream === null) continue;
      const { t: type, p: payload } = JSON.parse(message) as { t: string; p?: unknown };
      const text = encode({ type, payload, outbox: [stream, n] });
      expect(text.startsWith(`{"ob":["${stream}",${n}],`)).toBe(true);
      expect(`{${text.slice(`{"ob":["${stream}",${n}],`.length)}`).toBe(encode({ type, payload }));
    }
  });
});
