import { describe, expect, it, onTestFinished } from 'vitest';
import { RustWSEServer, type WSEBatch, type WSEEvent, type WSEServerOptions, WSEStateError } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { waitUntil, within } from '../support/server.js';
import { Client, QUIET } from './client.js';

async function start(options: Omit<WSEServerOptions, 'port'> = {}): Promise<{ server: RustWSEServer; port: number }> {
  const server = new RustWSEServer({ port: 0, shards: threads(2), ...QUIET, ...options });
  onTestFinished(() => server.stop({ timeout: 1 }));
  const { port } = await server.start();
  return { server, port };
}

/** Sends `count` numbered messages. */
function flood(client: Client, count: number, from = 0): void {
  for (let i = from; i < from + count; i += 1) client.send(`{"t":"n","p":${i}}`);
}

/** Per connection, the numbers in the order they were heard. */
function numbers(events: readonly WSEEvent[]): Map<number, number[]> {
  const heard = new Map<number, number[]>();
  for (const [type, conn, payload] of events) {
    if (type === 'msg') heard.set(conn, [...(heard.get(conn) ?? []), payload.p as number]);
  }
  return heard;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe('batches()', () => {
  it('hands out every event once, those of a connection in order, at most maxEvents at a time', async () => {
    const { server, port } = await start();
    const clients = await Promise.all(upTo(3).map(() => Client.open(port)));
    for (const client of clients) flood(client, 500);
    await waitUntil(() => server.inboundQueueDepth() === 1503, 'all events');
    const sizes: number[] = [];
    const events: WSEEvent[] = [];
    for await (const batch of server.batches({ maxEvents: 7 })) {
      sizes.push(batch.length);
      events.push(...batch);
      if (events.length >= 1503) break;
    }
    expect(Math.max(...sizes)).toBe(7);
    expect(Math.min(...sizes)).toBeGreaterThan(0);
    const heard = numbers(events);
    expect([...heard.values()]).toEqual([upTo(500), upTo(500), upTo(500)]);
    const kinds = events.filter(([type]) => type === 'connect');
    expect(new Set(kinds.map(([, conn]) => conn))).toEqual(new Set(heard.keys()));
    for (const conn of heard.keys()) expect(events.find((event) => event[1] === conn)?.[0]).toBe('connect');
    expect(server.inboundQueueDepth()).toBe(0);
  });

  it('hears every kind of payload, in one batch with others', async () => {
    const { server, port } = await start();
    const client = await Client.open(port, { headers: { cookie: 'a=1; b=ü' } });
    const sent = [
      '{"type":"x","payload":{"n":1}}',
      '[1]',
      'WSE{"t":"y","p":"🎈"}',
      'ü',
      '{broken',
      '{"t":"z","__proto__":1}',
      '',
    ];
    for (const text of sent) client.send(text);
    client.send(Buffer.from([0, 255]));
    client.send('{"t":"end"}');
    client.socket.close();
    await waitUntil(() => server.inboundQueueDepth() === sent.length + 4, 'all events');
    const events = server.drainInbound();
    const conn = events[0]?.[1] as number;
    expect(events.slice(1)).toEqual([
      ['msg', conn, { t: 'x', p: { n: 1 } }],
      ['raw', conn, '[1]'],
      ['msg', conn, { t: 'y', p: '🎈' }],
      ['raw', conn, 'ü'],
      ['raw', conn, '{broken'],
      ['msg', conn, JSON.parse('{"t":"z","__proto__":1}')],
      ['raw', conn, ''],
      ['bin', conn, new Uint8Array([0, 255])],
      ['msg', conn, { t: 'end' }],
      ['disconnect', conn, { code: 1005, reason: '', by: 'peer' }],
    ]);
  });

  it('wakes for a single event when it waits', async () => {
    const { server, port } = await start();
    const client = await Client.open(port);
    const loop = server.batches();
    expect((await within(loop.next(), 'connect')).value?.[0]?.[0]).toBe('connect');
    for (let i = 0; i < 50; i += 1) {
      const next = loop.next();
      flood(client, 1, i);
      const { value } = await within(next, 'message', 1500);
      expect((value as WSEBatch)[0]?.[2]).toEqual({ t: 'n', p: i });
    }
    await loop.return();
  });

  it('throws the reason of its signal, before and while it waits; the next loop misses nothing', async () => {
    const { server, port } = await start();
    const reason = new Error('enough');
    const controller = new AbortController();
    const waiting = server.batches({ signal: controller.signal }).next();
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(server.batches({ signal: controller.signal }).next()).rejects.toBe(reason);
    await Client.open(port);
    const { value } = await within(server.batches({ signal: AbortSignal.timeout(5000) }).next(), 'connect');
    expect(value?.[0]?.[0]).toBe('connect');
  });

  it('refuses a second reader while one reads, of any kind, and lets one in after it', async () => {
    const { server } = await start();
    const busy = expect.objectContaining({ constructor: WSEStateError, code: 'WSE_CONSUMER_BUSY' });
    const early = server.batches();
    const first = server.batches();
    const waiting = first.next();
    expect(() => server.batches()).toThrow(busy);
    expect(() => server.drainInbound(1, 0)).toThrow(busy);
    expect(() => server.setCallbacks({})).toThrow(busy);
    await expect(early.next()).rejects.toEqual(busy);
    const ended = first.return();
    await server.stop();
    expect(await within(waiting, 'end')).toEqual({ done: true, value: undefined });
    await within(ended, 'return');
  });

  it('refuses a loop beside callbacks', async () => {
    const { server } = await start();
    server.setCallbacks({});
    expect(() => server.batches()).toThrow(expect.objectContaining({ code: 'WSE_CONSUMER_BUSY' }));
    expect(() => server.drainInbound()).toThrow(expect.objectContaining({ code: 'WSE_CONSUMER_BUSY' }));
  });

  it('can be left by break, return and throw again and again without losing an event', async () => {
    const { server, port } = await start();
    const client = await Client.open(port);
    const count = 2000;
    const events: WSEEvent[] = [];
    let sent = 0;
    for (let round = 0; events.length <= count; round += 1) {
      if (sent < count) flood(client, 100, sent);
      sent += sent < count ? 100 : 0;
      try {
        for await (const batch of server.batches({ maxEvents: 13, signal: AbortSignal.timeout(5000) })) {
          events.push(...batch);
          if (round % 3 === 1) throw new Error('leave');
          if (round % 3 === 2 && events.length < sent) continue;
          break;
        }
      } catch (error) {
        expect((error as Error).message).toBe('leave');
      }
    }
    expect([...numbers(events).values()]).toEqual([upTo(count)]);
  });

  it('ends after stop() with everything handed out, the disconnect last', async () => {
    const { server, port } = await start();
    const client = await Client.open(port);
    flood(client, 3000);
    await waitUntil(() => server.inboundQueueDepth() === 3001, 'all events');
    const events: WSEEvent[] = [];
    let stopping: Promise<void> | undefined;
    for await (const batch of server.batches({ maxEvents: 50 })) {
      stopping ??= server.stop();
      events.push(...batch);
    }
    await stopping;
    expect([...numbers(events).values()]).toEqual([upTo(3000)]);
    expect(events.at(-1)?.[0]).toBe('disconnect');
    expect(events.filter(([type]) => type === 'disconnect')).toHaveLength(1);
    expect(await client.closed()).toBe(1012);
  });

  it('never loses the last disconnect, however the end and a look coincide', async () => {
    for (let round = 0; round < 40; round += 1) {
      const server = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET });
      const { port } = await server.start();
      const kinds: string[] = [];
      const loop = (async () => {
        for await (const batch of server.batches()) kinds.push(...batch.map(([type]) => type));
      })();
      const client = await Client.open(port);
      client.send('{}');
      await waitUntil(() => kinds.length === 2, 'message');
      await server.stop();
      await within(loop, 'end of the loop');
      expect(kinds).toEqual(['connect', 'msg', 'disconnect']);
    }
  });

  it('ends when another facade stops the engine, and at once on an engine that is over', async () => {
    const { server, port } = await start();
    const attached = RustWSEServer.attach(server.handle);
    const kinds: string[] = [];
    const loop = (async () => {
      for await (const batch of attached.batches()) kinds.push(...batch.map(([type]) => type));
    })();
    await Client.open(port);
    await waitUntil(() => kinds.length === 1, 'connect');
    await server.stop();
    await within(loop, 'end of the loop');
    expect(kinds).toEqual(['connect', 'disconnect']);
    expect(await within(RustWSEServer.attach(server.handle).batches().next(), 'end')).toEqual({ done: true, value: undefined });
  });

  it('lets timers and sockets have their turn under a flood', async () => {
    const { server, port } = await start();
    const client = await Client.open(port);
    flood(client, 5000);
    await waitUntil(() => server.inboundQueueDepth() === 5001, 'all events');
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 1);
    let events = 0;
    for await (const batch of server.batches({ maxEvents: 1 })) {
      events += batch.length;
      if (events === 5001) break;
    }
    clearInterval(timer);
    expect(turns).toBeGreaterThan(3);
  });
});

