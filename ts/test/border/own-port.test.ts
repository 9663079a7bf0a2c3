/** One port, and the engine has it: upgrades are its own, every other request is Node's, byte for byte as it came. */

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import http, { type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import fastify from 'fastify';
import { Hono } from 'hono';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { echo, RawClient, text, upgradeHead } from '../support/http.js';
import { RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, type TestServer, type TestServerOptions, waitUntil } from '../support/server.js';
import { QUIET } from './client.js';

/** As much of Express as is used; it brings no types. */
type Express = () => {
  get(path: string, handler: (request: unknown, response: { send(text: string): void }) => void): RequestListener;
};
const express = createRequire(import.meta.url)('express') as Express;

interface Shared extends TestServer {
  app: Server;
  /** Upgrades that Node has seen. */
  upgrades: IncomingMessage[];
  /** What notes them. */
  note: (request: IncomingMessage) => void;
}

/** What was asked for, and the length of the body that came with it. */
const told: RequestListener = (request, response) => {
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
  });
  request.on('end', () => response.end(`${request.method} ${request.url} ${length}`));
};

/** A server whose port is shared; both are ended with the test. */
async function share(options: TestServerOptions = {}, handler: RequestListener = told): Promise<Shared> {
  const app = http.createServer(handler);
  const upgrades: IncomingMessage[] = [];
  const on = await startServer({ ...QUIET, path: '/wse', http: app, ...options });
  const note = (request: IncomingMessage): void => void upgrades.push(request);
  app.prependListener('upgrade', note);
  onTestFinished(() => app.closeAllConnections());
  return { ...on, app, upgrades, note };
}

/** A socket that collects what comes. */
class Raw {
  readonly socket: net.Socket;
  text = '';
  ended = false;

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.setEncoding('latin1');
    this.socket.on('data', (data: string) => {
      this.text += data;
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.ended = true;
    });
    onTestFinished(() => void this.socket.destroy());
  }

  /** Waits until so many responses have ended with what `told` says. */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    return waitUntil(
      () => pattern.exec(this.text),
      () => `${pattern} in ${JSON.stringify(this.text)}`,
    );
  }

  async end(): Promise<string> {
    await waitUntil(
      () => this.ended,
      () => `end after ${JSON.stringify(this.text)}`,
    );
    return this.text;
  }
}

