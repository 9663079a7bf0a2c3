// What a runtime other than Node has to be able to do: three clients, messages both ways, a worker that drains, an end by
// itself. Run by runtimes.test.ts in Node, Bun and Deno; prints one line of JSON.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { RustWSEServer } from '../../../dist/index.js';

if (isMainThread) await main();
else drain(RustWSEServer.attach(workerData));

async function main() {
  const server = new RustWSEServer({ port: 0, shards: 1, pingInterval: 1 });
  const { port } = await server.start();
  const worker = new Worker(new URL(import.meta.url), { workerData: server.handle });
  await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });

  const clients = await Promise.all([1, 2, 3].map(() => open(`ws://127.0.0.1:${port}`)));
  for (const client of clients) client.send('join', {});
  for (const client of clients) await client.next('joined');
  server.publish('news', 'said', { text: 'gr\u00fc\u00df' });
  const heard = [];
  for (const client of clients) heard.push((await client.next('said')).p.text);
  clients[0].send('echo', { n: 2 ** 31, list: [1, 'two', null] });
  const echo = (await clients[0].next('echo')).p;

  const closed = clients.map((client) => client.closed);
  const drained = await server.drain({ timeout: 5 });
  await server.stop();
  console.log(JSON.stringify({ heard, echo, drained, codes: await Promise.all(closed) }));
}

/** Ends by itself when the engine stops. */
function drain(server) {
  server.drainInbound(1, 0); // from here on this thread has its share
  parentPort.postMessage('ready');
  try {
    for (;;) {
      for (const [type, conn, payload] of server.drainInbound(256, 50)) {
        if (type !== 'msg') continue;
        if (payload.t === 'join') {
          server.subscribeConnection(conn, ['news']);
          server.sendEvent(conn, { t: 'joined', p: {} });
        }
        if (payload.t === 'echo') server.send(conn, JSON.stringify(payload));
      }
    }
  } catch (error) {
    if (error.code !== 'WSE_STOPPED') throw error;
  }
}

/** A client on the runtime's own WebSocket; Node 20 has none, there it is `ws`. */
async function open(url) {
  const { WebSocket } = globalThis.WebSocket ? globalThis : await import('ws');
  const socket = new WebSocket(url);
  const seen = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => {
    seen.push(JSON.parse(data));
    wake();
  };
  const closed = new Promise((resolve) => (socket.onclose = ({ code }) => resolve(code)));
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  return {
    closed,
    send: (t, p) => socket.send(JSON.stringify({ t, p })),
    async next(t) {
      for (;;) {
        const at = seen.findIndex((message) => message.t === t);
        if (at >= 0) return seen.splice(at, 1)[0];
        await new Promise((resolve) => (wake = resolve));
      }
    },
  };
}
