/** Many clients in one process, and what is left of them: nothing. */

import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Program } from '../../../ts/test/docs/run.js';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { connect } from '../../src/index.js';
import { open } from '../support/client.js';
import { rawServer } from '../support/raw-server.js';

const FAST = { reconnect: { baseDelay: 10, maxDelay: 50 } };

/** What keeps this process alive, by kind. */
function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/** Kinds of which there are more than before: sockets, and timers beyond the test's own. */
function grown(before: Record<string, number>): string[] {
  const now = resources();
  return Object.keys(now).filter(
    (kind) => /TCP|Timeout/.test(kind) && (now[kind] ?? 0) > (before[kind] ?? 0) + Number(kind === 'Timeout'),
  );
}

describe('twenty clients in one process', () => {
  it('share nothing: topics, tokens, ends', async () => {
    const { server, port } = await startServer({ subscriptions: 'acl', recovery: true, keep: false });
    const tests = Array.from({ length: 20 }, (_, i) =>
      open(`ws://127.0.0.1:${port}/?${i}`, { ...FAST, topics: [`own.${i}`, 'all'] }),
    );
    await Promise.all(tests.map(({ client }) => waitUntil(() => client.subscribedTopics.size === 2, 'subscription')));
    expect(new Set(tests.map(({ client }) => client.server.connectionId)).size).toBe(20);
    for (let n = 0; n < 10; n += 1) {
      server.publish('all', 'tick', n);
      for (let i = 0; i < 20; i += 1) server.publish(`own.${i}`, 'own', [i, n]);
    }
    for (const [i, { events }] of tests.entries()) {
      await waitUntil(
        () => events.length === 20,
        () => `everything for ${i}: ${events.length}`,
      );
      expect(events.filter(({ type }) => type === 'tick').map(({ payload }) => payload)).toEqual(
        Array.from({ length: 10 }, (_, n) => n),
      );
      expect(events.filter(({ type }) => type === 'own').every(({ payload }) => (payload as number[])[0] === i)).toBe(true);
    }
    await Promise.all(tests.slice(0, 10).map(({ client }) => client.close()));
    server.publish('all', 'tick', 'last');
    for (const { events } of tests.slice(10)) await waitUntil(() => events.length === 21, 'the last');
    expect(tests.slice(0, 10).every(({ events }) => events.length === 20)).toBe(true);
    expect(tests.slice(10).every(({ client }) => client.state === 'connected')).toBe(true);
  });
});

describe('500 clients, one after the other, twenty at a time', () => {
  it('leave no timer, no listener and no socket', async () => {
    const { port, gauge } = await startServer({ subscriptions: 'acl', keep: false });
    const mute = await rawServer(() => {});
    const controller = new AbortController();
    const url = `ws://127.0.0.1:${port}`;
    const life = async (n: number): Promise<void> => {
      // Some never get there, some come back in between, some end by their signal.
      const own = new AbortController();
      const client = connect([url, mute.url, 'ws://127.0.0.1:1/'][n % 20 === 7 ? 1 : n % 20 === 9 ? 2 : 0] as string, {
        ...FAST,
        topics: ['a'],
        signal: n % 2 === 0 ? controller.signal : own.signal,
      });
      client.watch('error', () => {});
      if (n % 20 !== 7 && n % 20 !== 9) await client.subscribe(['b'], { signal: controller.signal });
      void client.send('x', n, { signal: controller.signal }).catch(() => {});
      void client.request('y', n, { signal: controller.signal }).catch(() => {});
      if (n % 5 === 0) client.forceReconnect();
      if (n % 20 === 3) own.abort();
      await client.close();
      expect(client.state).toBe('disconnected');
    };
    await Promise.all(Array.from({ length: 20 }, (_, n) => life(n)));
    await waitUntil(() => gauge('connections') === 0, 'an empty server');
    const before = resources();
    for (let round = 0; round < 24; round += 1) await Promise.all(Array.from({ length: 20 }, (_, n) => life(n)));
    await waitUntil(() => gauge('connections') === 0, 'an empty server');
    await waitUntil(() => mute.open() === 0, 'no socket at the mute server');
    await waitUntil(
      () => grown(before).length === 0,
      () => `nothing left: ${JSON.stringify([before, resources()])}`,
    );
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });
});

