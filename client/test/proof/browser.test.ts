/** The client in pages of a real Chromium: cut in the middle of a message, kept in the back/forward cache, and in several tabs. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { findChromium } from '../../../ts/test/peers/harness.js';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { FaultProxy } from '../support/fault-proxy.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RECOVERING = { subscriptions: 'acl', recovery: { bufferSize: 4_096, maxMessages: 4_096 } } as const;

let browser: Browser;
let bundle: string;

beforeAll(async () => {
  const { outputFiles } = await build({
    stdin: { contents: "import * as wse from './src/index.ts'; globalThis.wse = wse", resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    format: 'iife',
    target: 'es2022',
    platform: 'browser',
    external: ['@msgpack/msgpack'],
    write: false,
  });
  bundle = outputFiles[0]?.text ?? '';
  browser = await chromium.launch({
    executablePath: await findChromium(),
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
    // Off by default where pages are driven.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  });
});
afterAll(() => browser.close());

/** What pages said: which one, what about, and what. */
type Report = readonly [tab: string, kind: string, value: unknown];

/** A site whose page connects and reports all it hears; `/other` goes back when `back()` is called. */
async function site(): Promise<{ origin: string; reports: Report[]; back(): void; of(tab: string, kind: string): unknown[] }> {
  const reports: Report[] = [];
  let back = (): void => {};
  const backed = new Promise<void>((resolve) => {
    back = resolve;
  });
  const PAGE = `<!doctype html><script src="/wse.js"></script><script>
    const [tab, url] = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    // One after the other: reports keep their order.
    let last = Promise.resolve();
    const report = (kind, value) => {
      last = last.then(() => fetch('/report', { method: 'POST', body: JSON.stringify([tab, kind, value]), keepalive: true })).catch(() => {});
    };
    const client = wse.connect(url, { topics: ['a'], reconnect: { baseDelay: 50, maxDelay: 200 } });
    client.watch('state', ({ state }) => report('state', state));
    client.watch('lost', (range) => report('lost', range));
    client.watch('error', (error) => report('error', String(error)));
    client.watch('subscription', ({ topics }) => report('subscribed', topics));
    client.on('tick', ({ payload }) => report('tick', payload.n));
    client.on('go', () => { location.href = '/other'; });
    client.on('stop', () => client.close());
    addEventListener('pageshow', ({ persisted }) => report('pageshow', persisted));
    addEventListener('error', ({ message }) => report('error', message));
  </script>`;
  const OTHER = "<!doctype html><script>fetch('/wait').then(() => history.back())</script>";
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/report') {
      let body = '';
      for await (const chunk of request) body += chunk;
      reports.push(JSON.parse(body) as Report);
      response.end();
    } else if (request.url === '/wait') {
      await backed;
      response.end();
    } else {
      const script = request.url === '/wse.js';
      response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
      response.end(script ? bundle : request.url === '/other' ? OTHER : PAGE);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reports,
    back,
    of: (tab, kind) => reports.filter((report) => report[0] === tab && report[1] === kind).map(([, , value]) => value),
  };
}

/** Opens tabs of one window. */
async function tabs(origin: string, names: readonly string[], url: string): Promise<void> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  await Promise.all(
    names.map(async (name) => {
      const page = await context.newPage();
      await page.goto(`${origin}/#${encodeURIComponent(JSON.stringify([name, url]))}`);
    }),
  );
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, n) => n + 1);

it('is cut in the middle of messages, again and again, and has every one of them', async () => {
  const { server, port } = await startServer({ ...RECOVERING, keep: false });
  const proxy = await FaultProxy.start({ target: `ws://127.0.0.1:${port}`, seed: 7, faults: { down: { cut: 0.02 } } });
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const { origin, of } = await site();
  await tabs(origin, ['one'], proxy.url);
  await waitUntil(() => of('one', 'subscribed').length > 0, 'subscription');
  for (let n = 1; n <= 300; n += 1) {
    server.publish('a', 'tick', { n, filler: 'x'.repeat(200) });
    if (n % 30 === 0)
      await waitUntil(
        () => of('one', 'tick').length >= n,
        () => `${n}: ${of('one', 'tick').length}, ${proxy}`,
      );
  }
  expect(of('one', 'tick')).toEqual(upTo(300));
  expect(proxy.tally.cut).toBeGreaterThan(0);
  expect(of('one', 'lost')).toEqual([]);
  expect(of('one', 'error')).toEqual([]);
});

it('goes into the back/forward cache without a socket, and comes out of it without a gap', async () => {
  const { server, port, take } = await startServer(RECOVERING);
  const { origin, of, back } = await site();
  await tabs(origin, ['one'], `ws://127.0.0.1:${port}`);
  await waitUntil(() => of('one', 'subscribed').length > 0, 'subscription');
  const [, conn] = await take('connect');
  for (let n = 1; n <= 3; n += 1) server.publish('a', 'tick', { n });
  await waitUntil(() => of('one', 'tick').length === 3, 'the first');
  server.publish('a', 'go', {});
  await take('disconnect', conn);
  for (let n = 4; n <= 9; n += 1) server.publish('a', 'tick', { n });
  back();
  await waitUntil(() => of('one', 'pageshow').length === 2, 'the page shown again');
  // Restored, not loaded again: otherwise this would test nothing.
  expect(of('one', 'pageshow')).toEqual([false, true]);
  await waitUntil(() => of('one', 'tick').length >= 9, 'what was missed');
  server.publish('a', 'tick', { n: 10 });
  await waitUntil(() => of('one', 'tick').length >= 10, 'the last');
  expect(of('one', 'tick')).toEqual(upTo(10));
  expect(of('one', 'lost')).toEqual([]);
  expect(of('one', 'state').filter((state) => state === 'connected')).toHaveLength(2);
});

it('lives in twenty tabs, of which each has its own connection and end', async () => {
  const { server, port, events } = await startServer(RECOVERING);
  const { origin, of } = await site();
  const names = Array.from({ length: 20 }, (_, i) => `tab ${i}`);
  await tabs(origin, names, `ws://127.0.0.1:${port}`);
  for (const name of names) await waitUntil(() => of(name, 'subscribed').length > 0, `subscription of ${name}`);
  expect(new Set(events.filter(([kind]) => kind === 'connect').map(([, conn]) => conn)).size).toBe(20);
  for (let n = 1; n <= 20; n += 1) server.publish('a', 'tick', { n });
  for (const name of names) {
    await waitUntil(() => of(name, 'tick').length >= 20, `everything for ${name}`);
    expect(of(name, 'tick')).toEqual(upTo(20));
  }
  const [first] = events.filter(([kind]) => kind === 'connect');
  server.send(first?.[1] as number, '{"t":"stop","p":{}}');
  await waitUntil(() => names.filter((name) => of(name, 'state').includes('disconnected')).length === 1, 'the end of one');
  server.publish('a', 'tick', { n: 21 });
  await waitUntil(() => names.filter((name) => of(name, 'tick').length === 21).length === 19, 'the others go on');
});
