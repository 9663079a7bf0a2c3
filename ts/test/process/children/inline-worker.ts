/** A worker with an inline engine of its own, or beside one of the main thread. */

import { parentPort, workerData } from 'node:worker_threads';
import { RustWSEServer, WSEStateError } from '../../../src/index.js';

export interface InlineTask {
  role: 'echo' | 'loop' | 'exit' | 'start' | 'attached';
  port?: number;
  reusePort?: boolean;
  /** Of the engine to attach to. */
  handle?: number;
  /** What each connection is told first. */
  hello?: string;
}

const task = workerData as InlineTask;
const parent = parentPort;
if (parent === null) throw new Error('not a worker');

const create = (): RustWSEServer =>
  new RustWSEServer({
    host: '127.0.0.1',
    port: task.port ?? 0,
    shards: 'inline',
    serverReady: false,
    reusePort: task.reusePort ?? false,
  });

switch (task.role) {
  case 'start': {
    parent.postMessage('starting');
    await create().start();
    break;
  }
  case 'echo': {
    const server = create();
    server.setCallbacks({
      onConnect: (conn) => {
        server.subscribeConnection(conn, ['t']);
        if (task.hello !== undefined) server.send(conn, task.hello);
      },
      onMessage: (conn, text) => {
        server.send(conn, text as string);
        server.broadcast('t', 'x'.repeat(1000));
      },
    });
    const { port } = await server.start();
    parent.on('message', () => void server.stop().then(() => parent.close()));
    parent.postMessage(port);
    break;
  }
  case 'exit': {
    const server = create();
    let heard = 0;
    server.setCallbacks({
      onMessage: (conn, text) => {
        server.send(conn, text as string);
        heard += 1;
        if (heard === 500) process.exit(24);
      },
    });
    parent.postMessage((await server.start()).port);
    break;
  }
  case 'loop': {
    const server = create();
    parent.postMessage((await server.start()).port);
    for (;;) for (const [type, conn, text] of server.drainInbound(256, 50)) if (type === 'raw') server.send(conn, text);
  }
  case 'attached': {
    const server = RustWSEServer.attach(task.handle ?? 0);
    server.drainInbound(1, 0); // from here on it is a consumer
    parent.postMessage('ready');
    try {
      for (;;) {
        for (const [type, conn, text] of server.drainInbound(256, 50)) {
          if (type !== 'raw') continue;
          server.send(conn, `worker ${text}`);
          server.broadcast('t', `published ${text}`);
        }
      }
    } catch (error) {
      if (!(error instanceof WSEStateError) || error.code !== 'WSE_STOPPED') throw error;
    }
  }
}
