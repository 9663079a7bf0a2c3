/** The client in a real browser: bundled from its package as a page would have it, against a real engine. */

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { encodeJwt } from '../../../ts/src/index.js';
import { openPage } from '../../../ts/test/peers/browser.js';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { openSite } from '../support/site.js';

const SECRET = 's'.repeat(32);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Scope {
  readonly wse: typeof import('../../src/index.js');
  client: import('../../src/index.js').WSEClient;
  heard: unknown[];
  states: string[];
}

it('connects with a token, comes back, and recovers', async () => {
  const { outputFiles } = await build({
    stdin: { contents: "import * as wse from './src/index.ts'; globalThis.wse = wse", resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    platform: 'browser',
    external: ['@msgpack/msgpack'],
    write: false,
  });
  const { origin, browser } = await openSite((request, response) => {
    const script = request.url === '/wse.js';
    response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
    response.end(script ? outputFiles[0]?.text : '<!doctype html><script src="/wse.js"></script>');
  });
  const server = await startServer({
    jwt: { secret: SECRET, from: ['subprotocol'] },
    protocols: ['wse'],
    allowedOrigins: [origin],
    subscriptions: 'acl',
    recovery: true,
  });
  const { page, complaints } = await openPage(browser, origin);
  const token = encodeJwt({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 600 }, SECRET);
  await page.evaluate(
    async ([url, secret]) => {
      const scope = globalThis as unknown as Scope;
      scope.heard = [];
      scope.states = [];
      scope.client = scope.wse.connect(url as string, {
        token: () => secret as string,
        tokenIn: 'subprotocol',
        protocols: ['wse'],
        topics: ['a'],
        reconnect: { baseDelay: 50 },
      });
      scope.client.watch('state', ({ state }) => scope.states.push(state));
      scope.client.onAny(({ payload }) => scope.heard.push(payload));
      await scope.client.connected(10_000);
      await scope.client.subscribe(['b']);
      await scope.client.send('hello', { from: 'a page' });
    },
    [`ws://127.0.0.1:${server.port}/wse`, token],
  );
  const [, conn] = await server.take('auth_connect');
  expect((await server.take('msg'))[2]).toMatchObject({ t: 'hello', p: { from: 'a page' } });
  server.server.publish('a', 'tick', 1);
  const heard = (): Promise<unknown[]> => page.evaluate(() => (globalThis as unknown as Scope).heard);
  await waitUntil(async () => (await heard()).length === 1, 'the first');
  server.server.disconnect(conn, { code: 4300 });
  await server.take('disconnect', conn);
  for (let n = 2; n <= 5; n += 1) server.server.publish('a', 'tick', n);
  await waitUntil(async () => (await heard()).length === 5, 'the rest');
  expect(await heard()).toEqual([1, 2, 3, 4, 5]);
  const states = await page.evaluate(async () => {
    const scope = globalThis as unknown as Scope;
    await scope.client.close();
    return scope.states;
  });
  expect(states).toEqual(['connecting', 'connected', 'reconnecting', 'connected', 'disconnected']);
  expect(complaints).toEqual([]);
});
