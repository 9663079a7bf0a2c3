// Echo for any WebSocket client: plain RFC 6455, nothing of the engine's own protocol. Text comes back as text, bytes as bytes.

import { RustWSEServer } from 'wse-server';

const server = new RustWSEServer({
  port: Number(process.env.PORT ?? 0),
  protocol: 'raw',
  maxMessageSize: 16 * 2 ** 20,
});
const { host, port } = await server.start();
console.log(`ws://${host}:${port}`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.drain({ timeout: 2 });
    await server.stop();
  });
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const [type, conn, payload] of batch) {
    if (type === 'raw') server.send(conn, payload);
    if (type === 'bin') server.sendBytes(conn, payload);
  }
}
