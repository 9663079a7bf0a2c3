// The dashboard's entrance: starts the page, the engine and the feed, and stops them again.
//
// Owns: the order of starting and stopping, the one line with the URL, the one line with what went wrong, the exit code.
// Never: reads the machine (feed.mjs), answers a tab (hub.mjs), serves a file (page.mjs), loads a server (load/).
//
//   node examples/dashboard/server.mjs [--port N]

import { parseArgs, USAGE, UsageError } from './args.mjs';
import { BundleError, bundlePage } from './bundle.mjs';
import { createFeed, TICK_MS } from './feed.mjs';
import { createHub } from './hub.mjs';
import { createLoad } from './load/control.mjs';
import { createPage } from './page.mjs';
import { createPublisher, createStats } from './stats.mjs';
import { nameTab } from './tabs.mjs';

const DRAIN_SECONDS = 1;
const STOP_SECONDS = 1;
const STOP_DEADLINE_MS = 4000;
const MINUTE = 60_000 / TICK_MS; // readings

async function main() {
  const options = parseArgs(process.argv.slice(2));
  if (options.help) return console.log(USAGE);
  // Loaded here and not at the top: a wrong argument should not wait for the native addon.
  const { RustWSEServer } = await import('wse-server');

  let config = null;
  const scripts = once(bundlePage);
  const page = createPage({ config: () => config, scripts });
  const pagePort = await page.listen(options.port).catch((error) => {
    throw explainListen(error, options.port);
  });
  const server = new RustWSEServer({
    host: '127.0.0.1',
    port: 0,
    maxConnections: 1000,
    maxMessageSize: 64 * 1024,
    maxSubscriptionsPerConnection: 64,
    // As much as the charts show: who is away for less than that misses nothing.
    recovery: { bufferSize: MINUTE, maxMessages: MINUTE, ttl: 60 },
    // A reload is no leave.
    presence: { grace: 2 },
    onUpgrade: nameTab,
    allowedOrigins: ['localhost', '127.0.0.1'].map((host) => new URL(`http://${host}:${pagePort}`).origin),
  });
  const [{ port }] = await Promise.all([server.start(), scripts()]);
  const publisher = createPublisher(server);
  const load = createLoad();
  const feed = createFeed({ server, publisher, stats: createStats(server, publisher), load });
  const hub = createHub({ server, publisher, feed, load });
  feed.start();
  config = { url: `ws://127.0.0.1:${port}/wse` };

  const stop = once(async () => {
    // Unreferenced: it ends a process that hangs, it never keeps one alive.
    setTimeout(() => fail(new Error(`the engine did not stop within ${STOP_DEADLINE_MS} ms`)), STOP_DEADLINE_MS).unref();
    feed.stop();
    await Promise.all([load.close(), page.close(), server.drain({ closeCode: 4300, timeout: DRAIN_SECONDS })]);
    await server.stop({ timeout: STOP_SECONDS });
  });
  // A terminal sends Ctrl-C to npm and to us, and npm passes it on: the second signal is not impatience.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop().catch(fail));

  listen(server, hub).catch(fail);
  console.log(`Dashboard of this machine: http://127.0.0.1:${pagePort}/  (Ctrl-C stops it)`);
}

/** Ends by itself when the engine stops. A message that breaks its handler is reported and costs nobody else anything. */
async function listen(server, hub) {
  for await (const batch of server.batches()) {
    if (!server.isRunning()) break;
    for (const event of batch) {
      try {
        hub.handle(event);
      } catch (error) {
        console.error(error);
      }
    }
  }
}

function explainListen(error, port) {
  if (error.code === 'EADDRINUSE') {
    const other = port < 65535 ? port + 1 : port - 1;
    return new UsageError(`port ${port} is already in use; choose another: npm start -- --port ${other}`);
  }
  if (error.code === 'EACCES') return new UsageError(`port ${port} may not be opened by this user; choose one above 1023`);
  return error;
}

function once(task) {
  let running = null;
  return () => (running ??= task());
}

/** What a person can put right is one line; anything else keeps its stack. */
function fail(error) {
  const plain = error instanceof UsageError || error instanceof BundleError || /^WSE_/.test(error?.code ?? '');
  console.error(plain ? `dashboard: ${error.message}` : error);
  process.exit(1);
}

main().catch(fail);
