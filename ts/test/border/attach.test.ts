// Which upgrades of an HTTP server are the engine's, and whose the others are.

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { RustWSEServer } from '../../src/index.js';
import { beside, listen, portless } from '../support/http.js';
import { waitUntil } from '../support/server.js';
import { Client } from './client.js';

/** The status that refuses an upgrade to `path`. */
async function refusal(port: number, path: string): Promise<number> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  socket.on('error', () => {});
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, http.IncomingMessage];
  response.resume();
  return response.statusCode as number;
}

/** The text a client hears back. */
async function echoed(port: number, path: string): Promise<string | undefined> {
  const client = await Client.open(port, { path });
  client.send('{"t":"hi"}');
  return (await client.heard(1))[0];
}

describe('attachTo()', () => {
  it('takes every upgrade by default, and leaves requests alone', async () => {
    const { on, app, port } = await beside();
    on.server.attachTo(app);
    expect(await echoed(port, '/any?x=1')).toBe('{"t":"hi"}');
    expect(await (await fetch(`http://127.0.0.1:${port}/any`)).text()).toBe('page');
  });

  it('takes one path, and what else comes is answered 404 where nobody else listens', async () => {
    const { on, app, port } = await beside();
    on.server.attachTo(app, { path: '/ws' });
    expect(await echoed(port, '/ws?x=1')).toBe('{"t":"hi"}');
    expect(await refusal(port, '/ws/')).toBe(404);
    expect(await refusal(port, '/')).toBe(404);
  });

  it('knows the paths of its server', async () => {
    const { on, app, port } = await beside({ paths: { '/a': {}, '/b': { protocol: 'raw' } } });
    on.server.attachTo(app);
    expect([await echoed(port, '/a'), await echoed(port, '/b'), await refusal(port, '/c')]).toEqual([
      '{"t":"hi"}',
      '{"t":"hi"}',
      404,
    ]);
    expect(() => on.server.attachTo(app, { path: '/c' })).toThrow(expect.objectContaining({ path: 'options.path' }));
  });

  it('leaves other paths to other listeners', async () => {
    const { on, app, port } = await beside();
    const other = new WebSocketServer({ noServer: true });
    onTestFinished(() => other.close());
    other.on('connection', (socket) => socket.on('message', () => socket.send('{"t":"ws"}')));
    app.on('upgrade', (request, socket, head) => {
      if (request.url === '/other') other.handleUpgrade(request, socket, head, (client) => other.emit('connection', client));
    });
    on.server.attachTo(app, { path: '/ws' });
    expect([await echoed(port, '/ws'), await echoed(port, '/other')]).toEqual(['{"t":"hi"}', '{"t":"ws"}']);
  });

  it('has several engines at one server, and one engine at several servers', async () => {
    const { on, app, port } = await beside();
    const second = await portless();
    on.server.attachTo(app, { path: '/one' });
    second.server.attachTo(app, { path: '/two' });
    expect(app.listenerCount('upgrade')).toBe(1);
    expect([await echoed(port, '/one'), await echoed(port, '/two'), await refusal(port, '/three')]).toEqual([
      '{"t":"hi"}',
      '{"t":"hi"}',
      404,
    ]);
    expect([on.server.getConnectionCount(), second.server.getConnectionCount()]).toEqual([1, 1]);
    const elsewhere = http.createServer();
    on.server.attachTo(elsewhere);
    expect(await echoed(await listen(elsewhere), '/')).toBe('{"t":"hi"}');
  });

  it('ends with what it returns, and with stop(); connections stay with the first', async () => {
    const { on, app, port } = await beside();
    const detach = on.server.attachTo(app, { path: '/ws' });
    const client = await Client.open(port, { path: '/ws' });
    detach();
    detach();
    expect(app.listenerCount('upgrade')).toBe(0);
    client.send('{"t":"hi"}');
    await client.heard(1);
    on.server.attachTo(app);
    on.server.attachTo(app, { path: '/twice' });
    expect(app.listenerCount('upgrade')).toBe(1);
    await on.server.stop();
    expect([app.listenerCount('upgrade'), await client.closed()]).toEqual([0, 1012]);
  });

  it('forgets an engine that another facade has stopped', async () => {
    const { on, app, port } = await beside();
    const other = RustWSEServer.attach(on.server.handle);
    other.attachTo(app);
    await on.server.stop();
    expect(await refusal(port, '/')).toBe(404);
  });

  it('stays attached while a start fails', async () => {
    const taken = net.createServer();
    const { port: busy } = { port: await listen(taken) };
    const app = http.createServer();
    const port = await listen(app);
    const server = new RustWSEServer({ port: busy });
    onTestFinished(() => server.stop());
    server.attachTo(app);
    await expect(server.start()).rejects.toMatchObject({ code: 'WSE_ADDR_IN_USE' });
    taken.close();
    await waitUntil(
      () =>
        server.start().then(
          () => true,
          () => false,
        ),
      'a free port',
    );
    await Client.open(port);
    await Client.open(busy);
    expect(server.getConnectionCount()).toBe(2);
  });

  it('refuses what is no server, and options it does not have', async () => {
    const { on, app } = await beside();
    for (const wrong of [undefined, {}, 3000, 'http', () => {}]) {
      expect(() => on.server.attachTo(wrong as never)).toThrow(TypeError);
    }
    for (const [options, path] of [
      [{ path: 'ws' }, 'options.path'],
      [{ path: '/*' }, 'options.path'],
      [{ path: '' }, 'options.path'],
      [{ paths: ['/ws'] }, 'options.paths'],
      ['/ws', 'options'],
    ] as const) {
      expect(() => on.server.attachTo(app, options as never)).toThrow(expect.objectContaining({ name: 'WSEConfigError', path }));
    }
    expect(app.listenerCount('upgrade')).toBe(0);
  });
});
