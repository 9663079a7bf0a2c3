// Upgrades through somebody else's HTTP server that go wrong: nothing leaks, no descriptor is closed twice, others are served.

import { closeSync, mkdtempSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import tls from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { Client } from '../border/client.js';
import { selfSigned } from '../support/certificate.js';
import { beside, listen, portless, RawClient, text, upgradeHead } from '../support/http.js';
import { MIB, rss, type TestServer, waitUntil } from '../support/server.js';

const LINUX = process.platform === 'linux';
const QUICK = 2000;
const AT_ONCE = 50;

const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** Files that are opened, written, read back and closed all the time: who closes a descriptor twice closes one of theirs. */
function watchFiles(): () => number {
  const directory = mkdtempSync(join(tmpdir(), 'wse-files-'));
  let rounds = 0;
  let failure: unknown;
  const turn = (): void => {
    const files = Array.from({ length: 8 }, (_, n) => openSync(join(directory, String(n)), 'w+'));
    for (const [n, file] of files.entries()) writeSync(file, `file ${n}`);
    setImmediate(() => {
      try {
        for (const [n, file] of files.entries()) {
          const back = Buffer.alloc(6);
          readSync(file, back, 0, 6, 0);
          if (back.toString() !== `file ${n}`) throw new Error(`file ${n} holds ${back}`);
          closeSync(file);
        }
        rounds += 1;
      } catch (error) {
        failure ??= error;
      }
    });
  };
  const timer = setInterval(turn, 5);
  onTestFinished(() => {
    clearInterval(timer);
    rmSync(directory, { recursive: true });
  });
  return () => {
    if (failure !== undefined) throw failure;
    return rounds;
  };
}

/** Waits until nobody is connected, and nothing is on its way. */
async function settled(on: TestServer, connections: number): Promise<void> {
  await waitUntil(
    () => on.server.getConnectionCount() === connections && on.gauge('pending_handshakes') === 0,
    () => `the end of all (${on.server.getConnectionCount()} connections, ${on.gauge('pending_handshakes')} handshakes)`,
    30_000,
  );
}

/** `count` clients that say something and die in different ways. */
async function quick(count: number, connect: () => net.Socket): Promise<void> {
  const head = upgradeHead();
  const says = [
    head,
    head.slice(0, 60),
    head + text('{"t":"x"}').toString('latin1'),
    head.replace('websocket', 'h2c'),
    head.replace('Version: 13', 'Version: 7'),
    `${upgradeHead('/ws', 'Content-Length: 5')}hello`,
  ];
  const one = async (n: number): Promise<void> => {
    const socket = connect();
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.write(says[n % says.length] as string, 'latin1');
    await pause(n % 7);
    if (n % 3 === 0) socket.end();
    if (n % 3 === 1 && !(socket instanceof tls.TLSSocket)) socket.resetAndDestroy();
    if (n % 3 === 1) await pause(1);
    socket.destroy();
  };
  for (let n = 0; n < count; n += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, (_, at) => one(n + at)));
}

const WAYS: Record<string, (on: TestServer) => Promise<() => net.Socket>> = {
  'plain sockets': async (on) => {
    const app = http.createServer();
    on.server.attachTo(app);
    const port = await listen(app);
    return () => net.connect(port, '127.0.0.1');
  },
  'plain sockets, handed over late': async (on) => {
    const app = http.createServer();
    app.on('upgrade', (request, socket, head) => {
      socket.on('error', () => {});
      setTimeout(() => on.server.handleUpgrade(request, socket, head), 3);
    });
    const port = await listen(app);
    return () => net.connect(port, '127.0.0.1');
  },
  TLS: async (on) => {
    const { cert, key } = await selfSigned();
    const app = https.createServer({ cert, key });
    app.on('tlsClientError', () => {});
    on.server.attachTo(app);
    const port = await listen(app);
    return () => tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  },
};

it.runIf(LINUX).each(Object.entries(WAYS))('%s that die quickly leave nothing behind', async (_, attach) => {
  const on = await portless({ maxConnections: 4096 });
  const connect = await attach(on);
  // Whatever is made on first use.
  await quick(AT_ONCE, connect);
  await settled(on, 0);
  const app = http.createServer();
  on.server.attachTo(app);
  const honest = await Client.open(await listen(app));
  const files = watchFiles();
  await pause(50);
  const before = { descriptors: descriptors(), rss: rss() };

  const storm = quick(QUICK, connect);
  let stormy = true;
  const calm = (): void => {
    stormy = false;
  };
  void storm.then(calm, calm);
  let told = 0;
  while (stormy) {
    honest.send(`{"t":"hi","p":${told}}`);
    told += 1;
    await honest.heard(told);
    await pause(5);
  }
  await storm;
  await settled(on, 1);
  expect(told).toBeGreaterThan(3);
  expect(files()).toBeGreaterThan(3);
  // The files that are watched come and go.
  await waitUntil(
    () => descriptors() <= before.descriptors + 8,
    () => `descriptors closed: ${before.descriptors}, now ${descriptors()}`,
  );
  expect(rss() - before.rss).toBeLessThan(64 * MIB);
  expect(on.gauge('reassembly_bytes')).toBe(0);
  honest.send('{"t":"end"}');
  await honest.heard(told + 1);
});

