/** The golden vectors of `spec/vectors` against a live server: what the facade and the engine make of the same bytes. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { encodeJwt, type JsonObject, VERSION } from '../../src/index.js';
import { closePayload, frame, Opcode, RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';

interface Vector {
  kind: string;
  name: string;
  input?: unknown;
  output?: string;
  error?: string;
  category?: string | null;
  base64?: string;
  hex?: string;
  max_out?: number;
  closes?: boolean;
}

function vectors(file: string, ...kinds: string[]): [string, Vector][] {
  const all = JSON.parse(readFileSync(new URL(`../../../spec/vectors/${file}.json`, import.meta.url), 'utf8')) as Vector[];
  const wanted = all.filter(({ kind }) => kinds.includes(kind));
  if (wanted.length === 0) throw new Error(`no vectors of ${kinds.join(', ')} in ${file}.json`);
  return wanted.map((vector) => [vector.name, vector]);
}

const ISO = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z/g;
const UUID7 = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g;

/** A text without what differs from run to run. */
function timeless(text: string): string {
  return text.replace(ISO, 'ISO').replace(UUID7, 'UUID7');
}

async function connected(options: Parameters<typeof startServer>[0] = {}, path = '/'): Promise<[TestServer, RawPeer, number]> {
  const target = await startServer(options);
  const peer = await RawPeer.open(target.port, { path });
  const conn = await waitUntil(() => target.server.getConnections()[0], 'connection');
  return [target, peer, conn];
}

describe('envelope.json', () => {
  it.each(vectors('envelope', 'category'))('%s', async (_, { input, output }) => {
    const [{ server }, peer, conn] = await connected({ serverReady: false });
    server.subscribeConnection(conn, ['t']);
    server.publish('t', input as string, {});
    expect(JSON.parse(await peer.nextText())).toMatchObject({ c: output, t: input });
    server.broadcast('t', `{"t":${JSON.stringify(input)}}`);
    expect(await peer.nextText()).toBe(`{"c":"${output}","t":${JSON.stringify(input)}}`);
    server.sendEvent(conn, { t: input });
    expect(JSON.parse((await peer.next()).payload.toString())).toMatchObject({ c: output, t: input });
  });

  it.each(vectors('envelope', 'inject'))('inject: %s', async (_, { input, output }) => {
    const [{ server }, peer, conn] = await connected({ serverReady: false });
    server.subscribeConnection(conn, ['t']);
    for (const send of [
      () => server.broadcast('t', input as string),
      () => server.broadcastLocal('t', input as string),
      () => server.broadcastAll(input as string),
    ]) {
      send();
      expect(await peer.nextText()).toBe(output);
    }
    server.send(conn, input as string);
    expect(await peer.nextText()).toBe(input);
  });

  it.each(vectors('envelope', 'aliases', 'prefix'))('aliases and prefixes: %s', async (_, { input, output }) => {
    const [target, peer] = await connected();
    peer.text(input as string);
    const [type, , payload] = await target.waitForEvent(([kind]) => kind === 'msg' || kind === 'raw');
    if (output?.startsWith('{')) expect([type, payload]).toEqual(['msg', JSON.parse(output)]);
    else expect([type, payload]).toEqual(['raw', input]);
  });

  it.each(vectors('envelope', 'server_ready'))('server_ready: %s', async (_, { input, output = '' }) => {
    const { user_id, recovery } = input as { user_id: string | null; recovery: boolean };
    const secret = 's'.repeat(32);
    const target = await startServer({ recovery, ...(user_id !== null && { jwt: { secret }, allowedOrigins: [] }) });
    const token = user_id === null ? '' : encodeJwt({ sub: user_id, exp: Math.floor(Date.now() / 1000) + 60 }, secret);
    const peer = await RawPeer.open(target.port, { headers: token === '' ? [] : [['Authorization', `Bearer ${token}`]] });
    expect(timeless(await peer.nextText())).toBe(timeless(output.replace('$SERVER_VERSION', VERSION)));
  });

  it.each(vectors('envelope', 'server_hello').filter(([, { input }]) => !(input as JsonObject)['encryption']))(
    'server_hello: %s',
    async (_, { input, output = '' }) => {
      const { client_protocol_version, recovery, outbox } = input as { [key: string]: unknown; recovery: boolean };
      const [, peer] = await connected({ recovery });
      const features = outbox === true ? { outbox } : {};
      peer.text(JSON.stringify({ t: 'client_hello', p: { protocol_version: client_protocol_version, features } }));
      const expected = output.replace('"cluster":true', '"cluster":false').replace('$SERVER_VERSION', VERSION);
      expect(timeless(await peer.nextText((text) => text.includes('"server_hello"')))).toBe(timeless(expected));
    },
  );

  it.each(vectors('envelope', 'event'))('event: %s', async (_, { input, output = '' }) => {
    const { event } = input as { event: JsonObject };
    const [{ server }, peer, conn] = await connected({ serverReady: false });
    expect(server.sendEvent(conn, event)).toBeGreaterThan(0);
    const sent = (await peer.next()).payload.toString();
    const expected = event['seq'] === undefined ? output.replace(/"seq":\d+/, '"seq":0') : output;
    expect(timeless(sent)).toBe(timeless(expected));
  });
});

