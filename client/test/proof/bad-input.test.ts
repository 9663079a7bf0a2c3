/** Servers that speak rubbish, too much, or nothing: the client says so, keeps running, comes back in its own time, and loses nothing it held. */

import { setImmediate as turn } from 'node:timers/promises';
import { deflateSync } from 'node:zlib';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { connect, type StateChange } from '../../src/index.js';
import { cut, open } from '../support/client.js';
import { seeded, seeds } from '../support/random.js';
import { rawServer, upgraded } from '../support/raw-server.js';
import { Socket } from '../support/socket.js';
import { TestClock } from '../support/time.js';
import { Peer } from '../support/wse.js';

const FAST = { reconnect: { baseDelay: 10, maxDelay: 50 } };

afterEach(() => void vi.restoreAllMocks());

/** Types the protocol knows, with whatever payload. */
const TYPES = [
  ...['server_hello', 'subscription_update', 'snapshot_complete', 'topic_snapshot', 'auth_refreshed', 'auth_expiring', 'error'],
  ...['rate_limit_warning', 'PONG', 'pong', 'ping', 'PING', 'heartbeat', 'config_update', 'health_check', 'metrics_request'],
  ...[
    'sync_request',
    'priority_message',
    'batch',
    'reply',
    'cancel',
    'presence_join',
    'connection_quality',
    '__proto__',
    'constructor',
    '',
  ],
];

function anything(random: () => number, depth = 0): unknown {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const kind = Math.floor(random() * (depth > 3 ? 5 : 8));
  if (kind === 0) return pick([null, true, false]);
  if (kind === 1) return pick([0, -1, 1e308, 2 ** 53, 0.5, -0]);
  if (kind < 5) return pick(['', 'x', '\u0000', '\ud800', 'bad', '0000000a', '__proto__', 'é'.repeat(50), ...TYPES]);
  if (kind === 5) return Array.from({ length: Math.floor(random() * 5) }, () => anything(random, depth + 1));
  const names = [
    't',
    'p',
    'c',
    'id',
    'cid',
    'rq',
    'err',
    'tp',
    'e',
    'o',
    'messages',
    'message',
    'topics',
    'recovery',
    'details',
    'code',
    'type',
    'v',
  ];
  return Object.fromEntries(
    Array.from({ length: 1 + Math.floor(random() * 5) }, () => [pick(names), anything(random, depth + 1)]),
  );
}

/** A frame of rubbish: bytes, text, JSON, or a message of the protocol that makes no sense. */
function rubbish(random: () => number): string | Buffer {
  const bytes = (count: number): Buffer => Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
  const kind = Math.floor(random() * 8);
  if (kind === 0) return bytes(Math.floor(random() * 40));
  if (kind === 1) return bytes(Math.floor(random() * 40)).toString('latin1');
  if (kind === 2) return Buffer.concat([Buffer.from(`${'CME'[Math.floor(random() * 3)]}:`), bytes(Math.floor(random() * 60))]);
  if (kind === 3) return JSON.stringify(anything(random)).slice(0, Math.floor(random() * 40));
  if (kind === 4) return Buffer.concat([Buffer.from('C:'), deflateSync(JSON.stringify(anything(random)))]);
  const t = TYPES[Math.floor(random() * TYPES.length)];
  // The stream that is watched is left alone: a server may say of it what it likes.
  const text = JSON.stringify({
    t,
    p: anything(random),
    cid: anything(random),
    rq: random() < 0.3 ? anything(random) : undefined,
  });
  return kind === 5 ? Buffer.from(text) : text;
}

