// Plain sockets that an HTTP server of Node has read a request from: the engine takes them over.

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RustWSEServer, type WSEServerOptions } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { beside, listen, portless, RawClient, text, upgradeHead } from '../support/http.js';
import { waitUntil } from '../support/server.js';
import { Client } from './client.js';

/** What a raw client hears until the connection ends. */
const exchange = (port: number, bytes: string): Promise<string> => new RawClient(port, bytes).ended();

describe('handleUpgrade()', () => {
  it('has the engine serve the socket, which is no connection of the HTTP server any more', async () => {
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
    const many = Array.from({ length: 700 }, (_, n) => text(JSON.stringify({ n })));
    // Node goes on reading in between.
    app.on('upgrade', (...upgrade) => void setTimeout(() => on.server.handleUpgrade(...upgrade), 50));
    const { socket } = new RawClient(port);
    socket.write(Buffer.concat([Buffer.from(upgradeHead()), ...many.slice(0, 300)]));
    setTimeout(() => socket.write(Buffer.concat(many.slice(300, 600))), 20);
    setTimeout(() => socket.write(Buffer.concat(many.slice(600))), 100);
    const numbers = (): number[] => on.events.filter(([type]) => type === 'msg').map((event) => (event[2] as { n: number }).n);
    await waitUntil(() => numbers().length >= 700, 'all messages');
    expect(numbers()).toEqual(many.map((_, n) => n));
  });

  it('takes 10,000 bytes of early frames, and a megabyte that Node has begun to buffer', async () => {
    const { on, app, port } = await beside({ protocol: 'raw' });
    app.on('upgrade', (...upgrade) => void setTimeout(() => on.server.handleUpgrade(...upgrade), 20));
    for (const size of [10_000, 2 ** 20 - 100]) {
      new RawClient(port, Buffer.concat([Buffer.from(upgradeHead()), text('x'.repeat(size))]));
      expect((await on.take('raw'))[2]).toBe('x'.repeat(size));
    }
  });

  it('judges the request as the port of the engine does', async () => {
    const options: WSEServerOptions = { path: '/ws', allowedOrigins: ['https://app.example'], jwt: { secret: 's'.repeat(32) } };
    const { on, app, port } = await beside(options);
    app.on('upgrade', (...upgrade) => on.server.handleUpgrade(...upgrade));
    const filler = `X-Filler: ${'x'.repeat(9900)}`;
    for (const [bytes, status] of [
      [upgradeHead('/elsewhere'), 404],
      [upgradeHead('/ws', 'Origin: https://evil.example'), 403],
      [upgradeHead().replace('websocket', 'h2c'), 426],
      [upgradeHead().replace('Version: 13', 'Version: 8'), 426],
      [upgradeHead().replace('GET', 'POST'), 400],
      [`${upgradeHead('/ws', 'Content-Length: 5')}hello`, 400],
      [upgradeHead('/ws', ...Array.from({ length: 65 }, (_, n) => `X-${n}: 1`)), 431],
      // 10,000 bytes of head are no reason.
      [upgradeHead('/ws', filler), 101],
      [upgradeHead(), 101],
    ] as const) {
      const heard = await exchange(port, bytes);
      expect([bytes.slice(0, 60), heard.slice(0, 12)]).toEqual([bytes.slice(0, 60), `HTTP/1.1 ${status}`]);
      // A token is missing, and published clients are told behind the 101.
      if (status === 101) expect(heard).toContain('AUTH');
    }
    expect(on.events).toEqual([]);
  });

  it('asks for a host of this machine on loopback, whatever the HTTP server is bound to', async () => {
    const { on, app, port } = await beside();
    app.on('upgrade', (...upgrade) => on.server.handleUpgrade(...upgrade));
    expect(await exchange(port, upgradeHead().replace('Host: localhost', 'Host: evil.example'))).toMatch(/^HTTP\/1.1 403/);
    const named = await portless({ allowedOrigins: [] });
    app.removeAllListeners('upgrade').on('upgrade', (...upgrade) => named.server.handleUpgrade(...upgrade));
    await Client.open(port, { headers: { Host: 'app.example' } });
  });

  it('counts limits per address, and answers 503 where there is no place', async () => {
    const { on, app, port } = await beside({ maxConnections: 1 });
    app.on('upgrade', (...upgrade) => on.server.handleUpgrade(...upgrade));
    const first = await Client.open(port);
    expect(await exchange(port, upgradeHead())).toMatch(/^HTTP\/1.1 503 .*Retry-After/s);
    first.send('{"t":"served"}');
    await first.heard(1);
  });

  it('answers 503 before the start, while draining and after the stop, and never throws for a state', async () => {
    const app = http.createServer();
    const port = await listen(app);
    const server = new RustWSEServer({ shards: threads(1), closeTimeout: 60 });
    onTestFinished(() => server.stop({ timeout: 0 }));
    app.on('upgrade', (...upgrade) => void server.handleUpgrade(...upgrade));
    expect(await exchange(port, upgradeHead())).toMatch(/^HTTP\/1.1 503/);
    expect(await server.start()).toEqual({ host: null, port: null });
    const client = await Client.open(port);
    client.socket.pause();
    const drained = server.drain({ timeout: 3 });
    await waitUntil(() => server.healthSnapshot()['draining'], 'draining');
    expect(await exchange(port, upgradeHead())).toMatch(/^HTTP\/1.1 503/);
    client.socket.resume();
    expect(await drained).toBe(true);
    expect(await client.closed()).toBe(4300);
    await server.stop();
    expect(await exchange(port, upgradeHead())).toMatch(/^HTTP\/1.1 503/);
    expect(() => server.attachTo(app)).toThrow(expect.objectContaining({ code: 'WSE_STOPPED' }));
  });

  it('refuses by a typed error what only the caller can have got wrong', async () => {
    const { on, app, port } = await beside();
    const socket = new net.Socket();
    const errors: unknown[] = [];
    const tried = (call: () => unknown): void => {
      try {
        call();
      } catch (error) {
        errors.push([(error as Error).name, (error as { code?: string }).code]);
      }
    };
    app.on('request', (request) => tried(() => on.server.handleUpgrade(request, request.socket)));
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'the socket is as it was').toBe('page');
    const request = Object.assign(new http.IncomingMessage(socket), { headers: { upgrade: 'websocket' } });
    tried(() => on.server.handleUpgrade({} as never, socket));
    tried(() => on.server.handleUpgrade(undefined as never, socket));
    tried(() => on.server.handleUpgrade(request, {} as never));
    tried(() => on.server.handleUpgrade(request, socket, 'text' as never));
    expect(errors).toEqual([
      ['WSEArgumentError', 'WSE_NO_UPGRADE'],
      ...Array.from({ length: 4 }, () => ['TypeError', undefined]),
    ]);
  });

  it('serves sockets of a Unix domain server as they are', async () => {
    const { on, app } = await beside();
    app.close();
    const path = `${tmpdir()}/wse-upgrade-${process.pid}-${Math.random().toString(36).slice(2)}.sock`;
    const local = http.createServer();
    local.on('upgrade', (...upgrade) => on.server.handleUpgrade(...upgrade));
    local.listen(path);
    await once(local, 'listening');
    onTestFinished(() => void local.close());
    // A proxy asks there for whatever host its client meant.
    const client = await Client.open(0, { createConnection: () => net.connect(path), headers: { Host: 'app.example' } } as never);
    client.send('{"t":"local"}');
    await client.heard(1);
    expect(on.gauge('pumped_connections')).toBe(0);
  });

  it('is there on every facade of the engine', async () => {
    const { on, app, port } = await beside();
    const other = RustWSEServer.attach(on.server.handle);
    other.attachTo(app);
    const client = await Client.open(port);
    client.send('{"t":"hi"}');
    await client.heard(1);
  });
});
