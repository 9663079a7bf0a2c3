// A page and its server. The page is thirty lines of HTML without a library (index.html); what it says, every page hears.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { RustWSEServer } from 'wse-server';

let url = '';
const page = await readFile(new URL('index.html', import.meta.url));
const http = createServer((request, response) => {
  if (request.url === '/') response.setHeader('Content-Type', 'text/html; charset=utf-8').end(page);
  else if (request.url === '/url') response.setHeader('Content-Type', 'text/plain').end(url);
  else response.writeHead(404).end();
});
await new Promise((resolve) => http.listen(Number(process.env.PORT ?? 0), '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${http.address().port}`;

const server = new RustWSEServer({ port: 0, allowedOrigins: [origin], maxMessageSize: 4096 });
const { host, port } = await server.start();
url = `ws://${host}:${port}`;
console.log(origin);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    http.close();
    http.closeAllConnections();
    await server.drain({ timeout: 2 });
    await server.stop();
  });
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const [type, conn, payload] of batch) {
    if (type === 'connect') server.subscribeConnection(conn, ['talk']);
    const text = type === 'msg' && payload.t === 'say' ? payload.p?.text : undefined;
    if (typeof text === 'string') server.publish('talk', 'said', { text: text.slice(0, 200) });
  }
}
