/** What clients send out of their outboxes, as a host sees it: once, without its number, whichever connection brings it. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { WSEServerOptions } from '../../src/index.js';
import { startServer, type TestServer } from '../support/server.js';
import { type Client, join, QUIET } from './client.js';

type Vector =
  | { kind: 'read'; name: string; input: string; stream: string | null; n: number; message: string }
  | { kind: 'ack' | 'error'; name: string; input: string; stream: string; n: number; output: string }
  | { kind: 'hello'; name: string; output: string };

const file = new URL('../../../spec/vectors/outbox-client.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];
const HELLO = vectors.find(({ kind }) => kind === 'hello') as { output: string };

async function greeted(on: TestServer): Promise<{ client: Client; conn: number; outbox: unknown }> {
  const { client, conn } = await join(on);
  client.send(HELLO.output);
  await client.heard(1);
  const hello = JSON.parse(client.texts.shift() as string) as { p: { features: Record<string, unknown> } };
  return { client, conn, outbox: hello.p.features['outbox'] };
}

const start = (options: Omit<WSEServerOptions, 'port'> = {}): Promise<TestServer> => startServer({ ...QUIET, ...options });
const ack = (stream: string, n: number): string => `{"c":"WSE","t":"ack","p":{"stream":"${stream}","n":${n}}}`;
const message = (n: number): string => `{"ob":["tab-0001",${n}],"t":"order","p":${n}}`;

describe('messages out of an outbox', () => {
  it.each(vectors.filter((vector) => vector.kind === 'read'))('arrive as their vector: $name', async (vector) => {
    const on = await start();
    const { client, conn } = await greeted(on);
    client.send(vector.input);
    const claimed = vector.input.startsWith('{"ob":[');
    if (vector.stream === null && claimed) {
      await client.heard(1);
      expect(client.texts[0]).toContain('"code":"MALFORMED_OUTBOX"');
      client.send('{"t":"after"}');
      expect((await on.take('msg', conn))[2], 'the first that arrives').toEqual({ t: 'after' });
    } else {
      const [, , payload] = await on.take('msg', conn);
      expect(payload).toEqual(JSON.parse(vector.stream === null ? vector.input : vector.message));
      if (vector.stream !== null) expect(await client.heard(1)).toEqual([ack(vector.stream, vector.n)]);
    }
  });

  it('are refused in the words of their vectors', async () => {
    const on = await start();
    const { client } = await greeted(on);
    for (let n = 1; n <= 64; n += 1) client.send(`{"ob":["stream-${n}",1],"t":"x"}`);
    await client.heard(64);
    const refusals = vectors.filter((vector): vector is Extract<Vector, { kind: 'ack' | 'error' }> => vector.kind === 'error');
    const fresh = await greeted(on);
    for (const { name, input, output } of refusals) {
      const { texts } = name === 'streams' ? client : fresh.client;
      const before = texts.length;
      (name === 'streams' ? client : fresh.client).send(input);
      await (name === 'streams' ? client : fresh.client).heard(before + 1);
      expect(texts.at(-1)).toBe(output);
    }
  });

  it('are taken once, by however many connections they come', async () => {
    const on = await start();
    const first = await greeted(on);
    expect(first.outbox).toBe(true);
    for (let n = 1; n <= 3; n += 1) first.client.send(message(n));
    for (let n = 1; n <= 3; n += 1) expect((await on.take('msg'))[2]).toEqual({ t: 'order', p: n });
    first.client.socket.terminate();
    const again = await greeted(on);
    for (let n = 2; n <= 5; n += 1) again.client.send(message(n));
    for (let n = 4; n <= 5; n += 1) expect((await on.take('msg', again.conn))[2]).toEqual({ t: 'order', p: n });
    await again.client.heard(1);
    await expect.poll(() => again.client.texts.at(-1)).toBe(ack('tab-0001', 5));
    expect(on.events.filter(([type]) => type === 'msg')).toEqual([]);
    expect(on.metric('wse_outbox_repeats_total')).toBe(2);
    expect([on.gauge('outbox_streams'), on.gauge('outbox_messages'), on.gauge('outbox_repeats')]).toEqual([1, 5, 2]);
  });

  it('are ordinary messages where the server has no outbox', async () => {
    const on = await start({ outbox: false });
    const { client, conn, outbox } = await greeted(on);
    expect(outbox).toBeUndefined();
    for (let i = 0; i < 2; i += 1) {
      client.send(message(1));
      expect((await on.take('msg', conn))[2]).toEqual({ ob: ['tab-0001', 1], t: 'order', p: 1 });
    }
    expect(client.texts).toEqual([]);
  });
});
