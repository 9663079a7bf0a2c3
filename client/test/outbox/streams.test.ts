/** The streams of one outbox, its own and those that others have left: what a store that fails, or a server that refuses some, does to them. */

import { describe, expect, it, onTestFinished } from 'vitest';
import { createOutbox, type OutboxRecord } from '../../src/outbox/index.js';
import { FakeHost, hear, LastingStore, settled } from './host.js';

const record = (stream: string, seq: number, n = 0): OutboxRecord => ({
  stream,
  seq,
  n,
  at: Date.now(),
  priority: 5,
  json: JSON.stringify({ type: `${stream}/${seq}` }),
});

/** A store in which `count` streams were left, with `each` messages. */
function left(count: number, each = 1): LastingStore {
  const store = new LastingStore();
  for (let i = 0; i < count; i += 1) {
    const name = `left-${String(i).padStart(4, '0')}`;
    const records = Array.from({ length: each }, (_, at) => [at + 1, record(name, at + 1)] as const);
    store.streams.set(name, { last: 0, records: new Map(records) });
  }
  return store;
}

/** A store takes its time for each stream. */
const long = async (): Promise<void> => {
  for (let i = 0; i < 100; i += 1) await settled();
};
const streams = (host: FakeHost): Set<string> => new Set(host.written.map(({ outbox }) => outbox?.[0] as string));

describe('a store that has failed', () => {
  it('shares no number with what is sent from memory', async () => {
    const store = new LastingStore();
    const first = new FakeHost(createOutbox({ store }));
    await first.send('w1');
    await first.send('w2');
    store.fails = 'put';
    await first.send('urgent', 0, { priority: 'critical' });
    // One gets out, then the process is gone.
    first.write = (message) => first.written.length === 0 && first.written.push(message) > 0;
    await first.connect();
    const [urgent] = first.written;
    expect(urgent?.type).toBe('urgent');
    store.fails = undefined;
    const outbox = createOutbox({ store });
    const heard = hear(outbox);
    const second = new FakeHost(outbox);
    await second.connect();
    expect(second.written.map(({ type }) => type).sort()).toEqual(['w1', 'w2']);
    expect(streams(second), 'the server would take it for a repeat').not.toContain(urgent?.outbox?.[0]);
    expect(heard).toEqual([]);
  });

  it('sends what it can number, or give up, and nothing that it would send once more', async () => {
    const store = new LastingStore();
    const outbox = createOutbox({ store, maxAge: 1000 });
    const heard = hear(outbox);
    const host = new FakeHost(outbox);
    await host.send('kept');
    store.fails = 'all';
    await host.send('memory');
    await host.connect();
    expect([host.take(), outbox.size]).toEqual([['memory:1'], 2]);
    // It comes back: so does what it holds.
    store.fails = undefined;
    await host.disconnect();
    await host.connect();
    expect(host.written.map(({ type }) => type).sort()).toEqual(['kept', 'memory']);
    const kept = host.written.find(({ type }) => type === 'kept')?.outbox;
    expect(store.streams.get(kept?.[0] as string)?.records.get(1)?.n).toBe(kept?.[1]);
    await host.ack(kept?.[1] as number, kept?.[0]);
    expect(heard).toEqual(['storage put failed', 'delivered kept']);
    expect([...store.streams.values()].flatMap(({ records }) => [...records])).toEqual([]);
  });
});

describe('many streams', () => {
  it('go 63 at a time beside our own, and none is lost because the server takes no more', async () => {
    const store = left(100);
    const outbox = createOutbox({ store });
    const heard = hear(outbox);
    const host = new FakeHost(outbox);
    await host.connect();
    await long();
    expect([...streams(host)]).toEqual([...left(63).streams.keys()]);
    await host.send('own');
    expect(streams(host).size).toBe(64);
    // One is finished, but this server goes on counting it.
    await host.ack(1, 'left-0000');
    expect(host.written.at(-1)?.outbox?.[0]).toBe('left-0063');
    host.hooks.event?.({ type: 'error', category: 'WSE', payload: { code: 'OUTBOX_STREAMS', stream: 'left-0063', n: 1 } });
    await host.ack(1, 'left-0001');
    expect([streams(host).size, outbox.size, heard.length]).toEqual([65, 99, 2]);
    await host.disconnect();
    host.written.splice(0);
    await host.connect();
    expect(host.written.map(({ outbox: ob }) => ob?.[0]).slice(0, 3)).toEqual(['left-0002', 'left-0003', 'left-0004']);
    expect(host.take(), 'under the number it has').toContain('left-0063/1:1');
    expect(heard).toEqual(['delivered left-0000/1', 'delivered left-0001/1']);
  });

  it('of which the server says nothing take no place from our own', async () => {
    const store = left(1, 80);
    const host = new FakeHost(createOutbox({ store, ackTimeout: 1000 }));
    await host.connect();
    await long();
    expect(host.take().length).toBe(64);
    await host.send('own');
    expect(host.take()).toEqual(['own:1']);
  });
});

describe('an acknowledgement that does not come', () => {
  it('is waited for from its own message on, whatever is sent after that', async () => {
    const host = new FakeHost(createOutbox({ ackTimeout: 10_000 }));
    await host.connect();
    await host.send('first');
    host.clock.pass(9000);
    await host.send('second');
    expect(host.take()).toEqual(['first:1', 'second:2']);
    host.clock.pass(1000);
    await settled();
    expect(host.take()).toEqual(['first:1', 'second:2']);
  });

  it('is no other stream’s', async () => {
    const host = new FakeHost(createOutbox({ store: left(1), ackTimeout: 10_000 }));
    await host.connect();
    host.clock.pass(5000);
    await host.send('own');
    host.take();
    host.clock.pass(5000);
    await settled();
    expect(host.take()).toEqual(['left-0000/1:1']);
  });
});

describe('what waits', () => {
  it('is not looked through for each message', async () => {
    const outbox = createOutbox({ maxSize: 100_000, maxBytes: 2 ** 30, window: 1000 });
    const host = new FakeHost(outbox);
    // Everything that is kept is in maps: whoever looks at one message after the other does this.
    let looks = 0;
    const iterator = Object.getPrototypeOf(new Map().values()) as { next: () => unknown };
    const { next } = iterator;
    onTestFinished(() => void Object.assign(iterator, { next }));
    iterator.next = function (this: unknown) {
      looks += 1;
      return next.call(this);
    };
    const sends: unknown[] = [];
    for (let i = 0; i < 2000; i += 1) sends.push(host.hooks.send?.('x', i, {}));
    await Promise.all(sends);
    await settled();
    await host.connect();
    await long();
    for (let n = 1000; n <= 2000; n += 1000) {
      await host.ack(n);
      await long();
    }
    iterator.next = next;
    expect([outbox.size, host.written.length]).toEqual([0, 2000]);
    expect(looks).toBeLessThan(100 * 2000);
  });
});
