/** A thread of `server.workers()`: answers with who it is, and dies when a client says so. */

import { threadId, workerData } from 'node:worker_threads';
import { RustWSEServer, type WSEMessage, WSEStateError } from '../../../src/index.js';

/** How it reads, and what it does instead. */
export interface PoolTask {
  style: 'serve' | 'drain' | 'batches' | 'deaf' | 'stubborn' | 'broken' | 'returns';
}

const { style } = workerData as PoolTask;
if (style === 'broken') throw new Error('broken from the start');
if (style === 'deaf') setInterval(() => {}, 1000);

const server = RustWSEServer.fromWorker();
/** Numbers heard of each connection known here; who is not known was never introduced. */
const known = new Set<number>();

function die(): never {
  throw new Error('asked for');
}

function hear(type: string, conn: number, payload: unknown): void {
  if (type === 'connect' || type === 'adopt') {
    known.add(conn);
    return;
  }
  if (type === 'disconnect') return void known.delete(conn);
  const { t, p } = payload as WSEMessage;
  if (t === 'throw') {
    // A thread that drains gives nobody else a turn.
    if (style === 'drain') die();
    setImmediate(die);
  }
  if (t === 'exit') process.exit(p as number);
  if (t === 'block') for (;;);
  if (server.isRunning()) server.send(conn, JSON.stringify({ by: threadId, n: t === 'n' ? p : null, known: known.has(conn) }));
}

switch (style) {
  case 'serve':
  case 'returns': {
    const controller = new AbortController();
    if (style === 'returns') setTimeout(() => controller.abort(), 300);
    await server.serve(
      {
        connect: (conn) => hear('connect', conn, null),
        adopt: (conn) => hear('adopt', conn, null),
        async message(conn, payload) {
          await null;
          hear('msg', conn, payload);
        },
        disconnect: (conn) => hear('disconnect', conn, null),
      },
      { signal: controller.signal },
    );
    break;
  }
  case 'batches':
    for await (const batch of server.batches()) for (const [type, conn, payload] of batch) hear(type, conn as number, payload);
    break;
  case 'drain':
    try {
      for (;;) for (const [type, conn, payload] of server.drainInbound(256, 50)) hear(type, conn as number, payload);
    } catch (error) {
      if (!(error instanceof WSEStateError) || error.code !== 'WSE_STOPPED') throw error;
    }
    break;
  case 'stubborn':
    // Reads, and has no intention to end.
    server.setCallbacks({ onMessage: (conn, payload) => hear('msg', conn, payload) });
    setInterval(() => {}, 1000);
    break;
}
