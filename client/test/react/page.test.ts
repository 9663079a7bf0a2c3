/** React in a real browser: its frames, its StrictMode, its window. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, it, onTestFinished } from 'vitest';
import { launchBrowser, openPage } from '../../../ts/test/peers/browser.js';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import type { PageScope } from './page-app.js';

const COMPONENTS = 200;
const MESSAGES = 10_000;

interface Scope {
  readonly scope: PageScope;
}

it('one socket in StrictMode, kept over remounts; every message counted, drawn at most once a frame', async () => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('page-app.ts', import.meta.url))],
    bundle: true,
    format: 'iife',
    target: 'es2022',
    platform: 'browser',
    // StrictMode does twice what it does in development only.
    define: { 'process.env.NODE_ENV': '"development"' },
    external: ['@msgpack/msgpack'],
    write: false,
  });
  const site = createServer((request, response) => {
    const script = request.url === '/app.js';
    response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
    response.end(script ? outputFiles[0]?.text : '<!doctype html><div id="root"></div><script src="/app.js"></script>');
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  const browser = await launchBrowser();
  onTestFinished(async () => {
    await browser.close();
    site.closeAllConnections();
    site.close();
  });
  const server = await startServer({ subscriptions: 'acl', recovery: { maxMessages: 2 * MESSAGES } });
  const { page, complaints } = await openPage(browser, `http://127.0.0.1:${(site.address() as AddressInfo).port}`);
  const read = () =>
    page.evaluate(() => {
      const { seen, counts } = (globalThis as unknown as Scope).scope;
      const { renders, frames, events, ticks, clients } = seen;
      return { renders, frames, events, ticks, clients: clients.size, counts: counts() };
    });
  await page.evaluate(([url, components]) => (globalThis as unknown as Scope).scope.start(url as string, components as number), [
    `ws://127.0.0.1:${server.port}/wse`,
    COMPONENTS,
  ] as const);
  const subscribed = (): number =>
    server.events.reduce((sum, [type, , p]) => (type === 'subscribe' ? sum + p.topics.length : sum), 0);
  // Ten topics of the components, and one of `useWSE` beside them.
  await waitUntil(
    () => subscribed() === 11,
    () => `11 topics; ${subscribed()}`,
  );
  expect(server.gauge('connections')).toBe(2);

  const before = await read();
  for (let n = 0; n < MESSAGES; n += 1) {
    server.server.publish(`t${n % 10}`, 'tick', n);
    if (n % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  const all = async (): Promise<boolean> => (await read()).counts.every((count) => count === MESSAGES / 10);
  await waitUntil(all, 'every message in every component');
  const after = await read();
  const frames = after.frames - before.frames;
  // StrictMode renders each component twice.
  const commits = (after.renders - before.renders) / 2;
  console.log(`${MESSAGES} messages, ${COMPONENTS} components: ${frames} frames, ${commits} commits`);
  expect(commits).toBeGreaterThan(0);
  expect(commits).toBeLessThanOrEqual(frames);
  // The window hears of what `useWSE` hears, each of them.
  expect(after.ticks).toBe(MESSAGES / 10);
  expect(after.events).toContain('connectionStateChange');
  expect(after.events).toContain('subscriptionUpdate');

  await page.evaluate(() => (globalThis as unknown as Scope).scope.again());
  await page.evaluate(() => (globalThis as unknown as Scope).scope.remount());
  server.server.publish('t0', 'tick', 0);
  await waitUntil(async () => (await read()).counts[0] !== MESSAGES / 10, 'a message after the remount');
  expect((await read()).clients).toBe(1);
  expect(server.events.filter(([type]) => type === 'connect')).toHaveLength(2);
  expect(server.gauge('connections')).toBe(2);

  await page.evaluate(() => (globalThis as unknown as Scope).scope.stop());
  await server.take('disconnect');
  await server.take('disconnect');
  expect(complaints).toEqual([]);
});