async function get(port: number, path: string, agent?: http.Agent): Promise<{ status: number; body: string }> {
  const request = http.get({ port, host: '127.0.0.1', path, agent: agent ?? false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  return { status: response.statusCode ?? 0, body };
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

describe('http: server', () => {
  it('serves an agent that keeps its connections, and WebSockets that Node never sees', async () => {
    const on = await share();
    let connections = 0;
    on.app.on('connection', () => {
      connections += 1;
    });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    for (let n = 0; n < 5; n += 1) {
      expect(await get(on.port, `/${n}`, agent)).toEqual({ status: 200, body: `GET /${n} 0` });
    }
    expect(connections).toBe(1);
    const socket = new WebSocket(`ws://127.0.0.1:${on.port}/wse`);
    await once(socket, 'open');
    socket.send('{"t":"hi","p":{}}');
    expect((await on.take('msg'))[2].t).toBe('hi');
    socket.close();
    await on.take('disconnect');
    expect([connections, on.upgrades.length, on.metric('wse_http_handed_total')]).toEqual([1, 0, 1]);
  });

  it('has the address of the client', async () => {
    const on = await share({}, ({ socket }, response) => {
      response.end(JSON.stringify([socket.remoteAddress, socket.remotePort, socket.localPort, socket.remoteFamily]));
    });
    const raw = new Raw(on.port);
    raw.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const [json] = await raw.until(/\[".*"\]/);
    expect(JSON.parse(json)).toEqual(['127.0.0.1', raw.socket.localPort, on.port, 'IPv4']);
  });

  it('reads a request wherever it is cut', async () => {
    const on = await share();
    const request = 'POST /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: x\r\n\r\n';
    const get = 'GET /a?b HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n';
    await Promise.all(
      [request, get].flatMap((sent) =>
        Array.from({ length: sent.length - 1 }, async (_, cut) => {
          const raw = new Raw(on.port);
          await once(raw.socket, 'connect');
          raw.socket.write(sent.slice(0, cut + 1));
          await new Promise((resolve) => setTimeout(resolve, 20));
          raw.socket.write(sent.slice(cut + 1));
          await raw.until(sent === get ? /GET \/a\?b 0[\s\S]*GET \/next 0/ : /POST \/cut 5[\s\S]*GET \/next 0/);
        }),
      ),
    );
  });

  it('answers pipelined requests in order', async () => {
    const on = await share();
    const raw = new Raw(on.port);
    raw.socket.write(Array.from({ length: 50 }, (_, n) => `GET /${n} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
    await raw.until(/GET \/49 0/);
    expect(raw.text.match(/GET \/\d+ 0/g)).toEqual(Array.from({ length: 50 }, (_, n) => `GET /${n} 0`));
  });

  it('speaks HTTP/1.0', async () => {
    const on = await share();
    const raw = new Raw(on.port);
    raw.socket.write('GET / HTTP/1.0\r\n\r\n');
    expect(await raw.end()).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*GET \/ 0$/);
  });

  it('takes bodies, however long and however sent', async () => {
    const on = await share();
    const size = 8 * 2 ** 20;
    for (const headers of [{ 'Content-Length': size }, { 'Transfer-Encoding': 'chunked' }]) {
      const request = http.request({ port: on.port, host: '127.0.0.1', path: '/body', method: 'PUT', headers });
      const answered = once(request, 'response') as Promise<[IncomingMessage]>;
      for (let sent = 0; sent < size; sent += 2 ** 16) request.write(Buffer.alloc(2 ** 16));
      request.end();
      const [response] = await answered;
      let body = '';
      for await (const chunk of response.setEncoding('utf8')) body += chunk;
      expect(body).toBe(`PUT /body ${size}`);
    }
    const raw = new Raw(on.port);
    raw.socket.write('POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n');
    await raw.until(/POST \/c 5/);
  });

  it('sends long answers whole', async () => {
    const body = Buffer.alloc(16 * 2 ** 20, 'x');
    const on = await share({}, (_, response) => response.end(body));
    expect((await get(on.port, '/')).body.length).toBe(body.length);
  });

  it('says 100 Continue', async () => {
    const on = await share();
    const raw = new Raw(on.port);
    raw.socket.write('POST /c HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n');
    await raw.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    raw.socket.write('abc');
    await raw.until(/POST \/c 3/);
  });

  it.each([
    ['both lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['no HTTP', '\x16\x03\x01\x02\x00\x01\x00', 400],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['lines that end in LF alone', 'GET / HTTP/1.1\nHost: x\n\n', 400],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['an upgrade of a version there is not', upgradeRequest().toString().replace(': 13', ': 9'), 426],
    ['10,000 bytes of head', `GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: ${'a'.repeat(10_000)}\r\n\r\n`, 200],
    ['a hundred fields', `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${'A: b\r\n'.repeat(100)}\r\n`, 200],
    ['20,000 bytes of head', `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
  ])('lets Node judge %s', async (_, request, status) => {
    const on = await share();
    const plain = http.createServer(told).listen(0, '127.0.0.1');
    await once(plain, 'listening');
    onTestFinished(() => void plain.close());
    const statuses: string[] = [];
    for (const port of [on.port, (plain.address() as net.AddressInfo).port]) {
      const raw = new Raw(port);
      raw.socket.write(request, 'latin1');
      statuses.push((await raw.until(/^HTTP\/1\.1 \d+/))[0]);
    }
    // As a server that has the port to itself; of an upgrade of ours that is wrong, the engine says what is wrong.
    expect(statuses[0]).toBe(status === 426 ? 'HTTP/1.1 426' : statuses[1]);
    expect(Number(statuses[0]?.slice(9))).toBe(status);
  });

  it('keeps the time limits of Node', async () => {
    const app = http.createServer({ requestTimeout: 300, headersTimeout: 200, connectionsCheckingInterval: 50 }, told);
    const on = await startServer({ ...QUIET, http: app });
    onTestFinished(() => app.closeAllConnections());
    const raw = new Raw(on.port);
    raw.socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na');
    expect(await raw.end()).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('ends a head that trickles in, and serves everybody else', async () => {
    const on = await share({ handshake: { timeout: 1 } });
    const trickling = new Raw(on.port);
    const drip = setInterval(() => trickling.socket.write('a'), 20);
    onTestFinished(() => clearInterval(drip));
    trickling.socket.write('GET / HTTP/1.1\r\nA: ');
    const half = net.connect(on.port, '127.0.0.1');
    half.on('error', () => {});
    half.end('GET / HTTP/1.1\r\nHost:');
    expect((await get(on.port, '/')).status).toBe(200);
    expect(await trickling.end()).toBe('');
    expect(on.metric('wse_http_handed_total')).toBe(1);
  });

  it('survives peers that die while they are handed over', async () => {
    const on = await share();
    for (let n = 0; n < 200; n += 1) {
      const socket = net.connect(on.port, '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      if (n % 2 === 0) setImmediate(() => socket.resetAndDestroy());
      else socket.resetAndDestroy();
    }
    expect((await get(on.port, '/')).status).toBe(200);
  });

  it('reports what a listener throws, and serves the others', async () => {
    const on = await share();
    const uncaught: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const note = (error: unknown): void => void uncaught.push(error);
    process.on('uncaughtException', note);
    onTestFinished(() => {
      process.off('uncaughtException', note);
      for (const listener of listeners) process.on('uncaughtException', listener);
    });
    let bad = true;
    on.app.on('connection', () => {
      if (bad) throw new Error('on purpose');
    });
    const raw = new Raw(on.port);
    raw.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await raw.end();
    await waitUntil(() => uncaught.length === 1, 'the report');
    bad = false;
    expect((await get(on.port, '/')).status).toBe(200);
  });

  it('leaves no descriptor behind 2,000 connections', async () => {
    const on = await share();
    await get(on.port, '/');
    const before = descriptors();
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(
        Array.from({ length: 100 }, async (_, n) => {
          if (n % 4 === 0) {
            const peer = await RawPeer.open(on.port);
            peer.destroy();
          } else if (n % 4 === 1) {
            const raw = new Raw(on.port);
            raw.socket.write('GET /x HTTP/1.1\r\nHost: x\r\n\r\n');
            await raw.until(/GET \/x 0/);
            raw.socket.destroy();
          } else expect((await get(on.port, '/')).status).toBe(200);
        }),
      );
    }
    await waitUntil(
      () => descriptors() <= before + 2 && on.server.getConnectionCount() === 0,
      () => `${before} descriptors, but ${descriptors()}`,
    );
    expect((await get(on.port, '/')).status).toBe(200);
  });

  it('answers 503 once the HTTP server is closed, and lets WebSockets in', async () => {
    const on = await share();
    expect((await get(on.port, '/')).status).toBe(200);
    on.app.close();
    await waitUntil(async () => (await get(on.port, '/')).status === 503, 'a 503');
    expect(on.metric('wse_http_refused_total')).toBeGreaterThan(0);
    (await RawPeer.open(on.port)).destroy();
  });

  it('takes an upgrade that comes behind other requests', async () => {
    const on = await share({ onEvent: echo });
    const client = new RawClient(on.port, 'GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await waitUntil(() => client.heard.includes('GET /first 0'), 'the first answer');
    client.heard = '';
    client.socket.write(Buffer.concat([Buffer.from(upgradeHead('/wse')), text('{"t":"a"}')]));
    await waitUntil(() => client.heard.includes('{"t":"a"}'), 'an echo');
    expect(client.heard).toMatch(/^HTTP\/1\.1 101 /);
    client.socket.write(text('{"t":"b"}'));
    await waitUntil(() => client.heard.includes('{"t":"b"}'), 'another');
    const [, conn] = await on.take('connect');
    expect(on.server.getConnectionInfo(conn)).toMatchObject({ path: '/wse', address: '127.0.0.1' });
    expect(on.upgrades.length).toBe(1);
    client.socket.destroy();
    await on.take('disconnect', conn);
  });

  it.each<[string, () => Promise<Server>]>([
    ['Express', async () => http.createServer(express().get('/page', (_, response) => response.send('a page')))],
    [
      'Fastify',
      async () => {
        const app = fastify();
        app.get('/page', async () => 'a page');
        await app.ready();
        onTestFinished(() => app.close());
        return app.server;
      },
    ],
    ['Hono', async () => createAdaptorServer(new Hono().get('/page', (c) => c.text('a page'))) as Server],
  ])('serves an application of %s', async (_, make) => {
    const app = await make();
    const on = await startServer({ ...QUIET, path: '/ws', http: app });
    onTestFinished(() => app.closeAllConnections());
    expect(await get(on.port, '/page')).toEqual({ status: 200, body: 'a page' });
    expect((await get(on.port, '/nowhere')).status).toBe(404);
    (await RawPeer.open(on.port, { path: '/ws' })).destroy();
  });

  it('leaves upgrades to other paths to whoever listens for them', async () => {
    const on = await share();
    on.app.off('upgrade', on.note);
    const client = new RawClient(on.port, upgradeHead('/hmr'));
    await waitUntil(() => client.heard.startsWith('HTTP/1.1 404 '), 'a 404');
    const hmr = new WebSocketServer({ noServer: true });
    onTestFinished(() => hmr.close());
    on.app.on('upgrade', (request, socket, head) => {
      if (request.url === '/hmr') hmr.handleUpgrade(request, socket, head, (ws) => ws.send('update'));
    });
    const other = new WebSocket(`ws://127.0.0.1:${on.port}/hmr`);
    const [update] = (await once(other, 'message')) as [Buffer];
    expect(update.toString()).toBe('update');
    other.terminate();
  });

  it('goes with the server, and lets idle connections go', async () => {
    const before = descriptors();
    const on = await share();
    const idle = new Raw(on.port);
    idle.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await idle.until(/GET \/ 0/);
    await on.stop();
    await idle.end();
    await waitUntil(
      () => descriptors() <= before + 2,
      () => `${before} descriptors, but ${descriptors()}`,
    );
    expect(on.app.listenerCount('close')).toBe(0);
  });
});