describe('rubbish', () => {
  it('between good messages harms none of them', async () => {
    for (const seed of seeds(6)) {
      const random = seeded(seed);
      const peer = await Peer.start((connection) => connection.ready());
      const { client, events, errors, lost, states } = open(peer.url, { topics: ['good'] });
      const connection = await peer.connection(0);
      await connection.next('subscription_update');
      const tick = (n: number): void => connection.send({ tp: 'good', e: 'feedbeef', o: n, t: 'tick', p: n });
      tick(0);
      // One is missing: what is ahead is held through all of it, and so is a request of the program.
      const asking = client.request('question', { n: 1 });
      const asked = await connection.next('question');
      for (let n = 2; n <= 200; n += 1) {
        for (let burst = Math.floor(random() * 3); burst > 0; burst -= 1) connection.socket.send(rubbish(random));
        tick(n);
      }
      tick(1);
      connection.send({ t: 'reply', cid: asked.cid, p: 'answer' });
      expect(await asking, `seed ${seed}`).toBe('answer');
      const good = (): unknown[] =>
        events.filter(({ topic, epoch }) => topic === 'good' && epoch === 'feedbeef').map(({ payload }) => payload);
      await waitUntil(
        () => good().length >= 201,
        () => `everything, seed ${seed}: ${good().length}`,
      );
      expect(good(), `seed ${seed}`).toEqual(Array.from({ length: 201 }, (_, n) => n));
      expect(
        lost.filter(({ topic }) => topic === 'good'),
        `seed ${seed}`,
      ).toEqual([]);
      expect(errors.length).toBeGreaterThan(0);
      expect(errors.every(({ name }) => name === 'WSEError')).toBe(true);
      expect(client.getStats().unreadable).toBe(
        errors.filter((error) => 'code' in error && error.code === 'WSE_PROTOCOL').length,
      );
      expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
      await client.send('still', 1);
      await connection.next('still');
    }
  });

  it.each<[string, Buffer]>([
    ['a reserved opcode', Buffer.from([0x83, 0x00])],
    ['a masked frame', Buffer.from([0x81, 0x81, 1, 2, 3, 4, 5])],
    ['text that is no UTF-8', Buffer.from([0x81, 0x02, 0xc3, 0x28])],
    ['a frame of 2^63 bytes', Buffer.from([0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0])],
    ['a ping of 126 bytes', Buffer.from([0x89, 0x7e, 0, 126])],
    ['a close code that is none', Buffer.from([0x88, 0x02, 0x03, 0xed])],
    ['HTTP', Buffer.from('HTTP/1.1 200 OK\r\n\r\nhello')],
  ])('below messages ends the connection, not the client: %s', async (_, bytes) => {
    const server = await rawServer((socket, index) => {
      upgraded(socket, () => {
        if (index === 0) socket.write(bytes);
        else socket.write('\x01\x00\x80\x1a{"t":"server_ready","p":1}', 'latin1');
      });
    });
    const { client, states } = open(server.url, FAST);
    await waitUntil(() => server.sockets.length > 1, 'another connection');
    await client.connected(10_000);
    expect(states.some(({ state, code }) => state === 'reconnecting' && code !== undefined)).toBe(true);
    await waitUntil(() => server.open() === 1, 'the first one gone');
    // It answers no Close: the client would wait for that.
    await cut(client, () => server.sockets.forEach((socket) => socket.destroy()));
  });
});

describe('a message of 2 MB', () => {
  const large = JSON.stringify({ t: 'large', p: 'x'.repeat(2 << 20) });

  it('is a message', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { client } = open(peer.url);
    const connection = await peer.connection(0);
    connection.socket.send(large);
    connection.socket.send(Buffer.concat([Buffer.from('C:'), deflateSync(large)]));
    for (let n = 0; n < 2; n += 1) expect((await client.recv(20_000)).payload).toHaveLength(2 << 20);
  });

  it('is reported and skipped where less is allowed, packed or not', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    const { events, errors, states } = open(peer.url, { maxMessageSize: 1 << 20 });
    const connection = await peer.connection(0);
    connection.socket.send(large);
    connection.socket.send(Buffer.concat([Buffer.from('C:'), deflateSync(large)]));
    connection.send({ t: 'after', p: 1 });
    await waitUntil(() => events.length === 1, 'the next');
    expect(events[0]?.type).toBe('after');
    expect(errors).toMatchObject([{ code: 'WSE_PROTOCOL' }, { code: 'WSE_PROTOCOL' }]);
    expect(states).toHaveLength(2);
  });
});

