/** The store of browsers, in Chromium: what survives a reload, who gets what a tab has left, and what a page does that may store nothing. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { build } from 'esbuild';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { WSEMessage } from '../../../ts/src/index.js';
import { findChromium } from '../../../ts/test/peers/harness.js';
import { startServer, type TestServer, waitUntil } from '../../../ts/test/support/server.js';
import { FaultProxy } from '../support/fault-proxy.js';

/** What the page has: `begin(url)` connects, `say(n)` sends, `kept()` is what the outbox holds, `heard` what it has told. */
const PAGE = `
  import { connect } from './index.js';
  import { createOutbox, indexedDBStore } from './outbox/index.js';
  const heard = [];
  let client, outbox;
  Object.assign(window, {
    heard,
    begin(url) {
      outbox = createOutbox({ store: indexedDBStore() });
      outbox.on('delivered', ({ message }) => heard.push('delivered ' + message.payload));
      outbox.on('lost', ({ message, reason }) => heard.push(reason + ' ' + message.payload));
      outbox.on('storage', ({ error }) => heard.push('storage ' + error.message));
      client = connect(url, { extensions: [outbox], reconnect: { baseDelay: 20, maxDelay: 100 } });
      client.watch('error', () => {});
    },
    say: (n) => client.send('order', n),
    kept: () => outbox.size,
    durable: () => outbox.durable,
  });`;

type Window = {
  begin(url: string): void;
  say(n: number): Promise<void>;
  kept(): number;
  durable(): boolean;
  heard: string[];
  read: number[];
};
declare const window: Window;

let browser: Browser;
let origin: string;
let stop: () => void;

