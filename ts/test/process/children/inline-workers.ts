/** Workers that host inline engines, and how they end. */

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { WebSocket } from 'ws';
import { RustWSEServer } from '../../../src/index.js';
import { frame } from '../../support/frames.js';
import type { InlineTask } from './inline-worker.js';
import { next, report, until } from './talk.js';

const launch = (task: InlineTask): Worker => new Worker(new URL('./inline-worker.js', import.meta.url), { workerData: task });

async function connect(port: number): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.on('error', () => {});
  await once(socket, 'open');
  return socket;
}

/** A socket that upgrades and floods, whatever comes back; `ended` once the other side is gone. */
function raw(port: number): { ended: boolean; heard: number } {
  const socket = net.connect(port, '127.0.0.1');
  const state = { ended: false, heard: 0 };
  const packet = Buffer.concat(Array.from({ length: 20 }, () => frame({ payload: 'x' })));
  socket.on('error', () => {});
  socket.on('close', () => {
    state.ended = true;
  });
  socket.write(
    'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  );
  const pump = (): void => {
    if (!socket.writable) return;
    if (socket.writableLength < 100_000) socket.write(packet);
    setImmediate(pump);
  };
  socket.on('connect', pump);
  socket.on('data', ({ length }) => {
    state.heard += length;
  });
  return state;
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

const programs: Record<string, () => Promise<void>> = {
  /** Forty workers, one after the other at one port, each terminated another moment after its start, under traffic. */
  async terminate() {
    let port = 0;
    let ended = 0;
    let served = 0;
    let before = 0;
    for (let round = 0; round < 42; round += 1) {
      // The first two warm up.
      if (round === 2) before = descriptors();
      const worker = launch({ role: 'echo', port });
      port = await next<number>(worker);
      const sockets = Array.from({ length: 6 }, () => raw(port));
      // The last of them while they serve, however long that takes to begin.
      if (round > 32) await until(() => sockets.every(({ heard }) => heard > 1000));
      await pause(round < 2 ? 20 : round - 2);
      for (const end = performance.now() + Math.random(); performance.now() < end; ); // timers are exact to 1 ms
      await worker.terminate();
      await until(() => sockets.every((socket) => socket.ended));
      ended += sockets.length;
      // More than an upgrade says.
      served += sockets.filter(({ heard }) => heard > 1000).length;
    }
    for (let i = 0; i < 100 && descriptors() > before; i += 1) await pause(20);
    report({ ended, served, grown: descriptors() - before });
  },

  /** `process.exit()` in a worker ends the worker alone. */
  async exit() {
    const worker = launch({ role: 'exit' });
    const port = await next<number>(worker);
    const sockets = Array.from({ length: 3 }, () => raw(port));
    const [code] = (await once(worker, 'exit')) as [number];
    await until(() => sockets.every((socket) => socket.ended));
    report({ code });
  },

  /** `process.exit()` of the main thread, while workers serve. */
  async 'exit-main'() {
    for (let i = 0; i < 2; i += 1) {
      const worker = launch({ role: i === 0 ? 'echo' : 'loop' });
      const port = await next<number>(worker);
      for (let n = 0; n < 3; n += 1) raw(port);
    }
    await pause(100);
    report({ exiting: true });
    process.exit(25);
  },

  /** A worker reads an engine of the main thread, until it is terminated. */
  async attach() {
    const server = new RustWSEServer({ host: '127.0.0.1', port: 0, shards: 'inline', serverReady: false });
    const { port } = await server.start();
    const worker = launch({ role: 'attached', handle: server.handle });
    await next(worker);
    const client = await connect(port);
    const texts: string[] = [];
    client.on('message', (data) => texts.push(data.toString()));
    await until(() => server.getConnectionCount() === 1);
    server.subscribeConnection(server.getConnections()[0] as number, ['t']);
    for (let i = 0; i < 500; i += 1) client.send(`${i}`);
    await until(() => texts.length === 1000);
    const answers = texts.filter((text) => text.startsWith('worker'));
    const inOrder = answers.every((text, i) => text === `worker ${i}`);
    const published = texts.filter((text) => text.startsWith('published')).every((text, i) => text === `published ${i}`);
    await worker.terminate();
    client.send('after');
    const loop = (async () => {
      for await (const batch of server.batches()) {
        for (const [type, conn, text] of batch) if (type === 'raw') server.send(conn, `main ${text}`);
      }
    })();
    await until(() => texts.includes('main after'));
    const late = await connect(port);
    const heard = once(late, 'message');
    late.send('late');
    const [text] = await heard;
    await server.stop();
    await loop;
    report({ answers: answers.length, inOrder, published, late: String(text) });
  },

  /** A worker that does nothing but a blocking loop on an engine of its own. */
  async loop() {
    const worker = launch({ role: 'loop' });
    const port = await next<number>(worker);
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(port)));
    let echoed = 0;
    for (const client of clients) client.on('message', () => (echoed += 1));
    for (let i = 0; i < 200; i += 1) for (const client of clients) client.send(`${i}`);
    await until(() => echoed === 1000);
    const closed = clients.map((client) => once(client, 'close'));
    const began = performance.now();
    await worker.terminate();
    const took = performance.now() - began;
    const codes = new Set((await Promise.all(closed)).map(([code]) => code as number));
    report({ echoed, took, codes: [...codes] });
  },

  /** Two workers at one port. */
  async reuse() {
    const first = launch({ role: 'echo', reusePort: true, hello: 'first' });
    const port = await next<number>(first);
    const second = launch({ role: 'echo', port, reusePort: true, hello: 'second' });
    await next(second);
    const hello = async (): Promise<string> => {
      const client = new WebSocket(`ws://127.0.0.1:${port}/`);
      const [text] = await once(client, 'message');
      client.close();
      return String(text);
    };
    const before = await Promise.all(Array.from({ length: 60 }, hello));
    const ended = once(first, 'exit');
    first.postMessage('stop');
    await ended;
    const after = await Promise.all(Array.from({ length: 20 }, hello));
    await second.terminate();
    report({ both: new Set(before).size, after: [...new Set(after)] });
  },

  /** Workers that die while they start. */
  async starting() {
    let before = 0;
    for (let round = 0; round < 22; round += 1) {
      if (round === 2) before = descriptors();
      const worker = launch({ role: 'start' });
      await next(worker);
      for (const end = performance.now() + (round % 10) / 5; performance.now() < end; );
      await worker.terminate();
    }
    for (let i = 0; i < 100 && descriptors() > before; i += 1) await pause(20);
    report({ grown: descriptors() - before });
  },
};

await programs[process.argv[2] as string]?.();
