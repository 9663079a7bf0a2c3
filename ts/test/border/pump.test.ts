// Sockets that cannot be handed over: their bytes pass through JavaScript, and nobody can tell.

import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { selfSigned } from '../support/certificate.js';
import { beside, listen, portless, RawClient, text, upgradeHead } from '../support/http.js';
import { MIB, type TestServer, waitUntil } from '../support/server.js';
import { Client } from './client.js';

/** A stream that is no socket: what a proxy, a test or another transport would hand in. */
class Wrapped extends Duplex {
  readonly #inner: Duplex;

  constructor(inner: Duplex) {
    super({ allowHalfOpen: true, highWaterMark: 16 * 1024 });
    this.#inner = inner;
    inner.on('data', (chunk) => this.push(chunk) || inner.pause());
    inner.on('end', () => this.push(null));
    inner.on('close', () => this.destroy());
    inner.on('error', (error) => this.destroy(error));
  }

  override _read(): void {
    this.#inner.resume();
  }

  override _write(chunk: Buffer, _: string, done: (error?: Error | null) => void): void {
    this.#inner.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#inner.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#inner.destroy();
    done(error);
  }
}

/** An HTTP server whose upgrades the engine gets as streams that are no sockets. */
async function wrapping(on: TestServer): Promise<{ port: number; wrapped: Wrapped[] }> {
  const app = http.createServer();
  const wrapped: Wrapped[] = [];
  app.on('upgrade', (request, socket, head) => {
    const stream = new Wrapped(socket);
    wrapped.push(stream);
    expect(on.server.handleUpgrade(request, stream, head)).toBe(true);
  });
  return { port: await listen(app), wrapped };
}

describe('TLS that Node speaks', () => {
  it('is pumped, and the engine knows who is there', async () => {
    const on = await portless();
    const certificate = await selfSigned();
    const app = https.createServer({ cert: certificate.cert, key: certificate.key }, (_, response) => response.end('page'));
    on.server.attachTo(app);
    const port = await listen(app);
    const client = await Client.open(port, { scheme: 'wss', rejectUnauthorized: false, path: '/ws', localAddress: '127.0.0.2' });
    client.send('{"t":"hi"}');
    expect(await client.heard(1)).toEqual(['{"t":"hi"}']);
    const [conn] = on.server.getConnections();
    expect(on.server.getConnectionInfo(conn as number)).toMatchObject({ path: '/ws', address: '127.0.0.2', secure: true });
    expect(on.gauge('pumped_connections')).toBe(1);
    expect(on.server.prometheusMetrics()).toContain('\nwse_pumped_connections_total 1\n');
    await on.server.stop();
    expect(await client.closed()).toBe(1012);
  });

  it('is pumped too from an HTTP/2 server that still speaks HTTP/1.1', async () => {
    const on = await portless();
    const certificate = await selfSigned();
    const app = http2.createSecureServer({ cert: certificate.cert, key: certificate.key, allowHTTP1: true });
    on.server.attachTo(app);
    app.listen(0, '127.0.0.1');
    await once(app, 'listening');
    onTestFinished(() => void app.close());
    const client = await Client.open((app.address() as net.AddressInfo).port, { scheme: 'wss', rejectUnauthorized: false });
    client.send('{"t":"hi"}');
    await client.heard(1);
  });

  it('asks for a host of this machine on loopback', async () => {
    const on = await portless();
    const certificate = await selfSigned();
    const app = https.createServer({ cert: certificate.cert, key: certificate.key });
    on.server.attachTo(app);
    const socket = tls.connect({ port: await listen(app), host: '127.0.0.1', rejectUnauthorized: false });
    onTestFinished(() => void socket.destroy());
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk;
    });
    socket.write(upgradeHead().replace('Host: localhost', 'Host: evil.example'));
    await once(socket, 'close');
    expect(heard).toMatch(/^HTTP\/1.1 403/);
  });
});

