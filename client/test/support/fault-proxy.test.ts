import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { type Direction, FaultProxy, type Faults, fateOf, type Rates } from './fault-proxy.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Who is connected, on both sides of a proxy. */
interface Line {
  proxy: FaultProxy;
  client: WebSocket;
  server: WebSocket;
  request: IncomingMessage;
}

/** A server behind a proxy. */
interface Behind {
  proxy: FaultProxy;
  /** The server's connections. */
  sockets: Set<WebSocket>;
  connect(path?: string): Promise<Line>;
  stop(): void;
}

async function behind(faults: Faults = {}, seed = 1): Promise<Behind> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: (asked) => [...asked].at(-1) as string });
  await once(server, 'listening');
  const stop = () => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  };
  cleanups.push(stop);
  const proxy = await FaultProxy.start({ target: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, seed, faults });
  cleanups.push(() => proxy[Symbol.asyncDispose]());
  const connect = async (path = '') => {
    const accepted = once(server, 'connection') as Promise<[WebSocket, IncomingMessage]>;
    const client = new WebSocket(`${proxy.url}${path}`, ['one', 'two'], { headers: { authorization: 'Bearer x' } });
    await once(client, 'open');
    const [socket, request] = await accepted;
    return { proxy, client, server: socket, request };
  };
  return { proxy, sockets: server.clients, connect, stop };
}

function ends({ client, server }: Line, direction: Direction): { from: WebSocket; to: WebSocket } {
  return direction === 'down' ? { from: server, to: client } : { from: client, to: server };
}

/** Sends the numbers from 0, then lets the proxy harm nothing and sends 'end'; returns what came before that. */
async function numbers(line: Line, direction: Direction, times: number): Promise<number[]> {
  const { from, to } = ends(line, direction);
  const got: number[] = [];
  const ended = new Promise<void>((resolve) => {
    to.on('message', (data) => (String(data) === 'end' ? resolve() : got.push(Number(data))));
    to.on('close', () => resolve());
  });
  let taken = 0;
  const { tally } = line.proxy;
  const before = Object.values(tally).reduce((sum, count) => sum + count);
  for (let i = 0; i < times; i++) from.send(String(i));
  // The rates are read as each frame arrives.
  do {
    await pause(2);
    taken = Object.values(tally).reduce((sum, count) => sum + count) - before;
  } while (taken < times && from.readyState === WebSocket.OPEN);
  line.proxy.faults = {};
  // What is held for want of frames behind it is let go after 50 ms.
  await pause(80);
  if (from.readyState === WebSocket.OPEN) from.send('end');
  await ended;
  return got;
}

const all = (times: number) => Array.from({ length: times }, (_, i) => i);
const fates = (seed: number, direction: Direction, rates: Rates, times: number) =>
  all(times).map((index) => fateOf(seed, { connection: 1, direction, index }, rates)[0]);
const faultsOf = (direction: Direction, rates: Rates): Faults => ({ [direction]: rates });

describe('without faults', () => {
  it('hands on texts and bytes of any size as they are, in order, both ways', async () => {
    const { connect } = await behind();
    const line = await connect();
    const random = Buffer.from(all(1 << 20).map((i) => (i * 31) & 255));
    const sent = [
      Buffer.from('text ✓'),
      Buffer.alloc(0),
      random.subarray(0, 125),
      random.subarray(0, 126),
      random.subarray(0, 65_536),
      random,
    ];
    for (const direction of ['down', 'up'] as const) {
      const { from, to } = ends(line, direction);
      const got: [Buffer, boolean][] = [];
      to.on('message', (data, binary) => got.push([data as Buffer, binary]));
      sent.forEach((data, i) => from.send(data, { binary: i > 0 }));
      await expect.poll(() => got.length).toBe(sent.length);
      got.forEach(([data, binary], i) => {
        expect(binary).toBe(i > 0);
        expect(data.equals(sent[i] as Buffer)).toBe(true);
      });
    }
  });

  it('hands on path, query, headers and subprotocols', async () => {
    const { connect } = await behind();
    const { client, request } = await connect('/wse?topics=a');
    expect(request.url).toBe('/wse?topics=a');
    expect(request.headers.authorization).toBe('Bearer x');
    expect(client.protocol).toBe('two');
  });

  it.each([
    ['server', 'client'],
    ['client', 'server'],
  ] as const)('hands on the close of the %s', async (one, other) => {
    const { proxy, connect } = await behind();
    const line = await connect();
    const closed = once(line[other], 'close');
    line[one].close(4300, 'come back');
    const [code, reason] = (await closed) as [number, Buffer];
    expect([code, String(reason)]).toEqual([4300, 'come back']);
    await expect.poll(() => proxy.open).toBe(0);
  });

  it('hands on a close without a code, and a cut as a cut', async () => {
    const { connect } = await behind();
    const first = await connect();
    const empty = once(first.client, 'close');
    first.server.close();
    expect((await empty)[0]).toBe(1005);
    const second = await connect();
    const cut = once(second.client, 'close');
    second.server.terminate();
    expect((await cut)[0]).toBe(1006);
  });
});