describe('pong.json', () => {
  it.each(vectors('pong', 'pong'))('%s', async (_, { input, output = '' }) => {
    const [target, peer] = await connected({ serverReady: false });
    const before = Date.now();
    for (const opcode of [Opcode.text, Opcode.binary]) {
      peer.frame({ opcode, payload: input as string });
      const { opcode: answered, payload } = await peer.next();
      expect(answered).toBe(Opcode.text);
      const text = payload.toString();
      const { client_timestamp: client, server_timestamp: server } = (JSON.parse(text) as { p: Record<string, number> }).p;
      expect(server).toBeGreaterThanOrEqual(before);
      expect(server).toBeLessThanOrEqual(Date.now());
      const latency = Math.max(0, (server ?? 0) - (client ?? 0));
      const expected = output
        .replace(/"server_timestamp":\d+/, `"server_timestamp":${server}`)
        .replace(/"latency":\d+/, `"latency":${latency}`);
      expect(text).toBe(expected);
    }
    expect(target.events.filter(([type]) => type !== 'connect')).toEqual([]);
  });

  it.each(vectors('pong', 'ping'))('%s', async (_, { output = '' }) => {
    const [, peer] = await connected({ serverReady: false, pingInterval: 0.2, idleTimeout: 5 });
    const first = await peer.next();
    expect([first.opcode, first.payload.length], 'the ping of RFC 6455, to everybody').toEqual([Opcode.ping, 0]);
    peer.text('{"t":"pong"}');
    expect(timeless(await peer.nextText())).toBe(timeless(output));
  });
});

