/** Two hundred engines, one after the other: what each leaves behind would add up. */

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { RustWSEServer } from '../../../src/index.js';
import { threads } from '../../support/driver.js';
import { report } from './talk.js';

/** Each engine's table of who may be sent to takes 4 MiB. */
const MANY = 2 ** 20;

function usage(): { threads: number; fds: number; rss: number } {
  const threads = Number(/^Threads:\s+(\d+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  return { threads, fds: readdirSync('/proc/self/fd').length, rss: process.memoryUsage().rss };
}

async function cycle(index: number): Promise<void> {
  const server = new RustWSEServer({ port: 0, shards: threads(2), maxConnections: MANY });
  const { port } = await server.start();
  server.send(0, 'to nobody'); // looks it up in the table
  if (index % 2 === 0) {
    const loop = (async () => {
      for await (const _ of server.batches());
    })();
    const client = new WebSocket(`ws://127.0.0.1:${port}/`);
    await once(client, 'open');
    const closed = once(client, 'close');
    await server.stop();
    await Promise.all([loop, closed]);
  } else {
    if (index % 4 === 1) server.setCallbacks({});
    void server.drained();
    await server.stop();
  }
}

for (let i = 0; i < 8; i += 1) await cycle(i);
const before = usage();
for (let i = 0; i < 200; i += 1) await cycle(i);
// The kernel counts a thread for a moment after it was joined.
for (let i = 0; i < 100 && usage().threads > before.threads; i += 1) await pause(50);
report({ before, after: usage() });
