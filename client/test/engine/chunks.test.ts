/** A page whose files come in parts: what is used later is loaded later, and a load that fails is reported and tried again. */

import { basename } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { openPage } from '../../../ts/test/peers/browser.js';
import { startServer } from '../../../ts/test/support/server.js';
import { mangling } from '../../names.config.js';
import { openSite } from '../support/site.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Scope {
  readonly wse: Pick<typeof import('../../src/index.js'), 'connect' | 'endpointPool'>;
  client: import('../../src/index.js').WSEClient;
  errors: string[];
}

it('connects in the end, whatever becomes of the first loads', async () => {
  const { outputFiles } = await build({
    stdin: {
      contents: "import { connect, endpointPool } from './src/index.ts'; globalThis.wse = { connect, endpointPool }",
      resolveDir: ROOT,
      loader: 'ts',
    },
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    external: ['@msgpack/msgpack'],
    outdir: 'out',
    write: false,
    ...mangling,
  });
  const files = new Map(outputFiles.map(({ path, text }) => [`/${basename(path)}`, text]));
  const asked: string[] = [];
  let failing = 2;
  const { origin, browser } = await openSite(async ({ url = '/' }, response) => {
    asked.push(url);
    const part = url.startsWith('/inbound');
    const broken = part && failing-- > 0;
    // Longer than several attempts may take.
    if (part && !broken) await setTimeout(1_000);
    response.writeHead(broken ? 503 : 200, { 'Content-Type': url.endsWith('.js') ? 'text/javascript' : 'text/html' });
    response.end(files.get(url) ?? '<!doctype html><script type="module" src="/stdin.js"></script>');
  });
  const server = await startServer({ allowedOrigins: [origin], subscriptions: 'acl' });
  const { page } = await openPage(browser, origin);
  await page.waitForFunction(() => 'wse' in globalThis);
  const scripts = (): string[] => asked.filter((url) => url.endsWith('.js')).map((url) => url.replace(/-.*/, ''));
  expect(scripts()).toEqual(['/stdin.js']);
  await page.evaluate(async (url) => {
    const scope = globalThis as unknown as Scope;
    scope.errors = [];
    scope.client = scope.wse.connect(url, {
      topics: ['a'],
      reconnect: { baseDelay: 50, maxDelay: 100 },
      connectTimeout: 250,
      pool: scope.wse.endpointPool(),
    });
    scope.client.watch('error', ({ cause }) => scope.errors.push(String(cause)));
    scope.client.onRequest<number>('double', (n) => n * 2);
    const [, { success }] = await Promise.all([scope.client.send('hello', 1), scope.client.subscribe(['b'])]);
    if (!success) throw new Error('not subscribed');
  }, `ws://127.0.0.1:${server.port}/wse`);
  const [, conn] = await server.take('connect');
  expect(await server.server.request(conn, 'double', 21)).toBe(42);
  // One thing is loaded later, once it can be; nothing else is needed of what is not used.
  expect(scripts()).toEqual(['/stdin.js', '/inbound', '/inbound', '/inbound']);
  // None of it was a server's fault.
  const pool = await page.evaluate(() => (globalThis as unknown as Scope).client.getStats().connectionPool);
  expect(pool).toEqual([expect.objectContaining({ failures: 0, healthy: true })]);
  const errors = await page.evaluate(() => (globalThis as unknown as Scope).errors);
  expect(errors).toEqual([expect.stringContaining('inbound'), expect.stringContaining('inbound')]);
});