describe('tokens.json', () => {
  const secret = 's'.repeat(32);
  const now = Math.floor(Date.now() / 1000);
  const token = (claims: object = {}): string => encodeJwt({ sub: 'ada', exp: now + 3600, ...claims }, secret);
  const refresh = (bearer: string): string => JSON.stringify({ t: 'auth_refresh', p: { token: bearer } });
  /** A text without what differs from run to run. */
  const undated = (text: string): string => text.replace(/"(expires_at|expires_in)":\d+/g, '"$1":N');

  async function greeted(jwt: object = {}, claims: object = {}): Promise<[TestServer, RawPeer]> {
    const target = await startServer({ jwt: { secret, leeway: 0, ...jwt }, allowedOrigins: [] });
    const peer = await RawPeer.open(target.port, { headers: [['Authorization', `Bearer ${token(claims)}`]] });
    expect(await peer.nextText()).toContain('server_ready');
    return [target, peer];
  }

  it.each(vectors('tokens', 'auth_refreshed'))('auth_refreshed: %s', async (_, { input, output = '' }) => {
    // A token for longer than 32 bits count seconds never ends its connection.
    const exp = (input as number | null) === null ? undefined : Math.max(input as number, now + 60);
    const [, peer] = await greeted(exp === undefined ? { closeOnExpiry: false } : {});
    peer.text(refresh(token({ exp: exp ?? now + 60 })));
    expect(undated(await peer.nextText())).toBe(undated(output));
  });

  it('auth_expiring', async () => {
    const [target, peer] = await greeted({ expiryWarning: 60 }, { exp: now + 30 });
    const [[, { output = '' }]] = vectors('tokens', 'auth_expiring') as [[string, Vector]];
    expect(undated(await peer.nextText())).toBe(undated(output));
    expect((await target.take('auth_expiring'))[2].expiresAt).toEqual(new Date((now + 30) * 1000));
  });

  it('refresh_error, and the last of them closes', async () => {
    const [, peer] = await greeted();
    const of = new Map(vectors('tokens', 'refresh_error').map(([name, { output, closes }]) => [`${name} ${closes}`, output]));
    for (const [name, bearer] of [
      ['other_user false', token({ sub: 'bob' })],
      ['invalid_token false', 'nonsense'],
      ['invalid_token false', token({ exp: 1 })],
      ['other_user false', token({ sub: 'bob' })],
      ['invalid_token true', 'nonsense'],
    ] as const) {
      peer.text(refresh(bearer));
      expect(await peer.nextText(), name).toBe(of.get(name));
    }
    const close = await peer.next(({ opcode }) => opcode === Opcode.close);
    expect(close.payload).toEqual(closePayload(4401, 'Too many failed refreshes'));
  });

  it.each(vectors('tokens', 'topics_ended'))('topics_ended: %s', async (_, { input, output }) => {
    const [{ server }, peer] = await greeted();
    server.subscribeConnection(server.getConnections()[0] as number, input as string[]);
    peer.text(refresh(token({ wse_topics: { deny: ['*'] } })));
    expect(await peer.nextText()).toContain('auth_refreshed');
    expect(await peer.nextText()).toBe(output);
  });

  it.each(vectors('tokens', 'auth_refresh'))('auth_refresh: %s', async (_, { input }) => {
    const [, peer] = await greeted();
    peer.text(input as string);
    expect(await peer.nextText()).toContain('"reason":"invalid_token"');
  });
});

describe('errors.json', () => {
  it.each(vectors('errors', 'auth'))('auth: %s', async (name, { output = '' }) => {
    const secret = 's'.repeat(32);
    const target = await startServer({ jwt: { secret }, allowedOrigins: [] });
    const exp = Math.floor(Date.now() / 1000) + 60;
    const token = name === 'no_token' ? undefined : name === 'bad_token' ? 'bad' : encodeJwt({ exp }, secret);
    const peer = await RawPeer.open(target.port, {
      headers: token === undefined ? [] : [['Authorization', `Bearer ${token}`]],
    });
    expect(timeless(await peer.nextText())).toBe(timeless(output));
    const close = await peer.next(({ opcode }) => opcode === Opcode.close);
    expect(close.payload).toEqual(closePayload(4401, 'Authentication failed'));
  });

  it('rate_limited and rate_limit_warning', async () => {
    const [limited] = vectors('errors', 'rate_limited').map(([, { output }]) => output);
    const [warning = ''] = vectors('errors', 'rate_limit_warning').map(([, { output }]) => output);
    const [{ server }, peer, conn] = await connected({ serverReady: false, rateLimit: { capacity: 100, refill: 0 } });
    for (let i = 0; i < 100; i += 1) expect(server.sendEvent(conn, { t: 'x' })).toBeGreaterThan(0);
    expect(server.sendEvent(conn, { t: 'x' })).toBe(0);
    const numbers = (text: string): string => text.replace(/"(current_rate|remaining)":\d+/g, '"$1":N');
    const notice = (): Promise<string> => peer.nextText((text) => text.startsWith('{"c":"WSE"'));
    expect(numbers(await notice())).toBe(numbers(warning));
    expect(await notice()).toBe(limited);
  });

  // A text with white space in front is `raw` (docs/protocol.md §10), although it is JSON.
  it.each(vectors('errors', 'json'))('json: %s', async (_, { input, output }) => {
    const text = input as string;
    const [target, peer] = await connected();
    peer.text(text);
    const [type, , payload] = await target.waitForEvent(([kind]) => kind === 'msg' || kind === 'raw');
    if (output === 'ok' && text.startsWith('{')) expect([type, payload]).toEqual(['msg', JSON.parse(text)]);
    else expect([type, payload]).toEqual(['raw', text]);
  });
});

