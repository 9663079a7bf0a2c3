// Fastify and the engine on one port. Fastify owns both lives: the engine starts when it is ready and stops when it closes.

import fastify from 'fastify';
import { RustWSEServer } from 'wse-server';

const app = fastify({ forceCloseConnections: true });
const wse = new RustWSEServer({ path: '/ws', maxConnections: 10_000 }); // no port: it has none of its own

app.get('/', () => ({ connections: wse.getConnectionCount() }));
app.addHook('onReady', async () => {
  await wse.start();
  wse.attachTo(app.server);
  wse.setCallbacks({ onMessage: (conn, message) => wse.sendEvent(conn, { t: 'echo', p: message.p }) });
});
app.addHook('preClose', async () => {
  await wse.drain({ timeout: 2 });
  await wse.stop();
});

console.log(await app.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1' }));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close());