describe('any other stream', () => {
  it('carries megabytes both ways, byte for byte', async () => {
    const on = await portless({ protocol: 'raw', maxMessageSize: 16 * MIB, maxOutboundQueueBytes: 64 * MIB });
    const { port } = await wrapping(on);
    const client = await Client.open(port);
    const bytes = Buffer.alloc(8 * MIB, 'abcdefghijk');
    for (let n = 0; n < 3; n += 1) client.send(bytes);
    await waitUntil(() => client.binaries.length === 3, 'three echoes');
    expect(client.binaries.every((back) => back.equals(bytes))).toBe(true);
    const closed = once(client.socket, 'close');
    client.socket.close(1000, 'bye');
    expect((await closed)[0]).toBe(1000);
    expect((await on.take('disconnect'))[2]).toEqual({ code: 1000, reason: 'bye', by: 'peer' });
  });

  it('loses nothing that came early', async () => {
    const on = await portless({ protocol: 'raw' });
    const { port } = await wrapping(on);
    new RawClient(port, Buffer.concat([Buffer.from(upgradeHead()), text('x'.repeat(10_000)), text('y'.repeat(200_000))]));
    expect([(await on.take('raw'))[2].length, (await on.take('raw'))[2].length]).toEqual([10_000, 200_000]);
  });

  it('holds a peer that does not read back in the engine, not in JavaScript', async () => {
    const on = await portless({ protocol: 'raw', maxOutboundQueueBytes: 64 * MIB });
    const { port, wrapped } = await wrapping(on);
    const client = await Client.open(port);
    client.socket.pause();
    const [conn] = on.server.getConnections() as [number];
    for (let n = 0; n < 32; n += 1) on.server.sendBytes(conn, Buffer.alloc(MIB));
    await waitUntil(() => on.gauge('outbound_bytes') > 16 * MIB, 'a queue in the engine');
    expect(wrapped[0]?.writableLength).toBeLessThan(MIB);
    client.socket.resume();
    await waitUntil(() => client.binaries.length === 32, 'everything');
  });

  it('hears of the end from either side, in order or not', async () => {
    const on = await portless({ protocol: 'raw' });
    const { port, wrapped } = await wrapping(on);
    const gone = async (end: (client: Client, stream: Wrapped) => void): Promise<unknown> => {
      const client = await Client.open(port);
      const stream = wrapped.at(-1) as Wrapped;
      end(client, stream);
      const [, , how] = await on.take('disconnect');
      await waitUntil(() => stream.destroyed && client.code !== undefined, 'the end of all');
      return how.by;
    };
    expect(await gone((client) => client.socket.terminate())).toBe('network');
    expect(await gone((_, stream) => stream.destroy())).toBe('network');
    expect(await gone((_, stream) => stream.destroy(new Error('broken')))).toBe('network');
    expect(await gone((client) => client.socket.close())).toBe('peer');
    expect(await gone(() => on.server.disconnect(on.server.getConnections()[0] as number, { code: 4001 }))).toBe('server');
    expect(on.server.getConnectionCount()).toBe(0);
  });

  it('is refused like any other, and its answer arrives', async () => {
    const on = await portless({ path: '/ws', maxConnections: 1 });
    const { port, wrapped } = await wrapping(on);
    const first = await Client.open(port, { path: '/ws' });
    const status = async (bytes: string): Promise<string> => (await new RawClient(port, bytes).ended()).slice(9, 12);
    expect([await status(upgradeHead()), await status(upgradeHead('/no'))]).toEqual(['503', '404']);
    await on.server.stop();
    expect([await first.closed(), await status(upgradeHead())]).toEqual([1012, '503']);
    await waitUntil(() => wrapped.every(({ destroyed }) => destroyed), 'the end of all streams');
  });

  it('that Node still owes an answer is pumped, behind that answer', async () => {
    const { on, app, port } = await beside();
    app.on('upgrade', (request, socket, head) => {
      socket.write('first ');
      socket.cork();
      socket.write('second ');
      on.server.handleUpgrade(request, socket, head);
      process.nextTick(() => socket.uncork());
    });
    const client = new RawClient(port, upgradeHead());
    await waitUntil(() => client.heard.includes('101'), 'the upgrade');
    expect(client.heard).toMatch(/^first second HTTP\/1.1 101/);
  });
});

describe('the port of the pump', () => {
  it.runIf(process.platform === 'linux')('stays open beside more silent strangers than have room', async () => {
    const on = await portless();
    const { port } = await wrapping(on);
    await Client.open(port);
    const [stranger] = listening().filter((one) => one !== port) as [number];
    // Some at a time: more than fit into the backlog would wait for each other.
    const strangers: RawClient[] = [];
    for (let n = 0; n < 1024; n += 64) {
      const some = Array.from({ length: 64 }, () => new RawClient(stranger));
      await Promise.all(some.map(({ socket }) => once(socket, 'connect')));
      strangers.push(...some);
    }
    await Client.open(port);
    await waitUntil(() => strangers[0]?.socket.closed, 'the end of the oldest');
    expect(strangers.at(-1)?.socket.closed).toBe(false);
  });

  it.runIf(process.platform === 'linux')('drops whoever knows no key, and goes on', async () => {
    const on = await portless();
    const { port } = await wrapping(on);
    const client = await Client.open(port);
    const strangers = listening().filter((one) => one !== port);
    expect(strangers).toHaveLength(1);
    for (const said of [Buffer.alloc(32, 'x'), Buffer.alloc(100_000)]) {
      expect(await new RawClient(strangers[0] as number, said).ended()).toBe('');
    }
    await once(new RawClient(strangers[0] as number).socket, 'connect');
    client.send('{"t":"hi"}');
    await client.heard(1);
    await Client.open(port);
  });
});

/** Ports this process listens at. */
function listening(): number[] {
  const sockets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
    } catch {
      return undefined;
    }
  });
  const rows = readFileSync('/proc/self/net/tcp', 'utf8').split('\n').slice(1);
  return rows.flatMap((row) => {
    const [, local = '', , state, , , , , , inode] = row.trim().split(/\s+/);
    return state === '0A' && sockets.includes(inode) ? [Number.parseInt(local.split(':')[1] as string, 16)] : [];
  });
}
