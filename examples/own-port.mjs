// The engine has the port: WebSockets at /ws never touch JavaScript, /healthz, /readyz and /metrics are the engine's too, and every
// other request is the application's. SIGTERM ends both as a deployment wants it: not ready first, then gone.

import { createServer } from 'node:http';
import { RustWSEServer } from 'wse-server';

const app = createServer((request, response) => {
  response.end(
    `${request.method} ${request.url} from ${request.socket.remoteAddress}, beside ${wse.getConnectionCount()} sockets`,
  );
});

const wse = new RustWSEServer({
  port: Number(process.env.PORT ?? 0),
  path: '/ws',
  http: { server: app, health: '/healthz', ready: '/readyz', metrics: '/metrics', allow: ['127.0.0.1', '10.0.0.0/8'] },
});
const { host, port } = await wse.start();
console.log(`http://${host}:${port}`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await wse.drain({ timeout: 2 }); // /readyz says 503 from here on; pages are still served
    await wse.stop();
    app.close(); // what is still being answered ends; idle connections ended with stop()
  });
}

for await (const batch of wse.batches()) {
  if (!wse.isRunning()) break;
  for (const [type, conn, payload] of batch) {
    if (type === 'msg') wse.sendEvent(conn, { t: 'echo', p: payload.p });
  }
}