describe('drainInbound()', () => {
  it('returns what is there up to max, waits for the first, and gives up in time', async () => {
    const { server, port } = await start();
    const began = performance.now();
    expect(server.drainInbound(10, 60)).toEqual([]);
    expect(performance.now() - began).toBeGreaterThan(50);
    const client = await Client.open(port);
    flood(client, 10);
    await waitUntil(() => server.inboundQueueDepth() === 11, 'all events');
    expect(server.drainInbound(3)).toHaveLength(3);
    expect(server.drainInbound(100, 10_000)).toHaveLength(8);
    expect(server.drainInbound(100, 0)).toEqual([]);
  });

  it('returns what is left after stop(), then throws WSE_STOPPED', async () => {
    const { server, port } = await start();
    const client = await Client.open(port);
    flood(client, 10);
    await waitUntil(() => server.inboundQueueDepth() === 11, 'all events');
    await server.stop();
    const events: WSEEvent[] = [];
    const drain = (): void => {
      for (;;) events.push(...server.drainInbound(5, 0));
    };
    expect(drain).toThrow(expect.objectContaining({ constructor: WSEStateError, code: 'WSE_STOPPED' }));
    expect(events.map(([type]) => type)).toEqual(['connect', ...Array<string>(10).fill('msg'), 'disconnect']);
  });
});
