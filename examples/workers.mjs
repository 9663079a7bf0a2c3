// Two workers drain; the main thread only starts and stops. Each connection stays with one worker, in order.

import { isMainThread, threadId, Worker, workerData } from 'node:worker_threads';
import { RustWSEServer } from 'wse-server';

if (isMainThread) {
  const server = new RustWSEServer({ port: Number(process.env.PORT ?? 0) });
  const { host, port } = await server.start();
  const workers = [1, 2].map(() => new Worker(new URL(import.meta.url), { workerData: server.handle }));
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
  console.log(`ws://${host}:${port}`);
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, async () => {
      await server.drain({ timeout: 2 });
      await server.stop(); // the workers' loops end by themselves
    });
  }
} else {
  const { parentPort } = await import('node:worker_threads');
  const server = RustWSEServer.attach(workerData);
  server.drainInbound(1, 0); // from here on this thread has its share of the connections
  parentPort.postMessage('ready');
  try {
    for (;;) {
      for (const [type, conn, payload] of server.drainInbound(256, 50)) {
        if (type === 'msg') server.send(conn, JSON.stringify({ t: 'done', p: { by: threadId, n: payload.p?.n ?? null } }));
      }
    }
  } catch (error) {
    if (error.code !== 'WSE_STOPPED') throw error;
  }
}