it('a socket that died before it was handed over is nobody’s', async () => {
  const { on, app, port } = await beside();
  const seen: boolean[] = [];
  app.on('upgrade', (request, socket, head) => {
    socket.destroy();
    seen.push(on.server.handleUpgrade(request, socket, head));
  });
  expect(await new RawClient(port, upgradeHead()).ended()).toBe('');
  expect([seen, on.server.getConnectionCount()]).toEqual([[false], 0]);
});

it('a descriptor that was closed behind the back of its socket is not touched', async () => {
  const { on, app, port } = await beside();
  const files = watchFiles();
  type Handle = { close(done: () => void): void; fd: number };
  app.on('upgrade', (request, socket, head) => {
    const handle = (socket as unknown as { _handle: Handle })._handle;
    handle.close(() => {});
    expect(handle.fd).toBeLessThan(0);
    expect(on.server.handleUpgrade(request, socket, head)).toBe(false);
  });
  for (let n = 0; n < 20; n += 1) expect(await new RawClient(port, upgradeHead()).ended()).toBe('');
  await settled(on, 0);
  await waitUntil(() => files() > 3, 'some rounds of files');
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('page');
});

it('a number that is no socket’s descriptor is refused, and stays open', async () => {
  const { on, app, port } = await beside();
  const directory = mkdtempSync(join(tmpdir(), 'wse-file-'));
  const file = openSync(join(directory, 'file'), 'w+');
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const descriptor of [file, 2 ** 20, 2 ** 31 - 1]) {
    app.removeAllListeners('upgrade').once('upgrade', (request, socket, head) => {
      const handle = (socket as unknown as { _handle: object })._handle;
      Object.defineProperty(handle, 'fd', { value: descriptor });
      on.server.handleUpgrade(request, socket, head);
    });
    expect(await new RawClient(port, upgradeHead()).ended()).toMatch(/^HTTP\/1.1 503/);
  }
  writeSync(file, 'still mine');
  closeSync(file);
});

it('a stream that breaks in any way while it is handed over ends as a handshake does', async () => {
  const { on, app, port } = await beside();
  class Broken extends Duplex {
    constructor(readonly how: 'read' | 'write' | 'silent' | 'sync') {
      super();
    }

    override _read(): void {
      if (this.how === 'read') this.destroy(new Error('on purpose'));
      if (this.how === 'sync') throw new Error('on purpose');
    }

    override _write(_: unknown, __: string, done: (error?: Error) => void): void {
      if (this.how !== 'silent') done(new Error('on purpose'));
    }
  }
  const streams: Broken[] = [];
  app.on('upgrade', (request, socket, head) => {
    socket.destroy();
    for (const how of ['read', 'write', 'silent', 'sync'] as const) {
      const stream = new Broken(how);
      streams.push(stream);
      expect(on.server.handleUpgrade(request, stream, head)).toBe(true);
    }
  });
  expect(await new RawClient(port, upgradeHead()).ended()).toBe('');
  await waitUntil(() => on.server.getConnectionCount() === 1, 'the one that says nothing');
  on.server.disconnect(on.server.getConnections()[0] as number);
  await on.server.stop({ timeout: 0.2 });
  await waitUntil(() => streams.every(({ destroyed }) => destroyed), 'the end of all streams');
});

it('ten thousand bytes of head, twice over what Node takes, and nothing at all', async () => {
  const { on, app, port } = await beside();
  on.server.attachTo(app);
  expect(await new RawClient(port, upgradeHead('/ws', `X: ${'x'.repeat(40_000)}`)).ended()).toMatch(/^HTTP\/1.1 431/);
  expect(await new RawClient(port, '\r\n\r\n\r\nGET\r\n\r\n').ended()).toMatch(/^HTTP\/1.1 400/);
  const client = await Client.open(port, { headers: { 'X-Long': 'x'.repeat(10_000) } });
  client.send('{"t":"hi"}');
  await client.heard(1);
});
