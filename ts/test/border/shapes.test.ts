/** Messages that cross as columns beside those that cross as text: nobody can tell which was which. */

import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type LazyMessage, RustWSEServer, type WSEServerOptions } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

async function start(options: Omit<WSEServerOptions, 'port'> = {}): Promise<{ server: RustWSEServer; port: number }> {
  const server = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET, ...options });
  onTestFinished(() => server.stop({ timeout: 1 }));
  const { port } = await server.start();
  return { server, port };
}

/** What a client sends, and what the application's JSON is where that is something else. */
type Sent = string | readonly [sent: string, json: string];

/** Strings and numbers of every kind, by turns. */
const VALUES = [
  '1',
  '-0',
  '1e400',
  '-1e400',
  '1.5e300',
  '0.1',
  '123456789012345678901',
  '9007199254740993',
  '-7.25E-3',
  'true',
  'false',
  'null',
  '""',
  '"x"',
  '"žluť 🐎"',
  '"\\u017e\\ud83d\\udc0e\\ud800"',
  '"\\"\\\\\\/\\b\\f\\n\\r\\t"',
  '"\u2028\u007f"',
  '[]',
  '{}',
  '[[1],{"a":[{}]}]',
  '{"__proto__":{"x":1},"2":0,"1":0,"2":3,"b":1,"a":2}',
  '[1.0,-0,"é"]',
  '"a string of more than 32 bytes, é"',
]; // prettier-ignore

const value = (n: number): string => VALUES[n % VALUES.length] as string;

/** Each is sent with many numbers. */
const KINDS: ((n: number) => Sent)[] = [
  (n) => `{"c":"U","t":"in","p":{"seq":"${String(n).padStart(12, '0')}","ns":"${n}","pad":"xxxxxxxxxxxxxxxxxxxx"},"v":1}`,
  (n) => `{"t":"any","p":{"one":${value(n)},"two":${value(n * 7)}},"three":${value(n * 5)}}`,
  (n) => `{ "t" : "spaced" ,\t"p" : { "n" : ${value(n)} } , "list" : [ ${n} , ${value(n)} ] }\n`,
  (n) => `{"t":"${n % 2 === 0 ? 'a' : 'b'}","p":${n % 3 === 0 ? 'null' : n % 3 === 1 ? `{"n":${n}}` : '{}'},"id":"${n}"}`,
  (n) => `{"constructor":${n},"p":{"toString":${value(n)},"hasOwnProperty":null,"t":"ping"},"a b":"same"}`,
  (n) => `{"p":{"deep":{"deeper":[{"n":${n},"x":${value(n)}}]}},"only":${'['.repeat(40)}${n}${']'.repeat(40)}}`,
  (n) => `{"t":"proto","p":{"__proto__":{"n":${n}},"n":${n}},"v":${value(n)}}`,
  (n) => `{"__proto__":${value(n)},"t":"proto","v":${n}}`,
  (n) => `{"t":"twice","n":${n},"p":{"a":1,"a":${value(n)}},"n":${value(n)}}`,
  (n) => `{"t":"integers","p":{"b":1,"2":${n},"1":${value(n)}},"10":1,"9":${n}}`,
  (n) => `{"caf\u00e9":${n},"t":"named","p":{"\\u0061":${value(n)}}}`,
  (n) => [`{"type":"alias","payload":{"n":${value(n)}},"v":${n}}`, `{"t":"alias","p":{"n":${value(n)}},"v":${n}}`],
  (n) => [`U{"t":"prefixed","p":${value(n)}}`, `{"t":"prefixed","p":${value(n)}}`],
  (n) => `{"new ${n}":${value(n)}}`,
  (n) => `{"t":"same","p":{"all":"the same"},"n":${n % 50 === 0 ? n : 0}}`,
  (n) => `{"big":"${'x'.repeat(n % 2 === 0 ? 100 : 5000)}","n":${n}}`,
  () => '{}',
  (n) => `{"t":"doc","p":{"2":"${n}","text":"${'lorem '.repeat(900 + (n % 7))}","1":${value(n)}},"v":"ž"}`,
  (n) => `{"p":[[${value(n)},{"~":"${'~wse~0+9'.repeat(1000)}"}]],"t":"~wse${n % 2 === 0 ? '~' : ''}0+9"}`,
  (n) =>
    `{"t":"column","p":{"n":${n},"text":"${String(n)
      .repeat(n % 3 === 2 ? 700 : 1500)
      .padEnd(2048, '~wse~0+9')}"}}`,
  (n) =>
    `{"t":"column","v":[${n}],"p":{"text":"${'long '.repeat(420 + n)}${n % 40 === 39 ? value(n).replaceAll('"', '') : ''}"}}`,
  (n) => `{"__proto__":"${'z'.repeat(4500)}","n":${n}}`,
  (n) => `{"p":{"__proto__":{"x":"${'z'.repeat(4500)}"}},"n":${n}}`,
  (n) => `{"a":"${'y'.repeat(4500)}","a":${n % 3 === 0 ? `"${n}"` : value(n)}}`,
  (n) => `{"a":"${'y'.repeat(4500)}","p":{"a":1},"p":{"b":"${'w'.repeat(30_000)}"},"n":${n}}`,
  (n) => [`{"type":"alias","payload":"${'p'.repeat(9000)}","v":${n}}`, `{"t":"alias","p":"${'p'.repeat(9000)}","v":${n}}`],
];

