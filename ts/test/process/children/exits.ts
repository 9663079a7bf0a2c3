/** A server that lives and ends as its first argument says. */

import { WebSocket } from 'ws';
import { RustWSEServer } from '../../../src/index.js';
import { threads } from '../../support/driver.js';
import { launch, next, report, until, word } from './talk.js';

const [, , how = '', delivery = ''] = process.argv;
const server = new RustWSEServer({ port: 0, shards: threads(2) });

async function traffic(port: number, clients: number): Promise<WebSocket[]> {
  const sockets = Array.from({ length: clients }, () => new WebSocket(`ws://127.0.0.1:${port}/`));
  for (const socket of sockets) {
    socket.on('error', () => {});
    socket.on('open', () => {
      const pump = (): void => {
        if (socket.readyState !== WebSocket.OPEN) return;
        for (let i = 0; i < 50; i += 1) socket.send('{"t":"x","p":1}');
        setImmediate(pump);
      };
      pump();
    });
  }
  await until(() => server.getConnectionCount() === clients);
  return sockets;
}

if (how === 'never-started') {
  server.setCallbacks({ onMessage: () => {} });
  report({ created: true });
} else {
  const { port } = await server.start();
  report({ port });
  if (how === 'stop') {
    let heard = 0;
    let loop: Promise<void> | undefined;
    if (delivery === 'batches') {
      loop = (async () => {
        for await (const batch of server.batches()) heard += batch.length;
      })();
    } else if (delivery === 'callbacks') {
      server.setCallbacks({ onConnect: () => (heard += 1), onMessage: () => (heard += 1) });
    } else if (delivery === 'workers' || delivery === 'worker-loops') {
      for (let i = 0; i < 2; i += 1) {
        const worker = launch({ handle: server.handle, role: delivery === 'workers' ? 'drain' : 'batches' });
        await next(worker);
      }
      heard = 1;
    } else {
      heard = 1; // nobody reads
    }
    const sockets = await traffic(port, 2);
    await until(() => heard > 0);
    await server.stop();
    await loop;
    for (const socket of sockets) socket.terminate();
    report({ stopped: true });
  } else if (how === 'exit') {
    let heard = 0;
    server.setCallbacks({ onMessage: () => (heard += 1) });
    await traffic(port, 4);
    await until(() => heard > 1000);
    report({ exiting: true });
    process.exit(Number(delivery));
  } else if (how === 'exit-in-callback') {
    let heard = 0;
    server.setCallbacks({
      onMessage: (conn) => {
        server.broadcast('t', 'x');
        server.send(conn, 'x');
        heard += 1;
        if (heard === 1000) {
          report({ exiting: true });
          process.exit(7);
        }
      },
    });
    await traffic(port, 4);
  } else if (how === 'exit-with-workers') {
    for (let i = 0; i < 2; i += 1) {
      const worker = launch({ handle: server.handle, role: 'drain' });
      await next(worker);
    }
    await traffic(port, 4);
    report({ exiting: true });
    process.exit(8);
  } else if (how === 'exit-while-stopping') {
    await traffic(port, 4);
    void server.stop({ timeout: 30 });
    void server.drained().catch(() => {});
    report({ exiting: true });
    process.exit(9);
  } else if (how === 'exit-while-starting') {
    for (let i = 0; i < 5; i += 1) void new RustWSEServer({ port: 0, shards: threads(1) }).start();
    report({ exiting: true });
    process.exit(10);
  } else if (how === 'uncaught') {
    void (async () => {
      for await (const batch of server.batches())
        for (const [type] of batch) if (type === 'msg') throw new Error('boom in the loop');
    })();
    await traffic(port, 2);
  } else if (how === 'uncaught-timer') {
    server.setCallbacks({
      onMessage: () =>
        setImmediate(() => {
          throw new Error('boom in a timer');
        }),
    });
    await traffic(port, 2);
  } else if (how === 'sigterm') {
    void (async () => {
      for await (const batch of server.batches()) for (const [type] of batch) if (type === 'disconnect') report({ left: true });
    })();
    process.once('SIGTERM', async () => {
      report({ drained: await server.drain({ timeout: 5 }) });
      await word();
      await server.stop();
    });
    await until(() => server.getConnectionCount() === 20);
    report({ connected: 20 });
  } else if (how === 'kept-alive') {
    // Nothing but the running server keeps this process.
  } else {
    throw new Error(`unknown: ${how}`);
  }
}
