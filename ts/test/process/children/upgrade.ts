/**
 * A worker whose `onUpgrade` never answers is terminated while clients wait, again and again; then a server of the main thread is
 * stopped while others wait. Reports what the clients were told and how many descriptors are left over.
 */

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { RustWSEServer } from '../../../src/index.js';
import { threads } from '../../support/driver.js';
import { report, until } from './talk.js';

const ROUNDS = 4;
const CLIENTS = 20;
const REQUEST =
  'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';

let asked = 0;

async function serve(onAsked: (asked: number) => void): Promise<{ server: RustWSEServer; port: number }> {
  const server = new RustWSEServer({
    port: 0,
    shards: threads(2),
    handshake: { timeout: 600, upgradeTimeout: 599 },
    onUpgrade: () => {
      asked += 1;
      onAsked(asked);
      return new Promise(() => {});
    },
  });
  const { port } = await server.start();
  return { server, port };
}

/** Clients that have sent their request; what each is told. */
async function wait(port: number): Promise<{ sockets: net.Socket[]; told: string[] }> {
  const told = Array.from({ length: CLIENTS }, () => '');
  const sockets = told.map((_, index) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      told[index] += chunk.toString();
    });
    socket.write(REQUEST);
    return socket;
  });
  return { sockets, told };
}

async function ended(sockets: net.Socket[]): Promise<void> {
  await Promise.all(sockets.map((socket) => (socket.readableEnded || socket.destroyed ? undefined : once(socket, 'close'))));
}

const refused = (told: string[]): number => told.filter((text) => text.startsWith('HTTP/1.1 503 ')).length;

if (isMainThread) {
  const descriptors = (): number => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0);
  const heard: number[] = [];
  let before = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const worker = new Worker(new URL('./upgrade.js', import.meta.url));
    const [port] = (await once(worker, 'message')) as [number];
    const all = new Promise<void>((resolve) => worker.on('message', (count: number) => count === CLIENTS && resolve()));
    const { sockets, told } = await wait(port);
    await all;
    await worker.terminate();
    await ended(sockets);
    heard.push(refused(told));
    if (round === 0) before = descriptors();
  }
  const left = descriptors() - before;
  const { server, port } = await serve(() => {});
  const { sockets, told } = await wait(port);
  await until(() => asked === CLIENTS);
  await server.stop({ timeout: 5 });
  await ended(sockets);
  report({ heard, left: left <= 3 ? 'none' : left, stopped: refused(told) });
} else {
  const { port } = await serve((count) => parentPort?.postMessage(count));
  parentPort?.postMessage(port);
}
