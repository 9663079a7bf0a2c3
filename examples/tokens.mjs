// Tokens decide who a client is and what it may subscribe to; a queue group shares work among clients.

import { encodeJwt, RustWSEServer } from 'wse-server';

const secret = process.env.WSE_SECRET ?? 'only for this example, thirty-two bytes';
const server = new RustWSEServer({
  port: Number(process.env.PORT ?? 0),
  jwt: { secret, issuer: 'example' },
  allowedOrigins: ['http://localhost:8080'],
});
const { host, port } = await server.start();
const token = (sub, allow) =>
  encodeJwt({ sub, iss: 'example', exp: Math.floor(Date.now() / 1000) + 3600, wse_topics: { allow } }, secret);
console.log(JSON.stringify({ url: `ws://${host}:${port}`, ann: token('ann', ['news.*', 'jobs']), bob: token('bob', ['jobs']) }));

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => server.stop());
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const [type, conn, payload] of batch) {
    if (type === 'auth_connect') {
      const accepted = server.subscribeConnection(conn, ['news.local']); // 0 for bob: his token does not allow it
      server.subscribeConnection(conn, ['jobs'], { queueGroup: 'workers' });
      server.sendEvent(conn, { t: 'welcome', p: { user: payload, news: accepted === 1 } });
    }
    if (type === 'msg' && payload.t === 'job') server.publish('jobs', 'job', payload.p); // to one of them, in turn
  }
}
