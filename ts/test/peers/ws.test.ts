/** Two clients of Node: the `ws` package, and the one built into Node. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { deflateSync, inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { encodeJwt, WSEError } from '../../src/index.js';
import { selfSigned } from '../support/certificate.js';
import { startServer, waitUntil } from '../support/server.js';
import { all, answerSubscription, Child, Client, echo, join } from './harness.js';

const SECRET = 'a-secret-of-at-least-32-bytes-for-HS256';
const MIB = 1024 * 1024;
const PONG = /^\{"c":"WSE","t":"PONG","p":\{"client_timestamp":42,"server_timestamp":(\d+),"latency":(\d+)\},"v":1\}$/;
const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const url = ({ port }: { port: number }) => `ws://127.0.0.1:${port}/wse`;
const inAMinute = () => Math.floor(Date.now() / 1000) + 60;
const token = (sub = 'user-1') => encodeJwt({ sub, exp: inAMinute() }, SECRET);

describe('ws: the handshake', () => {
  it('works with permessage-deflate offered, and begins with server_ready', async () => {
    await using host = await startServer();
    using client = new Client(url(host), { perMessageDeflate: true });
    const [response] = (await once(client.socket, 'upgrade')) as [{ statusCode: number; headers: Record<string, string> }];
    expect(response.statusCode).toBe(101);
    expect(client.socket.protocol).toBe('');
    const ready = JSON.parse(await client.text('{'));
    expect(ready).toMatchObject({ c: 'WSE', t: 'server_ready', v: 1, p: { details: { features: { recovery: false } } } });
    expect(ready.p.details.connection_id).toMatch(UUID7);
    client.send({ c: 'WSE', t: 'client_hello', p: { client_version: 't', protocol_version: 1 }, v: 1 });
    await waitUntil(() => client.frames.length > 1, 'server_hello');
    const hello = JSON.parse(client.texts[1] ?? '');
    expect(hello).toMatchObject({ t: 'server_hello', p: { protocol_version: 1, ping_interval: 25_000 } });
    expect(hello.p.connection_id).toBe(ready.p.details.connection_id);
  });

  it('answers what is no upgrade, a foreign origin and a wrong path over HTTP', async () => {
    await using host = await startServer({ allowedOrigins: ['https://app.example'], path: '/wse' });
    expect((await fetch(`http://127.0.0.1:${host.port}/wse`)).status).toBe(426);
    const refused = async (path: string, origin?: string) => {
      using client = new Client(`ws://127.0.0.1:${host.port}${path}`, origin === undefined ? {} : { origin });
      const [, response] = (await once(client.socket, 'unexpected-response')) as [unknown, { statusCode: number }];
      return response.statusCode;
    };
    expect(await refused('/other')).toBe(404);
    expect(await refused('/wse', 'https://evil.example')).toBe(403);
    const { client } = await join(host, '/wse', { origin: 'https://app.example' });
    using _ = client;
    expect(host.server.getConnectionCount()).toBe(1);
  });
});

describe('ws: messages', () => {
  it.each([0, 1, 125, 126, 127, 4096, 65_535, 65_536, 300_000, MIB])('returns %i bytes as text and as binary', async (size) => {
    await using host = await startServer({ onEvent: echo });
    const { client } = await join(host);
    using _ = client;
    const bytes = randomBytes(size);
    const text = '\u{1f980}é'.repeat(size / 6).padEnd(size - 6 * Math.floor(size / 6), '.');
    const padded = text + '.'.repeat(Math.max(0, size - Buffer.byteLength(text)));
    client.send(bytes);
    client.send(padded);
    await waitUntil(() => client.frames.length > 2, 'two echoes');
    const [, first, second] = client.frames;
    expect(first?.binary).toBe(true);
    expect(first?.data.equals(bytes)).toBe(true);
    expect(second?.binary).toBe(false);
    expect(second?.data.toString() === padded).toBe(true);
    expect(Buffer.byteLength(padded)).toBe(size);
  });

  it('closes with 1009 above maxMessageSize, whole or in fragments', async () => {
    await using host = await startServer({ maxMessageSize: 1000, onEvent: echo });
    const { client: whole } = await join(host);
    const { client: parts } = await join(host);
    using _ = all([whole, parts]);
    whole.send('x'.repeat(1001));
    for (let i = 0; i < 3; i += 1) parts.socket.send('y'.repeat(400), { fin: i === 2 });
    expect((await whole.closed).code).toBe(1009);
    expect((await parts.closed).code).toBe(1009);
  });

  it('joins fragments, with a ping between them', async () => {
    await using host = await startServer({ onEvent: echo });
    const { client, conn } = await join(host);
    using _ = client;
    const parts = Array.from({ length: 50 }, (_, i) => `part ${i} é;`);
    for (const [i, part] of parts.entries()) {
      client.socket.send(part, { fin: i === parts.length - 1 });
      if (i === 25) client.socket.ping('between');
    }
    expect((await once(client.socket, 'pong'))[0].toString()).toBe('between');
    expect(await host.take('raw')).toEqual(['raw', conn, parts.join('')]);
    client.socket.send(Buffer.from([1]), { fin: false, binary: true });
    client.socket.send(Buffer.alloc(0), { fin: false, binary: true });
    client.socket.send(Buffer.from([2, 3]), { fin: true, binary: true });
    expect(await host.take('bin')).toEqual(['bin', conn, new Uint8Array([1, 2, 3])]);
    await client.bytes((data) => data.equals(Buffer.from([1, 2, 3])));
  });

  it('answers pings of both kinds, and sends its own', async () => {
    await using host = await startServer({ pingInterval: 1 });
    const { client } = await join(host);
    using _ = client;
    const payload = randomBytes(125);
    client.socket.ping(payload);
    expect((await once(client.socket, 'pong'))[0]).toEqual(payload);
    client.send({ c: 'WSE', t: 'ping', p: { timestamp: 42 }, v: 1 });
    const [, server, latency] = PONG.exec(await client.text('{"c":"WSE","t":"PONG"')) ?? [];
    expect(Math.abs(Number(server) - Date.now())).toBeLessThan(5000);
    expect(Number(latency)).toBe(Number(server) - 42);
    await waitUntil(() => client.pings.length > 1, 'two pings');
    expect(client.pings[0]).toMatch(/^\{"c":"WSE","t":"ping","p":\{"server_time":"[^"]{24}"\}\}$/);
    expect(host.events).toEqual([]);
  });
});

describe('ws: closing', () => {
  it.each([1000, 3000, 4321])("answers the client's Close %i with the same code", async (code) => {
    await using host = await startServer();
    const { client, conn } = await join(host);
    using _ = client;
    client.socket.close(code, 'so long');
    expect((await client.closed).code).toBe(code);
    expect(await host.take('disconnect')).toEqual(['disconnect', conn, { code, reason: 'so long', by: 'peer' }]);
    expect(host.server.getConnectionCount()).toBe(0);
  });

  it('closes with a code and a reason of its own, after what is queued', async () => {
    await using host = await startServer();
    const { client, conn } = await join(host);
    using _ = client;
    host.server.send(conn, 'last words');
    expect(host.server.disconnect(conn, { code: 4004, reason: 'tschüß' })).toBe(true);
    host.server.send(conn, 'too late');
    expect(await client.closed).toEqual({ code: 4004, reason: 'tschüß' });
    expect(client.texts.slice(1)).toEqual(['last words']);
    await host.take('disconnect');
  });

  it('reports a client that vanishes', async () => {
    await using host = await startServer();
    const { client, conn } = await join(host);
    client.socket.terminate();
    expect(await host.take('disconnect')).toEqual(['disconnect', conn, { code: 1006, reason: '', by: 'network' }]);
  });

  it('drain() shows 4300 to all, stop() 1012', async () => {
    const host = await startServer();
    await using _host = host;
    const clients = await Promise.all(Array.from({ length: 10 }, () => Client.open(url(host))));
    using _ = all(clients);
    await expect(host.server.drain({ timeout: 5 })).resolves.toBe(true);
    for (const client of clients) expect((await client.closed).code).toBe(4300);
    await expect(Client.open(url(host))).rejects.toThrow();

    const second = await startServer();
    await using _second = second;
    const { client } = await join(second);
    await second.server.stop({ reason: 'restart' });
    expect(await client.closed).toEqual({ code: 1012, reason: 'restart' });
  });
});

describe('ws: many', () => {
  it('serves 100 clients at once, and broadcasts to all in order', async () => {
    const CLIENTS = 100;
    const MESSAGES = 300;
    await using host = await startServer({
      onEvent: (event, server) => answerSubscription(event, server) || echo(event, server),
    });
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => Client.open(url(host))));
    using _ = all(clients);
    for (const [i, client] of clients.entries()) {
      client.send({ t: 'subscription_update', p: { action: 'subscribe', topics: ['news'] } });
      client.send(`mine ${i}`);
    }
    await Promise.all(clients.map((client, i) => client.text(`mine ${i}`)));
    expect(host.server.getTopicSubscriberCount('news')).toBe(CLIENTS);

    for (let i = 0; i < MESSAGES; i += 1) {
      host.server.publish('news', 'tick', { i });
      if (i % 50 === 49) await nextTurn();
    }
    const wanted = Array.from({ length: MESSAGES }, (_, i) => `{"c":"U","t":"tick","p":{"i":${i}},"v":1}`);
    const isTick = (text: string) => text.includes('"t":"tick"');
    await Promise.all(clients.map((client) => client.text(wanted.at(-1) ?? '')));
    for (const client of clients) expect(client.texts.filter(isTick)).toEqual(wanted);
    expect(new Set(host.events.flatMap(([type, conn]) => (type === 'connect' ? [conn] : []))).size).toBe(CLIENTS);
  });
});

describe('ws: tokens', () => {
  it.each([
    ['the cookie', { cookie: `theme=dark; access_token=${token()}` }],
    ['the Authorization header', { authorization: `Bearer ${token()}` }],
    [
      'the header in any case, beside empty cookies',
      { authorization: `bEARER ${token()}`, cookie: 'access_token=; access_token=null' },
    ],
    ['both, the cookie first', { authorization: 'Bearer nonsense', cookie: `access_token=${token()}` }],
  ])('lets in with %s', async (_, headers) => {
    await using host = await startServer({ jwt: { secret: SECRET }, allowedOrigins: [] });
    using client = await Client.open(url(host), { headers });
    expect((await host.take('auth_connect'))[2]).toBe('user-1');
    expect(JSON.parse(await client.text('{')).p.details.user_id).toBe('user-1');
  });

  it.each([
    ['none', {}, 'AUTH_REQUIRED', 'No JWT cookie or Authorization header'],
    ['a wrong one', { authorization: `Bearer ${token()}x` }, 'AUTH_FAILED', 'Authentication failed'],
    [
      'an old one',
      { cookie: `access_token=${encodeJwt({ sub: 'u', exp: Math.floor(Date.now() / 1000) - 60 }, SECRET)}` },
      'AUTH_FAILED',
      'Authentication failed',
    ],
    [
      'a nameless one',
      { cookie: `access_token=${encodeJwt({ exp: inAMinute() }, SECRET)}` },
      'AUTH_FAILED',
      'Token missing user ID',
    ],
  ])('with %s: 101, the error, 4401', async (_, headers, code, message) => {
    await using host = await startServer({ jwt: { secret: SECRET }, allowedOrigins: [] });
    using client = await Client.open(url(host), { headers });
    expect(await client.closed).toEqual({ code: 4401, reason: 'Authentication failed' });
    expect(client.frames).toHaveLength(1);
    const error = JSON.parse(client.texts[0] ?? '');
    expect(error).toEqual({ c: 'WSE', t: 'error', v: 1, p: { code, message, timestamp: expect.stringMatching(ISO) } });
    expect(host.events).toEqual([]);
  });
});

describe('ws: encodings', () => {
  it('gets msgpack after ?format=msgpack, and may send it', async () => {
    await using host = await startServer();
    const { client, conn } = await join(host, '/wse?format=msgpack');
    using _ = client;
    const event = { t: 'tick', p: { n: 1, ok: true }, id: 'a', ts: 'b', seq: 7 };
    // Never compressed, whatever the size.
    const sent = host.server.sendEvent(conn, event, { compressionThreshold: 1 });
    const key = (text: string) => [0xa0 | text.length, ...Buffer.from(text)];
    const payload = [0x82, ...key('n'), 1, ...key('ok'), 0xc3];
    const members: Record<string, number[]> = {
      c: key('U'),
      id: key('a'),
      p: payload,
      seq: [7],
      t: key('tick'),
      ts: key('b'),
      v: [1],
    };
    const wanted = [0x87, ...Object.entries(members).flatMap(([name, value]) => [...key(name), ...value])];
    expect([...(await client.bytes())]).toEqual([...Buffer.from('M:'), ...wanted]);
    expect(sent).toBe(2 + wanted.length);

    client.send(Buffer.from([0x82, ...key('t'), ...key('one'), ...key('p'), 0x91, 0xc0]));
    expect(await host.take('msg')).toEqual(['msg', conn, { t: 'one', p: [null] }]);
    client.send(Buffer.from([...Buffer.from('M:'), 0x81, ...key('t'), ...key('two')]));
    expect(await host.take('msg')).toEqual(['msg', conn, { t: 'two' }]);
    // Everything but sendEvent() stays text.
    expect(host.server.broadcastAll('{"t":"all"}')).toBe(true);
    await client.text('{"c":"U","t":"all"}');
  });

  it('gets what is larger than the threshold as C: and zlib, and may send it', async () => {
    await using host = await startServer();
    const { client, conn } = await join(host);
    using _ = client;
    client.send({ t: 'client_hello' });
    await client.frame(({ data }) => data.includes('"t":"server_hello"'), 'server_hello');
    const p = { text: 'long '.repeat(1000) };
    const sent = host.server.sendEvent(conn, { t: 'big', p });
    const packed = await client.bytes((data) => data.subarray(0, 2).toString() === 'C:');
    expect(packed).toHaveLength(Number(sent));
    expect(packed.length).toBeLessThan(500);
    const big = JSON.parse(inflateSync(packed.subarray(2)).toString());
    expect(big).toEqual({ c: 'U', t: 'big', p, v: 1, id: expect.stringMatching(UUID7), ts: expect.stringMatching(ISO), seq: 0 });

    const plain = { t: 'x', p: 'y', id: 'i', ts: 'z', seq: 1 };
    const size = Buffer.byteLength(JSON.stringify({ c: 'U', ...plain, v: 1 }));
    expect(host.server.sendEvent(conn, plain, { compressionThreshold: size })).toBe(size);
    expect(host.server.sendEvent(conn, { t: 'never', p }, { compressionThreshold: 0 })).toBeGreaterThan(5000);
    await client.bytes((data) => data.includes('"t":"never"'));
    expect(client.frames.filter(({ binary }) => binary).map(({ data }) => data.subarray(0, 2).toString())).toEqual([
      'C:',
      '{"',
      '{"',
    ]);

    client.send(Buffer.concat([Buffer.from('C:'), deflateSync(JSON.stringify({ t: 'in', p }))]));
    expect(await host.take('msg')).toEqual(['msg', conn, { t: 'in', p }]);
  });
});

describe('ws: wss://', () => {
  it('serves it, and takes another certificate without dropping a connection', async () => {
    const first = await selfSigned();
    const second = await selfSigned();
    await using host = await startServer({ tls: first, onEvent: echo });
    const open = ({ cert }: { cert: string }) => Client.open(`wss://localhost:${host.port}/`, { ca: cert, family: 4 });
    using old = await open(first);
    const bulk = randomBytes(700_000);
    old.send(bulk);
    expect((await old.bytes()).equals(bulk)).toBe(true);

    host.server.reloadTls(second);
    using fresh = await open(second);
    await expect(open(first)).rejects.toThrow(/certificate/);
    expect(() => host.server.reloadTls({ cert: 'no', key: second.key })).toThrow(WSEError);
    expect(() => host.server.reloadTls({ cert: first.cert, key: second.key })).toThrow(WSEError);
    using fresher = await open(second);
    for (const client of [old, fresh, fresher]) {
      client.send('still here');
      await client.text('still here');
    }
    expect(host.server.getConnectionCount()).toBe(3);
    old.socket.close(1000);
    expect((await old.closed).code).toBe(1000);
    await expect(Client.open(`ws://127.0.0.1:${host.port}/`)).rejects.toThrow();
  });
});

describe("Node's own client", () => {
  it('talks, and hears the code of a Close', async () => {
    await using host = await startServer({
      onEvent(event, server) {
        if (event[0] === 'raw' && event[2] === 'enough') server.disconnect(event[1], { reason: 'as you wish' });
        else echo(event, server);
      },
    });
    // Built in since Node 22, behind a flag in Node 20.
    const flags = 'WebSocket' in globalThis ? [] : ['--experimental-websocket'];
    await using child = new Child(process.execPath, [...flags, '--no-warnings', '-e', NODE_CLIENT, url(host)]);
    expect(await child.ended).toBe(0);
    expect(child.err).toEqual([]);
    const [ready, text, binary, ...rest] = child.out.map((line) => JSON.parse(line));
    expect(ready).toContain('"t":"server_ready"');
    expect(text).toBe('é'.repeat(100_000));
    expect(binary).toEqual({ bytes: 100_000, last: 7 });
    expect(rest).toEqual([{ code: 4300, reason: 'as you wish', clean: true }]);
    await host.take('disconnect');
  });
});

const NODE_CLIENT = `
const socket = new WebSocket(process.argv[1]);
const say = (value) => console.log(JSON.stringify(value));
socket.binaryType = 'arraybuffer';
socket.onopen = () => {
  socket.send('é'.repeat(100000));
  socket.send(new Uint8Array(100000).fill(7));
};
socket.onmessage = ({ data }) => {
  if (typeof data === 'string') return data.includes('"t":"ping"') || say(data);
  say({ bytes: data.byteLength, last: new Uint8Array(data).at(-1) });
  socket.send('enough');
};
socket.onclose = ({ code, reason, wasClean }) => say({ code, reason, clean: wasClean });
socket.onerror = () => { process.exitCode = 1; };
`;