describe('codec.json', () => {
  it.each(vectors('codec', 'zlib', 'msgpack'))('%s', async (_, { base64, hex, output, max_out }) => {
    const bytes = base64 === undefined ? Buffer.from(hex ?? '', 'hex') : Buffer.from(base64, 'base64');
    // A server has no limit of 0, and a limit below the message itself refuses the frame, not its content.
    const limit = max_out !== undefined && max_out >= bytes.length ? { maxMessageSize: max_out } : {};
    const [target, peer] = await connected(limit);
    peer.binary(bytes);
    if (output?.startsWith('{"t":"ping"')) {
      // The engine's own message: its answer shows that it was understood.
      expect(await peer.nextText((text) => text.includes('"PONG"'))).toContain('"client_timestamp":1700000000123,');
      return;
    }
    const [type, , payload] = await target.waitForEvent(([kind]) => kind === 'msg' || kind === 'bin');
    if (output?.startsWith('{')) expect([type, payload]).toEqual(['msg', JSON.parse(output)]);
    else expect([type, Buffer.from(payload as Uint8Array)]).toEqual(['bin', bytes]);
  });

  it.each(vectors('codec', 'to_msgpack'))('to_msgpack: %s', async (_, { input, hex = '' }) => {
    const [{ server }, peer, conn] = await connected({ serverReady: false }, '/?format=msgpack');
    // An event has members the vector lacks, in alphabetical order around those it has: `p`, `t`, `v` must be its bytes.
    server.sendEvent(conn, { ...(input as JsonObject), id: 'i', seq: 1, ts: 'z' });
    const sent = (await peer.next()).payload.toString('latin1');
    const whole = Buffer.from(hex, 'hex').toString('latin1');
    const [p, t] = [whole.slice(3, whole.indexOf('\xa1t')), whole.slice(whole.indexOf('\xa1t'))];
    const expected = `M:\x87\xa1c\xa1U\xa2id\xa1i${p}\xa3seq\x01${t.slice(0, t.indexOf('\xa1v'))}\xa2ts\xa1z\xa1v\x01`;
    expect(sent).toBe(expected);
  });
});

/** RFC 6455 §5.7. */
describe('frames of the RFC', () => {
  const hello = Buffer.from([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);

  it('a masked text', async () => {
    const [target, peer] = await connected({ serverReady: false });
    peer.send(hello);
    expect((await target.take('raw'))[2]).toBe('Hello');
    expect(frame({ payload: 'Hello', mask: hello.subarray(2, 6) })).toEqual(hello);
  });

  it('what the server sends, by length', async () => {
    const [{ server }, peer, conn] = await connected({ serverReady: false });
    await peer.response();
    const start = peer.bytesRead;
    let sent = 0;
    for (const [length, header] of [
      [0, 2],
      [125, 2],
      [126, 4],
      [65_535, 4],
      [65_536, 10],
    ] as const) {
      server.send(conn, 'x'.repeat(length));
      const { fin, rsv, masked, payload } = await peer.next();
      expect([fin, rsv, masked, payload.length]).toEqual([true, 0, false, length]);
      sent += header + length;
      expect(peer.bytesRead - start).toBe(sent);
    }
  });

  it('a masked ping gets an unmasked pong', async () => {
    const [, peer] = await connected({ serverReady: false });
    peer.send(Buffer.from([0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]));
    expect(await peer.next()).toEqual({ fin: true, rsv: 0, opcode: 10, masked: false, payload: Buffer.from('Hello') });
  });
});