describe.each(['down', 'up'] as const)('%s', (direction) => {
  it('drops the frames whose fate it is, and no others', async () => {
    const rates = { drop: 0.3 };
    const { proxy, connect } = await behind(faultsOf(direction, rates), 7);
    const got = await numbers(await connect(), direction, 300);
    const kept = all(300).filter((i) => fates(7, direction, rates, 300)[i] === 'passed');
    expect(got).toEqual(kept);
    expect(proxy.tally.drop).toBe(300 - kept.length);
    expect(kept.length).toBeGreaterThan(170);
    expect(kept.length).toBeLessThan(250);
  });

  it('duplicates', async () => {
    const rates = { duplicate: 0.3 };
    const { connect } = await behind(faultsOf(direction, rates), 8);
    const got = await numbers(await connect(), direction, 200);
    const fate = fates(8, direction, rates, 200);
    expect(got).toEqual(all(200).flatMap((i) => (fate[i] === 'duplicate' ? [i, i] : [i])));
    expect(got.length).toBeGreaterThan(230);
  });

  it('reorders, and loses nothing', async () => {
    const rates = { reorder: 0.3 };
    const { connect } = await behind(faultsOf(direction, rates), 9);
    const got = await numbers(await connect(), direction, 200);
    expect(got).not.toEqual(all(200));
    expect([...got].sort((a, b) => a - b)).toEqual(all(200));
    // The ones whose fate it is not stay in order among themselves.
    const fate = fates(9, direction, rates, 200);
    expect(got.filter((i) => fate[i] === 'passed')).toEqual(all(200).filter((i) => fate[i] === 'passed'));
  });

  it('delays in order', async () => {
    const { connect } = await behind(faultsOf(direction, { delay: 1, maxDelay: 20 }), 10);
    const line = await connect();
    const begun = performance.now();
    expect(await numbers(line, direction, 30)).toEqual(all(30));
    let delays = 0;
    for (const index of all(30)) delays += 20 * fateOf(10, { connection: 1, direction, index }, { delay: 1 })[1];
    // Timers may be a millisecond early.
    expect(performance.now() - begun).toBeGreaterThan(delays - 30);
  });

  it('cuts at the frame whose fate it is, without a close frame on either side', async () => {
    const rates = { cut: 0.05 };
    const { proxy, connect } = await behind(faultsOf(direction, rates), 11);
    const line = await connect();
    const codes = [once(line.client, 'close'), once(line.server, 'close')];
    const got = await numbers(line, direction, 200);
    expect(got).toEqual(all(fates(11, direction, rates, 200).indexOf('cut')));
    expect((await Promise.all(codes)).map(([code]) => code)).toEqual([1006, 1006]);
    expect(proxy.open).toBe(0);
    const next = await connect();
    expect(await numbers(next, direction, 3)).toEqual([0, 1, 2]);
  });
});

it('leaves half of the frame it cuts at with the client', async () => {
  const { proxy, sockets } = await behind();
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
  };
  const [, socket] = (await once(get(proxy.url.replace('ws:', 'http:'), { headers }), 'upgrade')) as [unknown, Duplex];
  const bytes: Buffer[] = [];
  socket.on('data', (data: Buffer) => bytes.push(data));
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  proxy.faults = { down: { cut: 1 } };
  for (const server of sockets) server.send('0123456789');
  await closed;
  expect(Buffer.concat(bytes).toString('latin1')).toBe('\x81\x7f\0\0\0\0\0\0\0\x0a01234');
});

