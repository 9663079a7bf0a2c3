// Two supervised workers serve the clients; the main thread only starts and stops. Each connection stays with one worker, in
// order; a worker that crashes (`{"t":"crash"}`) costs no client its socket, and another takes its place.

import { isMainThread, threadId } from 'node:worker_threads';
import { RustWSEServer } from 'wse-server';

if (isMainThread) {
  const server = new RustWSEServer({ port: Number(process.env.PORT ?? 0) });
  await server.workers(new URL(import.meta.url), {
    count: 2,
    onExit: ({ index, error, restartIn }) => console.log(`worker ${index}: ${error?.message}; again in ${restartIn} s`),
  });
  const { host, port } = await server.start();
  console.log(`ws://${host}:${port}`);
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, async () => {
      await server.drain({ timeout: 2 });
      await server.stop(); // the workers end with it
    });
  }
} else {
  const server = RustWSEServer.fromWorker();
  const sessions = new Map();
  await server.serve({
    connect: (conn) => sessions.set(conn, { jobs: 0 }),
    adopt: (conn) => sessions.set(conn, { jobs: 0 }), // its worker is gone, and what that knew of it
    disconnect: (conn) => sessions.delete(conn),
    async message(conn, { t, p }) {
      if (t === 'crash')
        setImmediate(() => {
          throw new Error('as asked');
        });
      const session = sessions.get(conn);
      session.jobs += 1;
      await work();
      server.send(conn, JSON.stringify({ t: 'done', p: { by: threadId, n: p?.n ?? null, jobs: session.jobs } }));
    },
    error: (error, conn) => server.disconnect(conn, { code: 1011, reason: error.message.slice(0, 100) }),
  });
}

/** Something that takes a while and blocks nobody. */
function work() {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
