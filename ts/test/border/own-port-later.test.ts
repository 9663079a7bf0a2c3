/** Connections that are Node's on the engine's port: their later requests are judged as the first, and what is left of them at the end. */

import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import http, { type Server } from 'node:http';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RustWSEServer } from '../../src/index.js';
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

  const LOCAL = { trustProxy: { addresses: ['127.0.0.1'] } };
  it.each<[string, TestServerOptions, string, string[], number]>([
    ['this machine', {}, 'localhost', [], 200],
    ['another name', {}, 'app.example', [], 403],
    ['X-Forwarded-For', {}, 'localhost', ['X-Forwarded-For: 127.0.0.1'], 403],
    ['an empty one', {}, 'localhost', ['X-Forwarded-For: '], 403],
    ['Forwarded', {}, 'localhost', ['Forwarded: for=127.0.0.1'], 403],
    ['Via', {}, 'localhost', ['via: 1.1 front'], 403],
    ['X-Real-IP', {}, 'localhost', ['X-Real-IP: 203.0.113.7'], 403],
    ['a client a trusted proxy names', LOCAL, 'localhost', ['X-Forwarded-For: 203.0.113.7'], 403],
    ['this machine, says a trusted proxy', LOCAL, 'localhost', ['X-Forwarded-For: 127.0.0.1'], 200],
    ['nobody, says a trusted proxy', LOCAL, 'localhost', ['X-Forwarded-For: unknown'], 403],
    ['the other field of a trusted proxy', LOCAL, 'localhost', ['Forwarded: for=127.0.0.1'], 403],
    [
      'a proxy that is not trusted',
      { trustProxy: { addresses: ['192.0.2.1'] } },
      'localhost',
      ['X-Forwarded-For: 127.0.0.1'],
      403,
    ],
    ['a proxy, and it is allowed', { http: { allow: ['127.0.0.1'] } }, 'app.example', ['Via: 1.1 front'], 200],
  ])('asks for metrics: %s', async (_, options, host, fields, status) => {
    const folder = mkdtempSync(join(tmpdir(), 'wse-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'app.sock');
    // Which names may be asked for at a loopback address is another question.
    const port = await share({ allowedOrigins: ['https://app.example'], ...options });
    await share({ ...options, port: null, unix: path });
    for (const client of [new RawClient(port.port), new RawClient(0, '', { path } as object)]) {
      expect(await asked(client, '', get('/metrics', host, ...fields), isLater)).toBe(status);
    }
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

  it('lets the HTTP server go', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const run = async (): Promise<WeakRef<Server>> => {
      const app = http.createServer((_, response) => response.end('page'));
      const server = new RustWSEServer({ ...QUIET, port: 0, inbound: 'discard', http: app });
      const { port } = await server.start();
      await (await fetch(`http://127.0.0.1:${port}/`, { headers: { Connection: 'close' } })).text();
      await server.stop();
      return new WeakRef(app);
    };
    const app = await run();
    await waitUntil(() => {
      collect();
      return app.deref() === undefined;
    }, 'the HTTP server to be collected');
  });

  it('watches connections that outlive it, until they are gone', async () => {
    const app = http.createServer({ headersTimeout: 1500, requestTimeout: 1500, connectionsCheckingInterval: 50 }, () => {});
    const on = await startServer({ ...QUIET, http: app });
    onTestFinished(() => app.closeAllConnections());
    const client = new RawClient(on.port, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na');
    await once(app, 'connection');
    await on.stop();
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 408 /);
  });
});

it('may be behind two engines, of which each answers for itself and neither ends what is the other’s', async () => {
  const limits = { headersTimeout: 500, requestTimeout: 500, connectionsCheckingInterval: 50 };
  const app = http.createServer(limits, ({ method }, response) => void (method === 'GET' && response.end('page')));
  onTestFinished(() => app.closeAllConnections());
  const start = (allow: string[]): Promise<TestServer> => startServer({ ...QUIET, http: { server: app, ...QUESTIONS, allow } });
  const [first, second] = [await start(['127.0.0.1']), await start(['192.0.2.1'])];
  expect(await asked(new RawClient(first.port), '', get('/healthz'), true)).toBe(200);
  expect(await asked(new RawClient(second.port), '', get('/healthz'), true)).toBe(403);
  app.closeIdleConnections();
  await first.stop();
  const client = new RawClient(second.port, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na');
  await once(app, 'connection');
  expect(await client.ended()).toContain('HTTP/1.1 408 ');
});

it('keeps to the maxConnections of the HTTP server', async () => {
  const { app, port } = await share();
  app.maxConnections = 2;
  const dropped: unknown[] = [];
  app.on('drop', (data) => dropped.push(data?.remoteAddress));
  const clients = Array.from({ length: 5 }, () => new RawClient(port, get('/')));
  await waitUntil(() => dropped.length === 3, 'three to be dropped');
  await waitUntil(() => clients.filter(({ socket }) => socket.closed).length === 3, 'their ends');
  const served = clients.filter(({ socket }) => !socket.closed);
  await waitUntil(() => served.every(({ heard }) => heard.endsWith('page')), 'pages');
  expect(dropped).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.1']);
  served[0]?.socket.destroy();
  await waitUntil(async () => {
    const client = new RawClient(port, get('/'));
    await waitUntil(() => client.socket.closed || client.heard.endsWith('page'), 'a page or an end');
    return client.heard.endsWith('page');
  }, 'a page where one has left');
  const error = await new Promise((resolve) => app.close(resolve));
  expect(error).toMatchObject({ code: 'ERR_SERVER_NOT_RUNNING' });
});