it('clients that share a signal leave nothing at it, whatever was collected meanwhile', async () => {
  const { signal } = new AbortController();
  const clients = Array.from({ length: 20 }, () => connect('ws://127.0.0.1:1/', { ...FAST, signal }));
  for (const client of clients) client.watch('error', () => {});
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let n = 0; n < 3; n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    collect();
  }
  await Promise.all(clients.map((client) => client.close()));
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

describe('what was asked in the turn in which', () => {
  it('the connection ends is told so, and not at its deadline', async () => {
    const { port } = await startServer({ subscriptions: 'acl', keep: false });
    const { client } = open(`ws://127.0.0.1:${port}`, { ...FAST, timeout: 1e8 });
    await client.connected();
    const asking = client.request('y');
    client.forceReconnect();
    await expect(asking).rejects.toMatchObject({ code: 'WSE_CONNECTION_LOST' });
    await client.connected();
    const snapshot = client.requestSnapshot();
    client.forceReconnect();
    await expect(snapshot).rejects.toMatchObject({ code: 'WSE_CONNECTION_LOST' });
  });

  it('the client ends is told so', async () => {
    const { port } = await startServer({ subscriptions: 'acl', keep: false });
    const { client } = open(`ws://127.0.0.1:${port}`, { ...FAST, timeout: 1e8 });
    await client.connected();
    const all = [client.request('y'), client.requestSnapshot(), client.subscribe(['a']), client.recv()];
    const ends = Promise.allSettled(all);
    await client.close();
    for (const end of await ends)
      expect(end).toMatchObject({ status: 'rejected', reason: { code: /WSE_(CLOSED|CONNECTION_LOST)/ } });
  });
});

describe('a process', () => {
  const dir = mkdtempSync(join(tmpdir(), 'wse-client-'));
  const bundle = join(dir, 'client.cjs');

  beforeAll(async () => {
    const { outputFiles } = await build({
      stdin: { contents: "export * from './src/index.ts'", resolveDir: fileURLToPath(new URL('../../', import.meta.url)) },
      bundle: true,
      format: 'cjs',
      platform: 'node',
      target: 'node20',
      alias: { '#ws': 'ws' },
      external: ['@msgpack/msgpack', 'bufferutil', 'utf-8-validate'],
      write: false,
    });
    writeFileSync(bundle, outputFiles[0]?.text ?? '');
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it.each([
    ['connected', 'await client.connected(); await client.close();'],
    ['while it reads', 'setTimeout(() => client.close(), 50); for await (const event of client);'],
    ['that has not begun', 'await client.close();'],
    ['in the middle of an attempt', 'await new Promise(setImmediate); await client.close();'],
    ['by its signal', 'await client.connected(); controller.abort(); await client.closed;'],
    [
      'with everything under way',
      "await client.connected(); client.send('x'); client.request('y').catch(() => {}); client.subscribe(['a']); client.requestSnapshot().catch(() => {}); await client.close();",
    ],
  ])('ends by itself when its client is closed: %s', async (_, code) => {
    const { port } = await startServer({ subscriptions: 'acl', keep: false });
    const program = new Program(['--input-type=commonjs', '-e', run(`ws://127.0.0.1:${port}`, code)]);
    expect(await program.end()).toEqual({ code: 0, errors: '' });
    expect(program.lines()).toEqual(['disconnected']);
  });

  it.each([
    ['refused', 'ws://127.0.0.1:1/', undefined],
    ['between two attempts', 'ws://127.0.0.1:1/', 100],
    ['not answered', 'mute', 100],
  ])('ends by itself when its client is closed: %s', async (_, to, after) => {
    const mute = await rawServer(() => {});
    const wait = after === undefined ? '' : `await new Promise((resolve) => setTimeout(resolve, ${after}));`;
    const url = to === 'mute' ? mute.url : to;
    const program = new Program(['--input-type=commonjs', '-e', run(url, `${wait} await client.close();`)]);
    expect(await program.end()).toEqual({ code: 0, errors: '' });
    expect(program.lines()).toEqual(['disconnected']);
  });

  it('ends by itself when its client has given up', async () => {
    const options = 'reconnect: { baseDelay: 1, maxAttempts: 2 },';
    const program = new Program(['--input-type=commonjs', '-e', run('ws://127.0.0.1:1/', 'await client.closed;', options)]);
    expect(await program.end()).toEqual({ code: 0, errors: '' });
    expect(program.lines()).toEqual(['error']);
  });

  /** Nothing in it ends the process, and what waits in vain would wait for a day. */
  const run = (url: string, code: string, options = ''): string => `
    const { connect } = require(${JSON.stringify(bundle)});
    (async () => {
      const controller = new AbortController();
      const client = connect(${JSON.stringify(url)}, { ${options} signal: controller.signal, topics: ['t'], timeout: 1e8 });
      client.watch('error', () => {});
      ${code}
      console.log(client.state);
    })();
  `;
});