describe('a clock', () => {
  it.each([-1, 1])('%i day off, of the server or of this machine, changes nothing', async (days) => {
    const off = days * 86_400_000;
    const peer = await Peer.start((connection) => connection.ready());
    const { client, events, states } = open(peer.url, { heartbeat: 20 });
    const connection = await peer.connection(0);
    await client.connected();
    const real = Date.now;
    // In the middle of a life: from here on this machine has another day.
    vi.spyOn(Date, 'now').mockImplementation(() => real() + off);
    for (let n = 0; n < 5; n += 1) {
      const { p } = await connection.next('ping');
      connection.send({ t: 'PONG', p: { client_timestamp: p['timestamp'], server_timestamp: real() - off, latency: 0 } });
    }
    await waitUntil(() => client.getStats().network.latency !== null, 'a round trip');
    expect(client.getStats().network.latency).toBeLessThan(20_000);
    expect(client.getStats().network.latency).toBeGreaterThanOrEqual(0);
    for (const ts of [off, 0, -off]) connection.send({ t: 'tick', p: 1, ts: new Date(real() + ts).toISOString() });
    connection.send({ t: 'tick', p: 1, ts: 'yesterday' });
    await waitUntil(() => events.length === 4, 'all four');
    // Degraded it may be for a moment, on a busy machine; lost it is not.
    expect(states.map(({ state }) => state)).not.toContain('reconnecting');
  });
});

describe('an upgrade', () => {
  const answer = (status: string, headers = ''): ReturnType<typeof rawServer> =>
    rawServer((socket) => socket.once('data', () => socket.end(`HTTP/1.1 ${status}\r\n${headers}Content-Length: 0\r\n\r\n`)));

  it.each([
    ['503 Service Unavailable', 'Retry-After: 1\r\n', /503/],
    ['500 Internal Server Error', '', /500/],
    ['302 Found', 'Location: ws://127.0.0.1:1/\r\n', /302/],
    ['200 OK', '', /200/],
    ['404 Not Found', '', /404/],
  ])('answered with %s is said, and tried again, there', async (status, headers, said) => {
    const server = await answer(status, headers);
    const { client, states } = open(server.url, FAST);
    const sending = client.send('kept', 1, { timeout: 60_000 });
    sending.catch(() => {});
    await waitUntil(() => client.getStats().attempts >= 4, 'attempts');
    expect(client.state).toBe('reconnecting');
    expect(states[1]).toMatchObject({ state: 'reconnecting', code: 1006 });
    expect(String(states[1]?.error)).toMatch(said);
    expect(client.getStats().sendQueueSize).toBe(1);
    await client.close();
    await expect(sending).rejects.toMatchObject({ code: 'WSE_CLOSED' });
    await waitUntil(() => server.open() === 0, 'no socket left');
  });

  it('answered with 401 asks for another token, and no more than three times', async () => {
    const server = await answer('401 Unauthorized');
    const reasons: string[] = [];
    const { client } = open(server.url, { ...FAST, token: ({ reason }) => `t${reasons.push(reason)}` });
    expect((await client.closed).error).toMatchObject({ code: 'WSE_AUTH_FAILED' });
    expect(reasons).toEqual(['connect', 'refused', 'refused', 'refused']);
    expect(server.sockets).toHaveLength(4);
  });

  it('that is never answered is given up in time; no socket stays', async () => {
    const server = await rawServer(() => {});
    const { client, states } = open(server.url, { ...FAST, connectTimeout: 60 });
    await waitUntil(() => server.sockets.length >= 4, 'attempts');
    expect(states[1]).toMatchObject({ state: 'reconnecting', code: 1006, reason: 'no connection in time' });
    expect(client.state).toBe('reconnecting');
    await client.close();
    await waitUntil(() => server.open() === 0, 'no socket left');
  });

  it('that comes a byte at a time, or is no HTTP, is given up as well', async () => {
    const server = await rawServer((socket, index) => {
      if (index % 2 === 0) socket.write('SSH-2.0-OpenSSH\r\n');
      const dribble = setInterval(() => (socket.destroyed ? clearInterval(dribble) : socket.write('H')), 10);
    });
    const { client } = open(server.url, { ...FAST, connectTimeout: 100 });
    await waitUntil(() => server.sockets.length >= 4, 'attempts');
    expect(client.state).toBe('reconnecting');
  });
});

