/** A server that measures itself while others load it: its event loop, or what connections leave behind. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { RustWSEServer } from '../../../src/index.js';
import { threads } from '../../support/driver.js';
import { report, until, word } from './talk.js';

const [, , what = '', amount = ''] = process.argv;
const server = new RustWSEServer({ port: 0, shards: threads(2), maxConnections: 5000, serverReady: false });
const { port } = await server.start();

if (what === 'gaps') {
  let heard = 0;
  let largest = 0;
  let ticks = 0;
  void (async () => {
    for await (const batch of server.batches()) heard += batch.length;
  })();
  report({ port });
  await until(() => heard > 0);
  let last = performance.now();
  const began = last;
  const timer = setInterval(() => {
    const now = performance.now();
    largest = Math.max(largest, now - last);
    last = now;
    ticks += 1;
    if (heard < Number(amount)) return;
    clearInterval(timer);
    report({ largest, ticks, heard, seconds: (now - began) / 1000 });
    process.exit(0);
  }, 5);
} else {
  let disconnects = 0;
  server.setCallbacks({
    onConnect: (conn) => {
      server.subscribeConnection(conn, ['common', `own-${conn}`, `p-${conn % 100}-*`]);
      server.subscribeConnection(conn, ['jobs'], { queueGroup: `g${conn % 3}` });
      server.setTopicAcl(conn, { deny: [`no-${conn}`] });
      server.sendEvent(conn, { t: 'hello', id: `id-${conn}` });
    },
    onDisconnect: () => (disconnects += 1),
  });
  report({ port });
  for (let round = 1; ; round += 1) {
    await word();
    await until(() => disconnects >= round * Number(amount) && server.getConnectionCount() === 0);
    server.broadcastAll('nobody');
    await until(() => server.healthSnapshot()['topics'] === 0 && server.healthSnapshot()['inbox_bytes'] === 0);
    await nextTurn();
    report({
      [`round${round}`]: server.healthSnapshot(),
      [`rss${round}`]: process.memoryUsage.rss(),
      [`ids${round}`]: server.getConnections(),
    });
  }
}
