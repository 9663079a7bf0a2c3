/** A client in a service worker, which may import nothing later: with `inbound`, all it needs is there. */

import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { openPage } from '../../../ts/test/peers/browser.js';
import { startServer } from '../../../ts/test/support/server.js';
import { mangling } from '../../names.config.js';
import { openSite } from '../support/site.js';

/** What is used of `navigator.serviceWorker`. */
interface Workers {
  readonly ready: Promise<{ readonly active: { postMessage(message: unknown): void } | null }>;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  register(url: string, options: { readonly type: 'module' }): Promise<unknown>;
  startMessages(): void;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const worker = (inbound: boolean): string => `
  import { connect } from './src/index.ts';
  ${inbound ? "import { inbound } from './src/inbound/index.ts';" : 'const inbound = undefined;'}
  self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
  self.addEventListener('message', async ({ data, source }) => {
    const client = connect(data, { inbound, topics: ['a'], reconnect: { maxAttempts: 0 } });
    try {
      await client.connected(10_000);
      const { payload } = await client.recv(10_000);
      source.postMessage(payload);
    } catch ({ code }) {
      source.postMessage(code);
    }
    await client.close();
  });`;

it.each([
  [true, 'packed'],
  [false, 'WSE_CONNECT_FAILED'],
])('with everything in it: %s', async (inbound, expected) => {
  const { outputFiles } = await build({
    stdin: { contents: worker(inbound), resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    external: ['@msgpack/msgpack'],
    outdir: 'out',
    write: false,
    ...mangling,
  });
  const files = new Map(outputFiles.map(({ path, text }) => [`/${basename(path)}`, text]));
  const { origin, browser } = await openSite(({ url = '/' }, response) => {
    response.writeHead(200, { 'Content-Type': url.endsWith('.js') ? 'text/javascript' : 'text/html' });
    response.end(files.get(url) ?? '<!doctype html>');
  });
  const server = await startServer({ allowedOrigins: [origin], subscriptions: 'acl' });
  const { page } = await openPage(browser, origin);
  const said = page.evaluate(async (url) => {
    const { serviceWorker } = (globalThis as unknown as { navigator: { serviceWorker: Workers } }).navigator;
    const answer = new Promise((resolve) => {
      serviceWorker.addEventListener('message', ({ data }: { data: unknown }) => resolve(data));
    });
    await serviceWorker.register('/stdin.js', { type: 'module' });
    const { active } = await serviceWorker.ready;
    serviceWorker.startMessages();
    active?.postMessage(url);
    return answer;
  }, `ws://127.0.0.1:${server.port}/wse`);
  if (inbound) {
    const [, conn] = await server.take('connect');
    server.server.sendBytes(conn, new Uint8Array(deflateSync('{"t":"x","p":"packed"}')));
  }
  expect(await said).toBe(expected);
});
