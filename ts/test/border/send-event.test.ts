import { inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/index.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { type Client, greet, heardSoFar, join, QUIET } from './client.js';

/** The one event that `client` heard, as text and parsed. */
async function received(on: TestServer, client: Client, conn: number): Promise<{ text: string; event: JsonObject }> {
  const { texts, binaries } = await heardSoFar(on, client, conn);
  expect(binaries).toEqual([]);
  expect(texts).toHaveLength(1);
  const text = texts[0] as string;
  return { text, event: JSON.parse(text) as JsonObject };
}

describe('sendEvent', () => {
  it('completes the envelope, in a text frame with sorted keys, and returns its size', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const before = Date.now();
    const size = on.server.sendEvent(conn, {
      t: 'tick',
      p: { z: 1, a: [{ y: 2, b: 3 }] },
      c: 'forged',
      v: 9,
      cid: 'kept',
      é: 'ü',
    });
    const { text, event } = await received(on, client, conn);
    expect(size).toBe(Buffer.byteLength(text));
    const { id, ts, seq, ...rest } = event;
    expect(rest).toEqual({ c: 'U', t: 'tick', p: { z: 1, a: [{ y: 2, b: 3 }] }, v: 1, cid: 'kept', é: 'ü' });
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(ts).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Math.abs(Date.parse(String(ts)) - before)).toBeLessThan(60_000);
    expect(seq).toBe(0);
    const p = text.slice(text.indexOf('"p":'));
    expect(p.startsWith('"p":{"a":[{"b":3,"y":2}],"z":1}')).toBe(true);
    expect(text.indexOf('"c"')).toBeLessThan(text.indexOf('"cid"'));
    on.server.sendEvent(conn, { t: 'tick' });
    expect((await received(on, client, conn)).event['seq']).toBe(1);
  });

  it('keeps id, ts and seq when they are given', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    on.server.sendEvent(conn, { t: 'x', id: 'mine', ts: '2020-01-01T00:00:00Z', seq: 77 });
    expect((await received(on, client, conn)).event).toEqual({
      c: 'U',
      t: 'x',
      id: 'mine',
      ts: '2020-01-01T00:00:00Z',
      seq: 77,
      v: 1,
    });
  });

  it.each([
    ['a_snapshot', 'S'],
    ['snapshot_complete', 'S'],
    ['error', 'WSE'],
    ['PONG', 'WSE'],
    ['subscription_update', 'WSE'],
    ['ping', 'U'],
    ['presence_join', 'U'],
  ])('gives %s the category %s', async (t, c) => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    on.server.sendEvent(conn, { t });
    expect((await received(on, client, conn)).event['c']).toBe(c);
  });

  class Point {
    x = 1;
    #hidden = 2;
    get sum(): number {
      return this.x + this.#hidden;
    }
  }

  it.each<[string, unknown, unknown]>([
    ['bytes', new Uint8Array([0, 255, 16]), '00ff10'],
    ['a part of bytes', new Uint8Array([1, 2, 3, 4]).subarray(1, 3), '0203'],
    ['a Buffer', Buffer.from('hi'), '6869'],
    ['an ArrayBuffer', new Uint8Array([9]).buffer, '09'],
    ['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['an invalid date', new Date(NaN), null],
    ['NaN', NaN, null],
    ['Infinity', Infinity, null],
    ['-Infinity', -Infinity, null],
    ['the largest exact bigint', 2n ** 53n - 1n, 2 ** 53 - 1],
    ['the largest i64', 2n ** 63n - 1n, '9223372036854775807'],
    ['the smallest i64', -(2n ** 63n), '-9223372036854775808'],
    ['beyond i64', 2n ** 63n, '9223372036854775808'],
    ['far below i64', -(10n ** 30n), '-1000000000000000000000000000000'],
    ['an object of a class', new Point(), { x: 1 }],
    ['undefined in an array', [undefined, 1], [null, 1]],
    ['a boxed number', Object(5), 5],
    ['toJSON', { toJSON: () => ({ n: NaN, b: new Uint8Array([1]) }) }, { n: null, b: '01' }],
    ['no prototype', Object.assign(Object.create(null) as object, { a: 1 }), { a: 1 }],
    ['a half surrogate pair', 'a\ud83d', 'a\ufffd'],
    ['a half surrogate pair behind a backslash', '\\\udc00\\ud800', '\\\ufffd\\ud800'],
    ['astral text', '🎈', '🎈'],
    ['a large number', 1.7976931348623157e308, 1.7976931348623157e308],
    ['the smallest number', 5e-324, 5e-324],
    ['minus zero', -0, 0],
    ['__proto__', JSON.parse('{"__proto__":1}'), JSON.parse('{"__proto__":1}')],
  ])('converts %s', async (_, given, expected) => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    expect(on.server.sendEvent(conn, { t: 'x', p: { value: given, last: true } })).toBeGreaterThan(0);
    expect((await received(on, client, conn)).event['p']).toEqual({ value: expected, last: true });
  });

  it('keeps integers exact, as text where a number would be another one, and leaves undefined members out', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    on.server.sendEvent(conn, { t: 'x', gone: undefined, p: { max: 2n ** 63n - 1n, safe: 2 ** 53 - 1, gone: undefined } });
    const { text } = await received(on, client, conn);
    expect(text).toContain('"p":{"max":"9223372036854775807","safe":9007199254740991}');
    expect(text).not.toContain('gone');
  });

  it('sends an id once per connection, and an id that is no text always', async () => {
    const on = await startServer(QUIET);
    const a = await join(on);
    const b = await join(on);
    expect(on.server.sendEvent(a.conn, { t: 'x', id: 'one' })).toBeGreaterThan(0);
    expect(on.server.sendEvent(a.conn, { t: 'y', id: 'one' })).toBe(0);
    expect(on.server.sendEvent(a.conn, { t: 'z', id: 'two' })).toBeGreaterThan(0);
    expect(on.server.sendEvent(b.conn, { t: 'x', id: 'one' })).toBeGreaterThan(0);
    for (let i = 0; i < 2; i += 1) expect(on.server.sendEvent(b.conn, { t: 'n', id: 5 })).toBeGreaterThan(0);
    for (let i = 0; i < 2; i += 1) expect(on.server.sendEvent(b.conn, { t: 'o' })).toBeGreaterThan(0);
    const types = (texts: string[]): unknown[] => texts.map((text) => (JSON.parse(text) as JsonObject)['t']);
    expect(types((await heardSoFar(on, a.client, a.conn)).texts)).toEqual(['x', 'z']);
    expect(types((await heardSoFar(on, b.client, b.conn)).texts)).toEqual(['x', 'n', 'n', 'o', 'o']);
    expect(on.metric('wse_events_deduplicated_total')).toBe(1);
  });

  it('is bytes for who has said client_hello, and text of the same bytes for everybody else', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const event = { t: 'x', id: 'i', ts: 't', seq: 1, p: 'ü'.repeat(3000) };
    const send = (id: string) => on.server.sendEvent(conn, { ...event, id }, { compressionThreshold: 0 });
    const size = send('0');
    client.send('{"t":"ping"}');
    await waitUntil(() => client.texts.some((text) => text.includes('PONG')), 'PONG');
    expect(send('0'), 'the id is remembered whatever the frame').toBe(0);
    expect(on.server.sendEvent(conn, { ...event, id: '1' })).toBe(size);
    await greet(client);
    expect(send('2')).toBe(size);
    expect(on.server.sendEvent(conn, { ...event, id: '3' })).toBeLessThan(200);
    const { texts, binaries } = await heardSoFar(on, client, conn);
    const [first, second] = texts.filter((text) => text.includes('"t":"x"'));
    expect(Buffer.byteLength(first as string)).toBe(size);
    expect(second).toBe(first?.replace('"id":"0"', '"id":"1"'));
    expect(binaries).toHaveLength(2);
    expect(binaries[0]).toBe(first?.replace('"id":"0"', '"id":"2"'));
    expect(binaries[1]?.startsWith('C:')).toBe(true);
  });

  it('compresses above the threshold, strictly, and never at 0', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    await greet(client);
    const event = { t: 'x', id: 'i', ts: 't', seq: 1, p: 'a'.repeat(3000) };
    const size = on.server.sendEvent(conn, { ...event, id: '0' }, { compressionThreshold: 0 }) as number;
    expect(size).toBeGreaterThan(3000);
    expect(on.server.sendEvent(conn, { ...event, id: '1' }, { compressionThreshold: size })).toBe(size);
    const small = on.server.sendEvent(conn, { ...event, id: '2' }, { compressionThreshold: size - 1 }) as number;
    const usual = on.server.sendEvent(conn, { ...event, id: '3' });
    await waitUntil(() => client.binaries.length === 4, 'four events');
    expect(client.binaries.map((bytes) => bytes.length)).toEqual([size, size, small, usual]);
    expect(small).toBeLessThan(200);
    const compressed = client.binaries[2] as Buffer;
    expect(compressed.subarray(0, 2).toString()).toBe('C:');
    expect(JSON.parse(inflateSync(compressed.subarray(2)).toString())).toEqual({ ...event, id: '2', c: 'U', v: 1 });
  });

  it('speaks msgpack to who asked for it, however large', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on, { path: '/wse?x=1&format=msgpack' });
    const size = on.server.sendEvent(conn, { t: 'tick', id: 'i', ts: 's', seq: 3, p: 'a'.repeat(2000) });
    await waitUntil(() => client.binaries.length === 1, 'event');
    const bytes = client.binaries[0] as Buffer;
    expect(bytes.length).toBe(size);
    expect(bytes.subarray(0, 2).toString()).toBe('M:');
    expect(bytes[2]).toBe(0x80 | 7); // a map of c, id, p, seq, t, ts, v
    expect(bytes.subarray(3, 7).toString('latin1')).toBe('\xa1c\xa1U');
  });

  it('warns below a fifth of the bucket, returns 0 at its end, and tells the client once a second', async () => {
    const on = await startServer({ ...QUIET, rateLimit: { capacity: 10, refill: 0 } });
    const { client, conn } = await join(on);
    const other = await join(on);
    const sent = Array.from({ length: 15 }, (_, i) => on.server.sendEvent(conn, { t: 'x', p: i }) as number);
    expect(sent.map((size) => size > 0)).toEqual([...Array<boolean>(10).fill(true), ...Array<boolean>(5).fill(false)]);
    expect(sent.slice(10)).toEqual([0, 0, 0, 0, 0]);
    expect(on.server.sendEvent(other.conn, { t: 'x' }), 'a bucket is per connection').toBeGreaterThan(0);
    const { texts } = await heardSoFar(on, client, conn);
    expect(texts.filter((text) => text.includes('"t":"x"'))).toHaveLength(10);
    expect(texts.filter((text) => !text.includes('"t":"x"'))).toEqual([
      '{"c":"WSE","t":"rate_limit_warning","p":{"current_rate":9,"limit":10,"remaining":1,"retry_after":1.0},"v":1}',
      '{"c":"WSE","t":"error","p":{"code":"RATE_LIMITED","message":"Rate limit exceeded","retry_after":1.0},"v":1}',
    ]);
    expect(on.metric('wse_rate_limited_total')).toBe(5);
    expect(on.server.send(conn, 'x'), 'the limit is sendEvent only').toBe(true);
  });

  it('refills', async () => {
    const on = await startServer({ ...QUIET, rateLimit: { capacity: 1, refill: 50 } });
    const { conn } = await join(on);
    expect(on.server.sendEvent(conn, {})).toBeGreaterThan(0);
    await waitUntil(() => (on.server.sendEvent(conn, {}) as number) > 0, 'token');
  });
});