/** The same as the values of those texts, and own keys in the same order all the way down. */
function expectSame(found: unknown, json: string): void {
  const expected: unknown = JSON.parse(json);
  expect(found, json).toStrictEqual(expected);
  // Says the same of order, of integer-like keys, and of a member named __proto__.
  expect(JSON.stringify(found), json).toBe(JSON.stringify(expected));
}

/** Sends `sent` at once, with frames between them that are no messages, and takes what came. */
async function burst(server: RustWSEServer, port: number, sent: readonly Sent[], lazy: boolean): Promise<[string, unknown][]> {
  const client = await Client.open(port);
  sent.forEach((one, n) => {
    client.send(typeof one === 'string' ? one : one[0]);
    if (n % 11 === 0) client.send('{"t":"ping","p":{"timestamp":1}}');
    if (n % 37 === 0) client.send(`raw ${n}`);
  });
  const raws = Math.ceil(sent.length / 37);
  await waitUntil(() => server.inboundQueueDepth() === sent.length + raws + 1, 'all events');
  const events: [string, unknown][] = [];
  while (events.length < sent.length + raws + 1) {
    for (const [type, , payload] of server.drainInbound(700, 0, { lazy })) events.push([type, payload]);
  }
  return events.filter(([type]) => type !== 'connect');
}

/** All kinds, in runs and by turns. */
function mixture(): Sent[] {
  const runs = KINDS.flatMap((kind) => Array.from({ length: 40 }, (_, n) => kind(n)));
  const turns = Array.from({ length: 680 }, (_, n) => (KINDS[n % KINDS.length] as (n: number) => Sent)(n));
  return [...runs, ...turns];
}

function expectAll(events: readonly [string, unknown][], sent: readonly Sent[], text: (payload: unknown) => unknown): void {
  let at = 0;
  sent.forEach((one, n) => {
    expect(events[at]?.[0]).toBe('msg');
    expectSame(text(events[at]?.[1]), typeof one === 'string' ? one : one[1]);
    at += 1;
    if (n % 37 === 0) {
      expect(events[at]).toEqual(['raw', `raw ${n}`]);
      at += 1;
    }
  });
  expect(events).toHaveLength(at);
}

describe('messages of many shapes', () => {
  it('arrive as JSON.parse of what was sent, in order', async () => {
    const { server, port } = await start({ maxInboundQueueBytes: 64 * 1024 * 1024 });
    const sent = mixture();
    const parse = vi.spyOn(JSON, 'parse');
    onTestFinished(() => parse.mockRestore());
    for (let round = 0; round < 2; round += 1) expectAll(await burst(server, port, sent, false), sent, (payload) => payload);
    const template = '{"c":0,"t":0,"p":{"seq":0,"ns":0,"pad":0},"v":0},["U"],["in"],["';
    expect(
      parse.mock.calls.some(([text]) => text.includes(template)),
      'columns were used',
    ).toBe(true);
    expect(
      parse.mock.calls.some(([text]) => text.includes('],{"at":')),
      'columns of long strings were used',
    ).toBe(true);
  });

  it('arrive the same unparsed', async () => {
    const { server, port } = await start({ maxInboundQueueBytes: 64 * 1024 * 1024 });
    const sent = mixture();
    const events = await burst(server, port, sent, true);
    expectAll(events, sent, (payload) => (payload as LazyMessage).parse());
    const texts = events.filter(([type]) => type === 'msg').map(([, payload]) => (payload as LazyMessage).text);
    expect(texts).toEqual(sent.map((one) => (typeof one === 'string' ? one : one[1])));
  });

  it('belong to whoever got them: changing one changes no other', async () => {
    const { server, port } = await start();
    const sent = Array.from({ length: 100 }, () => '{"t":"x","p":{"same":"s","list":[1],"o":{"k":1}},"e":{}}');
    const messages = (await burst(server, port, sent, false)).filter(([type]) => type === 'msg').map(([, payload]) => payload);
    for (const message of messages as { p: { list: number[]; o: object; more?: number }; e: object; t: unknown }[]) {
      expect(JSON.stringify(message)).toBe(sent[0]);
      message.p.list.push(2);
      Object.assign(message.p.o, { k: 2 });
      Object.assign(message.e, { k: 2 });
      message.p.more = 1;
      message.t = null;
    }
  });

  it('keep the depth limit and what the engine answers, whatever the shard knows', async () => {
    const { server, port } = await start({ maxJsonDepth: 4 });
    const client = await Client.open(port);
    const deep = (levels: number): string => `{"t":"n","p":{"x":${'['.repeat(levels)}${']'.repeat(levels)}}}`;
    const sent = Array.from({ length: 200 }, (_, n) => (n < 100 ? deep(0) : deep(1 + (n % 3)))).map((text) =>
      text.replace('"x":}', '"x":0}'),
    );
    for (const text of sent) client.send(text);
    client.send('{"t":"ping","p":{"x":0}}');
    await waitUntil(() => server.inboundQueueDepth() === sent.length + 1, 'all events');
    const events = server.drainInbound(1000).slice(1);
    expect(events.map(([type]) => type)).toEqual(sent.map((text) => (text.includes('[[[') ? 'raw' : 'msg')));
    expect((await client.heard(1))[0]).toContain('"t":"PONG"');
  });
});
