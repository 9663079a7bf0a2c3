/** Connections that are Node's on the engine's port: their later requests are judged as the first, and what is left of them at the end. */

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import http, { type Server } from 'node:http';
import { networkInterfaces } from 'node:os';
import { Worker } from 'node:worker_threads';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RawClient, upgradeHead } from '../support/http.js';
import { startServer, type TestServer, type TestServerOptions, waitUntil } from '../support/server.js';
import { QUIET } from './client.js';

const MODULE = new URL('../../../dist/index.cjs', import.meta.url).pathname;

const QUESTIONS = { health: '/healthz', metrics: '/metrics' } as const;

async function share({ http: own = {}, ...options }: TestServerOptions = {}): Promise<TestServer & { app: Server }> {
  const app = http.createServer((_, response) => response.end('page'));
  onTestFinished(() => app.closeAllConnections());
  const on = await startServer({ ...QUIET, path: '/ws', http: { server: app, ...QUESTIONS, ...own }, ...options });
  return { ...on, app };
}

/** A request that is no upgrade. */
const get = (path: string, host = 'localhost', ...fields: string[]): string =>
  `GET ${path} HTTP/1.1\r\n${[`Host: ${host}`, ...fields].join('\r\n')}\r\n\r\n`;

/** The status of the answer to `request`, if `before` was said and a page asked for first, on the same connection or not. */
async function asked(client: RawClient, before: string, request: string, isLater: boolean): Promise<number> {
  client.socket.write(before);
  if (isLater) {
    client.socket.write(get('/', /Host: (.*)\r/.exec(request)?.[1]));
    await waitUntil(
      () => client.heard.endsWith('page'),
      () => `a page in ${client.heard}`,
    );
    client.heard = '';
  }
  client.socket.write(request);
  await waitUntil(() => client.heard.includes('\r\n\r\n'), 'an answer');
  return Number(client.heard.slice(9, 12));
}

describe.each([
  ['first', false],
  ['later', true],
] as const)('the %s request of a connection', (_, isLater) => {
  it('is the client’s whom a proxy has named before', async () => {
    const trustProxy = { addresses: ['127.0.0.1'], header: 'proxy-protocol' } as const;
    const on = await share({ trustProxy, allowedOrigins: ['https://app.example'] });
    const from = (address: string): string => `PROXY TCP4 ${address} 10.0.0.1 4711 80\r\n`;
    const ask = (address: string, request: string): Promise<number> =>
      asked(new RawClient(on.port), from(address), request, isLater);
    expect(await ask('203.0.113.7', get('/metrics'))).toBe(403);
    expect(await ask('127.0.0.2', get('/metrics'))).toBe(200);
    expect(await ask('203.0.113.7', upgradeHead())).toBe(101);
    const [, conn] = await on.take('connect');
    expect(on.server.getConnectionInfo(conn)?.address).toBe('203.0.113.7');
  });

  it('may ask for any name where the server is bound to all addresses', async () => {
    const on = await share({ host: '0.0.0.0' });
    const upgrade = upgradeHead().replace('localhost', 'app.example');
    expect(await asked(new RawClient(on.port), '', get('/healthz', 'app.example'), isLater)).toBe(200);
    expect(await asked(new RawClient(on.port), '', upgrade, isLater)).toBe(101);
    const local = await share();
    expect(await asked(new RawClient(local.port), '', get('/healthz', 'app.example'), isLater)).toBe(403);
    expect(await asked(new RawClient(local.port), '', upgrade, isLater)).toBe(403);
  });

  it('asks for no metrics from a link-local address', async ({ skip }) => {
    const near = Object.entries(networkInterfaces()).flatMap(([name, all]) =>
      (all ?? []).filter(({ address }) => address.startsWith('fe80:')).map(({ address }) => `${address}%${name}`),
    )[0];
    if (near === undefined) return skip();
    const on = await share({ host: '::' });
    const ask = (host: string): Promise<number> => asked(new RawClient(on.port, '', { host }), '', get('/metrics'), isLater);
    expect(await ask(near)).toBe(403);
    expect(await ask('::1')).toBe(200);
  });
});

const descriptors = (): number => readdirSync('/proc/self/fd').length;

describe('the end', () => {
  it('leaves no descriptor of a worker that is terminated while it takes sockets', async () => {
    const before = descriptors();
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      (async () => {
        const { RustWSEServer } = require(workerData);
        const app = require('node:http').createServer((_, response) => response.end());
        app.on('connection', () => {
          parentPort.postMessage('one');
          for (const end = Date.now() + 200; Date.now() < end; );
        });
        const server = new RustWSEServer({ port: 0, http: app, inbound: 'discard' });
        parentPort.postMessage((await server.start()).port);
      })();`;
    const worker = new Worker(script, { eval: true, workerData: MODULE });
    const [port] = (await once(worker, 'message')) as [number];
    const peers = Array.from({ length: 40 }, () => new RawClient(port, get('/')));
    await once(worker, 'message');
    await once(worker, 'message');
    await worker.terminate();
    await Promise.all(peers.map((peer) => peer.ended()));
    await waitUntil(
      () => descriptors() <= before + 2,
      () => `${before} descriptors, but ${descriptors()}`,
    );
  });
});
