// Next.js with a server of its own (https://nextjs.org/docs/app/guides/custom-server), and the engine at /ws on its port. The reload of
// `next dev` keeps its own upgrades. Next.js is installed here first: npm install --no-save next react react-dom

import { createServer } from 'node:http';
import next from 'next';
import { RustWSEServer } from 'wse-server';

const app = next({ dev: process.env.NODE_ENV !== 'production', dir: import.meta.dirname });
await app.prepare();
const http = createServer(app.getRequestHandler());
const reload = app.getUpgradeHandler();
http.on('upgrade', (request, socket, head) => {
  if (request.url.startsWith('/_next/')) reload(request, socket, head);
});

const wse = new RustWSEServer(); // no port: it has none of its own
await wse.start();
wse.attachTo(http, { path: '/ws' });
http.listen(Number(process.env.PORT ?? 3000), () => console.log(`http://localhost:${http.address().port}`));

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    http.close();
    http.closeAllConnections();
    await wse.stop();
    await app.close();
    process.exit();
  });
}

let number = 0;
setInterval(() => wse.publish('ticks', 'tick', { number: number++ }), 250).unref();
await wse.serve({ connect: (conn) => void wse.subscribeConnection(conn, ['ticks']) });