beforeAll(async () => {
  const made = await build({
    stdin: { contents: PAGE, resolveDir: new URL('../../src', import.meta.url).pathname, loader: 'js' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    conditions: ['browser'],
    external: ['@msgpack/msgpack'],
    write: false,
  });
  const script = made.outputFiles[0]?.text ?? '';
  const http = createServer((request, response) => {
    const isScript = request.url === '/page.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? script : '<!doctype html><title>outbox</title><script type="module" src="/page.js"></script>');
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;
  browser = await chromium.launch({ executablePath: await findChromium(), args: ['--no-sandbox', '--disable-gpu'] });
  stop = () => {
    http.close();
    http.closeAllConnections();
  };
});

afterAll(async () => {
  await browser?.close();
  stop?.();
});

/** Pages of one profile: they share a database. */
async function profile(): Promise<BrowserContext> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  return context;
}

async function tab(context: BrowserContext, proxy: FaultProxy): Promise<Page> {
  const page = await context.newPage();
  await page.goto(origin);
  await begin(page, proxy);
  return page;
}

async function begin(page: Page, proxy: FaultProxy): Promise<void> {
  await page.waitForFunction(() => 'begin' in window);
  await page.evaluate((url) => window.begin(url), `${proxy.url}/wse`);
}

const kept = (page: Page): Promise<number> => page.evaluate(() => window.kept());
const say = (page: Page, from: number, to: number): Promise<void> =>
  page.evaluate(
    async ([first, last]) => {
      for (let n = first as number; n <= (last as number); n += 1) await window.say(n);
    },
    [from, to],
  );
const orders = (server: TestServer): unknown[] =>
  server.events.flatMap(([type, , payload]) =>
    type === 'msg' && (payload as WSEMessage).t === 'order' ? [(payload as WSEMessage).p] : [],
  );
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

async function setting(): Promise<{ server: TestServer; proxy: FaultProxy; context: BrowserContext }> {
  const server = await startServer();
  const proxy = await FaultProxy.start({ target: `ws://127.0.0.1:${server.port}`, seed: 1 });
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  return { server, proxy, context: await profile() };
}

describe('in a browser', () => {
  it('a full outbox survives reloads, and what was sent and not acknowledged is not sent twice', async () => {
    const { server, proxy, context } = await setting();
    const page = await tab(context, proxy);
    await say(page, 1, 10);
    await waitUntil(() => orders(server).length === 10, 'the first ten');
    await expect.poll(() => kept(page)).toBe(0);
    proxy.faults = { down: { drop: 1 } };
    await say(page, 11, 20);
    await waitUntil(() => orders(server).length === 20, 'the next ten');
    proxy.refusing = true;
    proxy.cut();
    await say(page, 21, 30);
    expect([await kept(page), await page.evaluate(() => window.durable())]).toEqual([20, true]);
    for (let i = 0; i < 2; i += 1) {
      await page.reload();
      await begin(page, proxy);
      await expect.poll(() => kept(page), { message: 'what the page before has left' }).toBe(20);
    }
    proxy.faults = {};
    proxy.refusing = false;
    await say(page, 31, 31);
    await expect.poll(() => kept(page)).toBe(0);
    expect(orders(server)).toEqual(numbers(31));
    expect(await page.evaluate(() => window.heard.length)).toBe(21);
  });

  it('what a tab leaves goes to exactly one other', async () => {
    const { server, proxy, context } = await setting();
    await context.addInitScript(() => {
      const store = (
        globalThis as unknown as { IDBObjectStore: { prototype: { name: string; getAll(range?: unknown): EventTarget } } }
      ).IDBObjectStore;
      const { getAll } = store.prototype;
      Object.assign(globalThis, { read: [] });
      store.prototype.getAll = function (range) {
        const request = getAll.call(this, range);
        request.addEventListener('success', () => {
          if (this.name === 'records') window.read.push((request as unknown as { result: unknown[] }).result.length);
        });
        return request;
      };
    });
    proxy.refusing = true;
    const pages: Page[] = [];
    for (let at = 0; at < 5; at += 1) {
      const page = await tab(context, proxy);
      await say(page, at * 10 + 1, at * 10 + 10);
      pages.push(page);
    }
    expect(await Promise.all(pages.map(kept)), 'each has its own while all live').toEqual([10, 10, 10, 10, 10]);
    await pages[0]?.close();
    await pages[2]?.close();
    // Those that were there before do not know of those that came later until they connect; the last one knows all.
    const late = await tab(context, proxy);
    const living = [pages[1], pages[3], pages[4], late] as Page[];
    await expect.poll(async () => (await Promise.all(living.map(kept))).reduce((sum, size) => sum + size, 0)).toBe(50);
    const read = await Promise.all(living.map((page) => page.evaluate(() => window.read)));
    expect(read.flat(), 'what others hold is not read').toEqual([10, 10]);
    proxy.refusing = false;
    await waitUntil(() => orders(server).length >= 50, 'all of them');
    await expect.poll(() => Promise.all(living.map(kept))).toEqual([0, 0, 0, 0]);
    expect(orders(server).toSorted((a, b) => Number(a) - Number(b))).toEqual(numbers(50));
    expect(server.metric('wse_outbox_repeats_total')).toBe(0);
  });

  it.each(['no database', 'no locks', 'no room'])('without storage it says so and goes on: %s', async (kind) => {
    const { server, proxy, context } = await setting();
    proxy.refusing = true;
    await context.addInitScript((what) => {
      const none = { value: undefined, configurable: true };
      if (what === 'no database') Object.defineProperty(globalThis, 'indexedDB', none);
      else if (what === 'no locks') Object.defineProperty(Reflect.get(globalThis, 'navigator'), 'locks', none);
      else {
        const store = (globalThis as unknown as { IDBObjectStore: { prototype: { put: unknown } } }).IDBObjectStore;
        store.prototype.put = () => {
          throw new DOMException('full', 'QuotaExceededError');
        };
      }
    }, kind);
    const page = await tab(context, proxy);
    await say(page, 1, 5);
    const heard = await page.evaluate(() => window.heard);
    expect(heard).toEqual([expect.stringMatching(/^storage /)]);
    expect([await kept(page), await page.evaluate(() => window.durable())]).toEqual([5, false]);
    proxy.refusing = false;
    await waitUntil(() => orders(server).length === 5, 'all of them');
    expect(orders(server)).toEqual(numbers(5));
  });
});
