// Market data. Clients choose by names and patterns, {"t":"subscription_update","p":{"action":"subscribe","topics":["md.xetra.*"]}},
// and each message says which topic it came on: who subscribes to a pattern cannot know otherwise.

import { RustWSEServer } from 'wse-server';

const server = new RustWSEServer({ port: Number(process.env.PORT ?? 0), subscriptions: 'acl' });
const { host, port } = await server.start();
console.log(`ws://${host}:${port}`);

const prices = new Map(['md.xetra.SAP', 'md.xetra.BMW', 'md.nasdaq.AAPL'].map((topic) => [topic, 100]));
const ticks = setInterval(() => {
  for (const [topic, price] of prices) {
    const next = Math.max(1, price + (Math.random() - 0.5));
    prices.set(topic, next);
    server.publish(topic, 'quote', { price: Number(next.toFixed(2)) }, { includeTopic: true });
  }
  server.publish('desk.orders', 'order', { of: 'somebody else' }); // no client's: the ACL below leaves it out
}, 50);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    clearInterval(ticks);
    await server.drain({ timeout: 2 });
    await server.stop();
  });
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const [type, conn] of batch) {
    if (type !== 'connect') continue;
    // Counts for what was subscribed a moment before as well: every delivery is checked.
    server.setTopicAcl(conn, { allow: ['md.*'] });
    server.sendEvent(conn, { t: 'welcome', p: { topics: [...prices.keys()] } });
  }
}
