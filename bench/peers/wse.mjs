/**
 * Ours, through the public API alone. `--lazy`: the inbound row counts messages without touching their payload. `--worker`: a
 * handler that answers, as the README has it for speed: a `drainInbound()` loop in a thread of its own. An engine that runs on
 * this thread calls back instead. `--attached`: at the port of an HTTP server of Node. `--on-upgrade`: JavaScript looks at every
 * request and lets it in. `--presence`: every connection is a user of its own, who is present in a room of a hundred. `--recovery`,
 * `--recovery=JSON`: what is published is kept for clients that come back; with `--acl` the engine answers their
 * `subscription_update`.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { announce, Publisher } from './publisher.mjs';

const { RustWSEServer } = await import(process.env.BENCH_WSE ?? '../../dist/index.js');
const secret = process.env.BENCH_JWT_SECRET;
/** The option `recovery`; the last word counts. */
const recovery = process.argv.findLast((word) => /^--recovery(=|$)/.test(word))?.slice('--recovery='.length);
const SUBBED = '{"c":"U","t":"subbed","p":{},"v":1}';
const lazy = process.argv.includes('--lazy');
const present = process.argv.includes('--presence');
let users = 0;

if (!isMainThread) {
  const server = RustWSEServer.attach(workerData.handle);
  const handle = handler(server);
  for (;;) handle(server.drainInbound(1024));
}

const attached = process.argv.includes('--attached');
const server = new RustWSEServer({
  ...(!attached && { host: '127.0.0.1', port: 0 }),
  maxConnections: 30_000,
  ...(secret !== undefined && { jwt: { secret } }),
  ...(present && { presence: true, onUpgrade: () => ({ user: `user-${++users}` }) }),
  ...(process.argv.includes('--on-upgrade') && { onUpgrade: async ({ headers }) => (headers.host ? {} : { status: 400 }) }),
  ...(recovery !== undefined && { recovery: recovery === '' || JSON.parse(recovery) }),
  ...(process.argv.includes('--acl') && { subscriptions: 'acl' }),
  ...JSON.parse(process.env.BENCH_WSE_OPTIONS ?? '{}'),
});
const address = await server.start();
const port = attached ? await attach(server) : address.port;
const inline = server.healthSnapshot().driver === 'inline';
if (inline && !lazy) {
  announce(port);
  const handle = handler(server);
  server.setCallbacks({
    onMessage: (conn, payload) => handle([[typeof payload === 'string' ? 'raw' : 'msg', conn, payload]]),
  });
} else if (process.argv.includes('--worker') && !inline) {
  new Worker(new URL(import.meta.url), { workerData: { handle: server.handle } });
  announce(port);
} else {
  announce(port);
  const handle = handler(server);
  for await (const batch of server.batches({ lazy })) handle(batch);
}

/** An HTTP server whose upgrades are the engine's; its port. */
async function attach(server) {
  const app = createServer();
  server.attachTo(app);
  await once(app.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }), 'listening');
  return app.address().port;
}

/** Deliveries the engine counted as dropped for slow consumers. */
function dropped(server) {
  const total = server.prometheusMetrics().match(/^wse_slow_consumer_drops_total(?:\{[^}]*\})?\s+(\d+)/gm) ?? [];
  return total.reduce((sum, line) => sum + Number(line.split(/\s+/).at(-1)), 0);
}

/** With `recovery`, the positions of a client that comes back, it gets what it missed first. */
function subscribe(server, conn, { topics, recovery: positions }) {
  if (positions !== undefined) {
    server.subscribeWithRecovery(conn, topics, { positions }).then((found) => found && server.send(conn, SUBBED));
    return;
  }
  server.subscribeConnection(conn, topics);
  server.send(conn, SUBBED);
}

/** Makes a user present, with 100 bytes of data. */
function enter(server, conn, user) {
  const room = `room.${Math.floor(users / 100)}`;
  server.subscribeConnection(conn, [room], { presence: { name: user, status: 'x'.repeat(76 - user.length) } });
}

function handler(server) {
  const bench = new Publisher({
    publish: (topic, text) => server.broadcast(topic, text),
    drained: () => server.drained(),
    dropped: () => dropped(server),
    kept: () => server.healthSnapshot().recovery_total_bytes,
    gc: globalThis.gc,
  });
  /** The generator's control connection is the first that speaks. */
  let control;
  return (batch) => {
    for (const [type, conn, payload] of batch) {
      if (type === 'raw') {
        server.send(conn, payload);
        continue;
      }
      if (present && type === 'auth_connect') enter(server, conn, payload);
      if (type !== 'msg') continue;
      control ??= conn;
      if (lazy && conn !== control) {
        bench.handled++;
        continue;
      }
      const message = lazy ? payload.parse() : payload;
      switch (message.t) {
        case 'in':
          bench.handled++;
          bench.sum += message.p.seq.length;
          break;
        case 'echo':
          server.send(conn, JSON.stringify(message));
          break;
        case 'bench':
          bench.order(message.p, (answer) => server.send(conn, answer));
          break;
        case 'sub':
          subscribe(server, conn, message.p);
          break;
      }
    }
  };
}