describe('a schedule', () => {
  const rates = { drop: 0.1, duplicate: 0.1, reorder: 0.1, delay: 0.1, cut: 0.01 };

  it('is the same for the same seed, and another one for another seed, direction or connection', () => {
    const schedule = (seed: number, connection = 1, direction: Direction = 'down') =>
      all(200).map((index) => fateOf(seed, { connection, direction, index }, rates)[0]);
    expect(schedule(1)).toEqual(schedule(1));
    const others = [schedule(1), schedule(2), schedule(3), schedule(1, 2), schedule(1, 1, 'up')].map(String);
    expect(new Set(others).size).toBe(5);
  });

  it('keeps to the rates', () => {
    const counts: Record<string, number> = {};
    for (let seed = 0; seed < 20; seed++)
      for (let connection = 1; connection <= 10; connection++)
        for (const index of all(100)) {
          const [fate] = fateOf(seed, { connection, direction: 'down', index }, rates);
          counts[fate] = (counts[fate] ?? 0) + 1;
        }
    // Of 20,000; four standard deviations are 170 for a tenth.
    for (const fate of ['drop', 'duplicate', 'reorder', 'delay']) expect(Math.abs((counts[fate] ?? 0) - 2_000)).toBeLessThan(170);
    expect(Math.abs((counts['cut'] ?? 0) - 200)).toBeLessThan(60);
  });

  it('runs again: the same frames arrive under the same seed', async () => {
    const run = async (seed: number) => {
      const { connect } = await behind({ up: { drop: 0.2, duplicate: 0.2 } }, seed);
      return numbers(await connect(), 'up', 100);
    };
    const first = await run(5);
    expect(await run(5)).toEqual(first);
    expect(await run(6)).not.toEqual(first);
  });
});

describe('by hand', () => {
  it('stalls: nothing passes, nobody is told, and all of it comes afterwards', async () => {
    const { proxy, connect } = await behind();
    const line = await connect();
    const got: string[] = [];
    line.client.on('message', (data) => got.push(`down ${data}`));
    line.server.on('message', (data) => got.push(`up ${data}`));
    proxy.stalled = true;
    line.server.send('1');
    line.client.send('1');
    await pause(100);
    expect(got).toEqual([]);
    expect([line.client.readyState, line.server.readyState]).toEqual([WebSocket.OPEN, WebSocket.OPEN]);
    proxy.stalled = false;
    await expect.poll(() => got.sort()).toEqual(['down 1', 'up 1']);
  });

  it('stalls a connection made meanwhile', async () => {
    const { proxy, connect } = await behind();
    proxy.stalled = true;
    const line = await connect();
    const heard = once(line.client, 'message');
    line.server.send('1');
    expect(await Promise.race([heard, pause(100, 'nothing')])).toBe('nothing');
    proxy.stalled = false;
    expect(String((await heard)[0])).toBe('1');
  });

  it('cuts and closes every connection', async () => {
    const { proxy, connect } = await behind();
    const lines = [await connect(), await connect()];
    const cut = lines.flatMap(({ client, server }) => [once(client, 'close'), once(server, 'close')]);
    proxy.cut();
    expect((await Promise.all(cut)).map(([code]) => code)).toEqual([1006, 1006, 1006, 1006]);
    const line = await connect();
    const closed = [once(line.client, 'close'), once(line.server, 'close')];
    proxy.close(1012, 'restart');
    expect((await Promise.all(closed)).map(([code, reason]) => [code, String(reason)])).toEqual([
      [1012, 'restart'],
      [1012, 'restart'],
    ]);
  });

  it('refuses, and takes connections again', async () => {
    const { proxy, connect } = await behind();
    proxy.refusing = true;
    await expect(once(new WebSocket(proxy.url), 'open')).rejects.toThrow();
    expect(proxy.connections).toBe(0);
    proxy.refusing = false;
    await connect();
    expect(proxy.connections).toBe(1);
  });

  it('fails an attempt while the server is gone, and finds it elsewhere', async () => {
    const { proxy, stop } = await behind();
    stop();
    await expect(once(new WebSocket(proxy.url), 'open')).rejects.toThrow();
    const elsewhere = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    cleanups.push(() => elsewhere.close());
    await once(elsewhere, 'listening');
    elsewhere.on('connection', (socket) => socket.send('first'));
    proxy.target = `ws://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
    const client = new WebSocket(proxy.url);
    // What the server says at once is not lost.
    expect(String((await once(client, 'message'))[0])).toBe('first');
    client.terminate();
  });

  it('hands on the status a server refuses with', async () => {
    const { proxy } = await behind();
    const refusing = new WebSocketServer({ host: '127.0.0.1', port: 0, verifyClient: (_, done) => done(false, 429) });
    cleanups.push(() => refusing.close());
    await once(refusing, 'listening');
    proxy.target = `ws://127.0.0.1:${(refusing.address() as AddressInfo).port}`;
    await expect(once(new WebSocket(proxy.url), 'open')).rejects.toThrow('429');
  });

  it('says what to run again', async () => {
    const { proxy, connect } = await behind({ down: { drop: 1 } }, 1234);
    await numbers(await connect(), 'down', 3);
    expect(String(proxy)).toMatch(/seed 1234, 1 connections, .*"drop":3/);
  });
});
