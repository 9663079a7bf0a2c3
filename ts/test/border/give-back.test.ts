// Upgrades to something else than a WebSocket: whoever asks gets the page, as from a server without any engine.

import { once } from 'node:events';
import http, { type RequestListener } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type net from 'node:net';
import tls from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocketServer } from 'ws';
import { selfSigned } from '../support/certificate.js';
import { echo, listen, portless, RawClient, upgradeHead } from '../support/http.js';
import { startServer, waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

/** What curl (`--http2`) and Java's client add to a request. */
const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n';

const ask = (line: string, fields = '', body = ''): string => `${line} HTTP/1.1\r\nHost: localhost\r\n${H2C}${fields}\r\n${body}`;

/** What was asked for, the body that came with it, and whether it was an upgrade still. */
const told: RequestListener = (request, response) => {
  let body = '';
  request.on('data', (chunk) => {
    body += chunk;
  });
  request.on('end', () => response.end(`${request.method} ${request.url} [${body}] ${request.headers.upgrade ?? 'plain'};`));
};

const WAYS: Record<string, (path?: string) => Promise<{ app: http.Server; port: number }>> = {
  'attachTo() with a path': async (path = '/ws') => {
    const app = http.createServer(told);
    (await portless()).server.attachTo(app, { path });
    return { app, port: await listen(app) };
  },
  'attachTo() for all': async () => {
    const app = http.createServer(told);
    (await portless()).server.attachTo(app);
    return { app, port: await listen(app) };
  },
  'a port of the engine': async (path = '/ws') => {
    const app = http.createServer(told);
    const { port } = await startServer({ ...QUIET, path, http: app, onEvent: echo });
    onTestFinished(() => app.closeAllConnections());
    return { app, port };
  },
};

describe.each(Object.entries(WAYS))('%s', (_, way) => {
  it('answers h2c as without it, with bodies and keep-alive, in order', async () => {
    const { app, port } = await way();
    let connections = 0;
    app.on('connection', () => {
      connections += 1;
    });
    const client = new RawClient(port, ask('GET /a') + ask('POST /b', 'Content-Length: 2\r\n', 'hi') + ask('GET /c'));
    await waitUntil(() => client.heard.includes('GET /c'), 'three pages');
    client.socket.write(ask('POST /d', 'Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n'));
    await waitUntil(() => client.heard.match(/200 OK/g)?.length === 3, 'nothing more');
    client.socket.write('2\r\nde\r\n0\r\n\r\nGET /e HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await waitUntil(() => client.heard.includes('GET /e'), 'the last');
    expect(client.heard.match(/[A-Z]+ \/. \[.*?;/g)).toEqual([
      'GET /a [] plain;',
      'POST /b [hi] plain;',
      'GET /c [] plain;',
      'POST /d [abcde] plain;',
      'GET /e [] plain;',
    ]);
    expect(connections).toBe(1);
    client.socket.write(upgradeHead());
    await waitUntil(() => client.heard.includes(' 101 '), 'an upgrade on the same connection');
  });

  it('hears a peer out that has ended its side', async () => {
    const { port } = await way();
    const client = new RawClient(port);
    client.socket.end(`GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n${ask('GET /b', 'Connection: close\r\n')}`);
    expect(await client.ended()).toMatch(/GET \/a \[\] plain;.*GET \/b \[\] plain;$/s);
  });

  it('is asked a hundred times on one connection, and keeps nothing', async () => {
    const { app, port } = await way();
    const sockets = new Set<net.Socket>();
    app.on('request', ({ socket }) => void sockets.add(socket));
    const client = new RawClient(port);
    for (let n = 1; n <= 100; n += 1) {
      client.socket.write(ask(`GET /${n % 10}`));
      await waitUntil(() => client.heard.match(/;/g)?.length === n, 'a page');
    }
    const [socket] = [...sockets] as [net.Socket];
    expect(sockets.size).toBe(1);
    for (const event of ['data', 'end', 'close', 'drain', 'error', 'timeout', 'resume', 'pause']) {
      expect(socket.listenerCount(event), event).toBeLessThan(10);
    }
  });

  it('has what comes behind it judged as behind any request', async () => {
    const plain = await listen(http.createServer(told));
    const { port } = await way();
    const behind = '\x16\x03\x01\r\n\r\n';
    const asked = new RawClient(port, ask('GET /a') + behind);
    const usual = new RawClient(plain, `GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n${behind}`);
    expect(await asked.ended()).toBe(await usual.ended());
    expect(asked.heard).toContain('HTTP/1.1 400 ');
  });
});

it('takes an upgrade that names a WebSocket among others, in any case', async () => {
  const { port } = await (WAYS['attachTo() with a path'] as () => Promise<{ port: number }>)();
  for (const name of ['WebSocket', 'h2c, websocket']) {
    const client = new RawClient(port, upgradeHead().replace('Upgrade: websocket', `Upgrade: ${name}`));
    await waitUntil(() => /^HTTP\/1.1 (101|4\d\d)/.test(client.heard), 'an answer');
    expect([name, client.heard.slice(9, 12)]).toEqual([name, '101']);
  }
  expect((await new RawClient(port, upgradeHead('/no')).ended()).slice(9, 12)).toBe('404');
});

it('leaves them to whoever else listens', async () => {
  const on = await portless();
  const app = http.createServer(told);
  on.server.attachTo(app, { path: '/ws' });
  const other = new WebSocketServer({ noServer: true });
  app.on('upgrade', (request, socket, head) => {
    if (request.url === '/mine') socket.end('HTTP/1.1 418 Mine\r\n\r\n');
    if (request.url === '/other') other.handleUpgrade(request, socket, head, () => {});
  });
  expect(await new RawClient(await listen(app), ask('GET /mine')).ended()).toMatch(/^HTTP\/1.1 418 /);
});

it.each(['node:https', 'node:http2'])('gets the page over %s too', async (kind) => {
  const on = await portless();
  const { cert, key } = await selfSigned();
  const app =
    kind === 'node:https'
      ? https.createServer({ cert, key }, told)
      : http2.createSecureServer({ cert, key, allowHTTP1: true }, told as never);
  on.server.attachTo(app, { path: '/ws' });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  onTestFinished(() => void app.close());
  const { port } = app.address() as net.AddressInfo;
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  let heard = '';
  socket.on('data', (chunk) => {
    heard += chunk;
  });
  socket.write(ask('GET /a') + ask('POST /b', 'Content-Length: 2\r\n', 'hi'));
  await waitUntil(() => heard.includes('POST /b [hi] plain;'), 'both pages');
  await Client.open(port, { scheme: 'wss', rejectUnauthorized: false, path: '/ws' });
});
