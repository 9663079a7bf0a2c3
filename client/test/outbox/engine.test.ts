/** A client with an outbox against a real engine: each message arrives once and in order, whatever becomes of connections and clients. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { WSEMessage } from '../../../ts/src/index.js';
import { startServer, type TestServer, waitUntil } from '../../../ts/test/support/server.js';
import { fileStore } from '../../src/outbox/file.js';
import { createOutbox } from '../../src/outbox/index.js';
import { open } from '../support/client.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { hear, LastingStore } from './host.js';

const RECONNECT = { baseDelay: 10, maxDelay: 50 } as const;
const urlOf = ({ port }: { port: number }): string => `ws://127.0.0.1:${port}/wse`;

/** What the application was given of a type, in order. */
const orders = (server: TestServer): unknown[] =>
  server.events.flatMap(([type, , payload]) =>
    type === 'msg' && (payload as WSEMessage).t === 'order' ? [(payload as WSEMessage).p] : [],
  );
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe('an outbox and an engine', () => {
  it('agree on what has arrived', async () => {
    const server = await startServer();
    const outbox = createOutbox();
    const heard = hear(outbox);
    const { client, errors } = open(urlOf(server), { extensions: [outbox], reconnect: RECONNECT });
    // Before there is a connection, too.
    for (const n of upTo(300)) await client.send('order', n);
    await waitUntil(() => outbox.size === 0 && heard.length === 300, 'acknowledgements');
    expect(orders(server)).toEqual(upTo(300));
    expect(heard.every((word) => word === 'delivered order')).toBe(true);
    expect(server.events.filter(([type]) => type === 'msg').every(([, , payload]) => !('ob' in (payload as object)))).toBe(true);
    expect(errors).toEqual([]);
  });

  it('deliver each message once and in order through a network that cuts, doubles and delays', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const COUNT = 400;
    const server = await startServer();
    await using proxy = await FaultProxy.start({
      target: `ws://127.0.0.1:${server.port}`,
      seed,
      faults: {
        up: { cut: 0.01, duplicate: 0.05, delay: 0.1, maxDelay: 5 },
        down: { cut: 0.02, delay: 0.1, maxDelay: 5, drop: 0.02 },
      },
    });
    const outbox = createOutbox({ ackTimeout: 300 });
    const { client } = open(`${proxy.url}/wse`, {
      extensions: [outbox],
      reconnect: RECONNECT,
      // A greeting that is dropped must not make a server without an outbox of this one: the connection waits for its cut.
      readyTimeout: 60_000,
      idleTimeout: 2000,
      heartbeat: 500,
    });
    const cutter = setInterval(() => proxy.cut(), 150);
    onTestFinished(() => clearInterval(cutter));
    for (const n of upTo(COUNT)) {
      await client.send('order', n);
      if (n % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    clearInterval(cutter);
    proxy.faults = {};
    proxy.cut();
    await waitUntil(() => outbox.size === 0, `all of them: ${proxy}`);
    expect(orders(server), `${proxy}`).toEqual(upTo(COUNT));
    expect(proxy.connections, `${proxy}`).toBeGreaterThan(2);
  });

  it('go on after a reload, and after the end of a process', async () => {
    const server = await startServer();
    await using proxy = await FaultProxy.start({ target: `ws://127.0.0.1:${server.port}`, seed: 1 });
    const path = mkdtempSync(join(tmpdir(), 'wse-outbox-'));
    onTestFinished(() => rmSync(path, { recursive: true, force: true }));
    for (const store of [
      () => fileStore(join(path, 'outbox')),
      (
        (lasting) => () =>
          lasting
      )(new LastingStore()),
    ]) {
      server.events.length = 0;
      const before = createOutbox({ store: store() });
      const first = open(`${proxy.url}/wse`, { extensions: [before], reconnect: RECONNECT });
      for (const n of upTo(20)) await first.client.send('order', n);
      await waitUntil(() => orders(server).length === 20, 'the first');
      // From here on acknowledgements do not arrive, what is sent does.
      proxy.faults = { down: { drop: 1 } };
      for (const n of upTo(20)) await first.client.send('order', 20 + n);
      await waitUntil(() => orders(server).length === 40, 'the second');
      proxy.refusing = true;
      proxy.cut();
      for (const n of upTo(20)) await first.client.send('order', 40 + n);
      expect(before.size).toBeGreaterThanOrEqual(40);
      await first.client.close();

      proxy.refusing = false;
      proxy.faults = {};
      const after = createOutbox({ store: store() });
      const second = open(`${proxy.url}/wse`, { extensions: [after], reconnect: RECONNECT });
      await second.client.send('order', 60);
      await waitUntil(() => orders(server).length >= 61 && after.size === 0, 'the rest');
      expect(orders(server)).toEqual(upTo(61));
      await second.client.close();
    }
    expect(server.metric('wse_outbox_repeats_total')).toBeGreaterThanOrEqual(40);
  });

  it('send at most once where the server has none', async () => {
    const server = await startServer({ outbox: false });
    const outbox = createOutbox();
    const heard = hear(outbox);
    const { client } = open(urlOf(server), { extensions: [outbox] });
    for (const n of upTo(50)) await client.send('order', n);
    await waitUntil(() => outbox.size === 0, 'an empty outbox');
    await waitUntil(() => orders(server).length === 50, 'all of them');
    expect([orders(server), new Set(heard)]).toEqual([upTo(50), new Set(['left order'])]);
    expect(server.events.filter(([type]) => type === 'msg').every(([, , payload]) => !('ob' in (payload as object)))).toBe(true);
  });

  it('give up what the engine cannot take, and the rest arrives', async () => {
    const server = await startServer({ maxJsonDepth: 8, maxMessageSize: 4096 });
    const outbox = createOutbox();
    const heard = hear(outbox);
    const { client, states } = open(urlOf(server), { extensions: [outbox] });
    const deep = JSON.parse('['.repeat(20) + ']'.repeat(20)) as unknown;
    await client.send('order', 0);
    await client.send('deep', deep);
    await client.send('large', 'x'.repeat(8000));
    await client.send('order', 1);
    await waitUntil(() => outbox.size === 0 && heard.length === 4, 'an end for each');
    expect(heard.toSorted()).toEqual(['delivered order', 'delivered order', 'refused deep sent', 'refused large']);
    expect(orders(server)).toEqual([0, 1]);
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
  });
});
