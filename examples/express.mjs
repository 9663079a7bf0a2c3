// Express and the engine on one port: pages are Express's, WebSockets at /ws the engine's. A POST is published to everybody there.

import express from 'express';
import { RustWSEServer } from 'wse-server';

const PAGE = '<body><script>new WebSocket("/ws").onmessage = (m) => document.body.append(m.data)</script>';

const wse = new RustWSEServer({ maxConnections: 10_000 }); // no port: it has none of its own
await wse.start();

const app = express();
app.get('/', (_request, response) => response.send(PAGE));
app.post('/news', express.json(), (request, response) => {
  wse.publish('news', 'news', request.body);
  response.json({ listeners: wse.getTopicSubscriberCount('news') });
});

const http = app.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${http.address().port}`);
});
wse.attachTo(http, { path: '/ws' });

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    http.close();
    await wse.drain({ timeout: 2 });
    await wse.stop();
  });
}

for await (const batch of wse.batches()) {
  if (!wse.isRunning()) break;
  for (const [type, conn] of batch) {
    if (type === 'connect') wse.subscribeConnection(conn, ['news']);
  }
}
