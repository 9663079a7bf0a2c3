/** A worker on the engine of another thread, or with one of its own. Tells its parent what it heard. */

import { parentPort, workerData } from 'node:worker_threads';
import { encodeJwt, RustWSEServer, type WSEEvent, WSEStateError } from '../../../src/index.js';
import { threads } from '../../support/driver.js';

export interface Task {
  handle: number;
  role: 'drain' | 'batches' | 'publish' | 'allocate' | 'own';
  /** drain: hand events to the parent. */
  tell?: boolean;
  max?: number;
  /** drain: numbers the drains of all workers, because their messages do not keep order among each other. */
  counter?: SharedArrayBuffer;
}

/** What a draining worker tells. */
export interface Drained {
  order: number;
  events: readonly WSEEvent[];
}

const task = workerData as Task;
const parent = parentPort;
if (parent === null) throw new Error('not a worker');

switch (task.role) {
  case 'drain': {
    const server = RustWSEServer.attach(task.handle);
    const counter = new Int32Array(task.counter ?? new SharedArrayBuffer(4));
    const tell = (events: readonly WSEEvent[]): void => {
      if (task.tell === true && events.length > 0)
        parent.postMessage({ order: Atomics.add(counter, 0, 1), events } satisfies Drained);
    };
    const first = server.drainInbound(1, 0); // from here on it is a consumer
    parent.postMessage('ready');
    tell(first);
    try {
      for (;;) tell(server.drainInbound(task.max ?? 256, 50));
    } catch (error) {
      if (!(error instanceof WSEStateError) || error.code !== 'WSE_STOPPED') throw error;
    }
    parent.postMessage('ended');
    break;
  }
  case 'batches': {
    const server = RustWSEServer.attach(task.handle);
    const loop = server.batches();
    const first = loop.next();
    parent.postMessage('ready');
    await first;
    for await (const _ of loop);
    parent.postMessage('ended');
    break;
  }
  case 'publish': {
    const server = RustWSEServer.attach(task.handle);
    for (let i = 0; i < 1000; i += 1) if (!server.publish('t', 'n', i)) await server.drained();
    parent.postMessage('ready');
    break;
  }
  case 'allocate': {
    let bytes = 0;
    for (let i = 0; i < 300; i += 1) {
      bytes += encodeJwt({ sub: 'u'.repeat(i * 10), exp: 1 }, 's'.repeat(32)).length;
    }
    const servers = Array.from({ length: 4 }, () => new RustWSEServer({ port: 0, shards: threads(2) }));
    for (const server of servers) await server.start();
    for (const server of servers) server.broadcastAll('x'.repeat(100_000));
    await Promise.all(servers.map((server) => server.stop()));
    parent.postMessage(bytes);
    break;
  }
  case 'own': {
    const server = new RustWSEServer({ port: 0, shards: threads(2), serverReady: false });
    const { port } = await server.start();
    server.setCallbacks({ onMessage: (conn) => server.send(conn, 'echo') });
    parent.postMessage({ port, handle: server.handle });
    break;
  }
}
