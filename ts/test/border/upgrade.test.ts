// Sockets that an HTTP server of Node has read a request from: the engine takes them over.

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { WSEServerOptions } from '../../src/index.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

/** An HTTP server that is ended with the test, and its port. */
async function listen(server: http.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as net.AddressInfo).port;
}

/** An engine without a port that echoes texts, behind an HTTP server that says `page` to everything else. */
async function beside(options: WSEServerOptions = {}): Promise<{ on: TestServer; app: http.Server; port: number }> {
  const on = await startServer({
    ...QUIET,
    port: null,
    ...options,
    onEvent: ([type, conn, payload], server) => {
      if (type === 'msg') server.send(conn, JSON.stringify(payload));
    },
  });
  const app = http.createServer((_, response) => response.end('page'));
  return { on, app, port: await listen(app) };
}

describe('a plain socket', () => {
  it('is served by the engine, and is no connection of the HTTP server any more', async () => {
    const { on, app, port } = await beside();
    let seen: net.Socket | undefined;
    app.on('upgrade', (request, socket, head) => {
      seen = socket as net.Socket;
      expect(on.server.handleUpgrade(request, socket, head)).toBe(true);
      expect(on.server.handleUpgrade(request, socket, head), 'a second time').toBe(false);
    });
    const client = await Client.open(port, { path: '/ws?x=1' });
    client.send('{"t":"hi"}');
    expect(await client.heard(1)).toEqual(['{"t":"hi"}']);
    const [conn] = on.server.getConnections();
    expect(on.server.getConnectionInfo(conn as number)).toMatchObject({ path: '/ws', address: '127.0.0.1', secure: false });
    expect(seen?.destroyed).toBe(true);
    expect(on.gauge('pumped_connections')).toBe(0);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('page');
    app.close();
    app.closeIdleConnections();
    await once(app, 'close');
    client.send('{"t":"still here"}');
    await client.heard(2);
    await on.server.stop();
    expect(await client.closed()).toBe(1012);
  });

  it('loses nothing that came with the request or behind it, early or late', async () => {
    const { on, app, port } = await beside();
    const many = Array.from({ length: 700 }, (_, n) => frame(JSON.stringify({ n })));
    app.on('upgrade', (request, socket, head) => {
      // Node goes on reading in between.
      setTimeout(() => on.server.handleUpgrade(request, socket, head), 50);
    });
    const socket = net.connect(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write(Buffer.concat([Buffer.from(REQUEST), ...many.slice(0, 300)]));
    setTimeout(() => socket.write(Buffer.concat(many.slice(300, 600))), 20);
    setTimeout(() => socket.write(Buffer.concat(many.slice(600))), 100);
    const numbers = async (): Promise<number[]> =>
      on.events.filter(([type]) => type === 'msg').map((event) => (event[2] as { n: number }).n);
    await waitUntil(async () => (await numbers()).length >= 700, 'all messages');
    expect(await numbers()).toEqual(many.map((_, n) => n));
  });
});

const REQUEST: string =
  'GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';

/** A masked text frame. */
function frame(text: string): Buffer {
  const payload = Buffer.from(text);
  if (payload.length > 125) throw new Error('too long');
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}