describe('a token function', () => {
  it.each<[string, () => unknown, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no issuer');
      },
      /no issuer/,
    ],
    ['rejects', () => Promise.reject(new Error('no network')), /no network/],
    ['returns a header of its own', () => 'a\r\nX-Evil: 1', /nvalid|CONNECTION_LOST|character/],
  ])('that %s is reported, and asked again in time', async (_, token, said) => {
    const peer = await Peer.start((connection) => connection.ready());
    let calls = 0;
    const { client, errors, states } = open(peer.url, { ...FAST, token: () => (++calls < 4 ? token() : 'good') as string });
    await client.connected(20_000);
    expect(calls).toBe(4);
    expect([...errors, ...states.map(({ error }) => error)].map(String).join()).toMatch(said);
    expect(peer.connections.map(({ headers }) => [headers['authorization'], headers['x-evil']])).toEqual([
      ['Bearer good', undefined],
    ]);
  });

  it('that never answers costs one attempt each time, not the client', async () => {
    const peer = await Peer.start((connection) => connection.ready());
    let calls = 0;
    const { client, states } = open(peer.url, {
      ...FAST,
      connectTimeout: 200,
      token: () => (++calls < 3 ? new Promise<string>(() => {}) : 'good'),
    });
    await client.connected(20_000);
    expect(states[1]).toMatchObject({ state: 'reconnecting', reason: 'no connection in time' });
    expect(peer.connections).toHaveLength(1);
  });
});

describe('an hour', () => {
  type Fate = (socket: Socket) => void;
  const ready = (socket: Socket): void => socket.say({ t: 'server_ready', p: { details: {} } });
  const up = (socket: Socket): void => {
    socket.readyState = 1;
    socket.onopen?.();
  };
  /** Opens; `code`: is ready, and closes. */
  const opens =
    (code?: number): Fate =>
    (socket) => {
      up(socket);
      ready(socket);
      if (code) socket.end(code);
    };
  const fates: [string, Fate][] = [
    ['accepts and never answers', () => {}],
    ['refuses', (socket) => socket.end(1006)],
    [
      'opens and closes',
      (socket) => {
        up(socket);
        socket.end(1000);
      },
    ],
    [
      'opens and says rubbish',
      (socket) => {
        up(socket);
        socket.onmessage?.({ data: '{' });
        socket.end(1002);
      },
    ],
    ['is ready and asks back at once, always', opens(4300)],
    ['is ready and restarts, always', opens(1012)],
    ['is ready and has too much, always', opens(4429)],
    ['is ready and falls silent', opens()],
  ];

  it.each(fates)('of a server that %s has a bounded number of attempts', async (_, fate) => {
    const all: Socket[] = [];
    Object.assign(Socket, { all, fate, answers: false });
    onTestFinished(() => void Object.assign(Socket, { fate: undefined, answers: true }));
    const clock = new TestClock();
    const states: StateChange[] = [];
    const client = connect('ws://x', { clock, webSocket: Socket as never, page: false, topics: ['a'] });
    client.watch('state', (change) => states.push(change));
    client.watch('error', () => {});
    await turn();
    const sending = client.send('kept', 1, { timeout: Number.POSITIVE_INFINITY }).catch((error: unknown) => error);
    const perMinute: number[] = [];
    for (let minute = 0; minute < 60; minute += 1) {
      const before = all.length;
      for (let second = 0; second < 60; second += 1) {
        clock.pass(1_000);
        await turn();
      }
      perMinute.push(all.length - before);
    }
    expect(client.state).not.toBe('error');
    // The waits grow to 30 s, of which jitter takes at most half; nothing is faster later than in the beginning.
    expect(all.length).toBeLessThan(3_600 / 15 + 20);
    expect(all.length).toBeGreaterThan(30);
    expect(Math.max(...perMinute.slice(5))).toBeLessThanOrEqual(5);
    expect(clock.timers).toBeLessThan(10);
    await client.close();
    await sending;
    expect(clock.timers).toBe(0);
  });
});
