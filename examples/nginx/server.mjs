// Behind nginx (nginx.conf beside this file): the engine believes the proxy, and nobody else, about clients' addresses.

import { RustWSEServer } from 'wse-server';

const server = new RustWSEServer({
  port: Number(process.env.PORT ?? 5007),
  path: '/wse',
  allowedOrigins: [process.env.ORIGIN ?? 'https://localhost:8443'],
  trustProxy: { addresses: ['127.0.0.1'], header: 'x-forwarded-for' },
});
const { host, port } = await server.start();
console.log(`ws://${host}:${port}/wse`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.drain({ timeout: 2 });
    await server.stop();
  });
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const [type, conn, payload] of batch) {
    if (type === 'connect') {
      const address = server.getConnectionInfo(conn)?.address;
      server.sendEvent(conn, { t: 'welcome', p: { address } });
    }
    if (type === 'msg' && payload.t === 'echo') server.sendEvent(conn, { t: 'echo', p: payload.p ?? null });
  }
}
