/** An engine on the event loop of a process's main thread, as its first argument says. */

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net, { type AddressInfo } from 'node:net';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { WebSocket } from 'ws';
import { RustWSEServer, type WSEMessage, type WSEServerOptions } from '../../../src/index.js';
import { report, until, word } from './talk.js';

const QUIET = { host: '127.0.0.1', port: 0, serverReady: false } as const;
const inline = (options: WSEServerOptions & { port?: number } = {}): RustWSEServer<number> =>
  new RustWSEServer({ ...QUIET, shards: 'inline', ...options });

async function connect(port: number): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.on('error', () => {});
  await once(socket, 'open');
  return socket;
}

/** Whether a client hears its own words. */
async function echoes(client: WebSocket, text: string): Promise<boolean> {
  const heard = once(client, 'message');
  client.send(text);
  return String((await heard)[0]) === text;
}

/** A server that answers each text with itself. */
function echo(server: RustWSEServer): void {
  server.setCallbacks({ onMessage: (conn, text) => void server.send(conn, text as string) });
}

/** Keeps this thread for so many milliseconds. */
function block(time: number): void {
  for (const end = performance.now() + time; performance.now() < end; );
}

const threads = (): number => readdirSync('/proc/self/task').length;

/** Clients of this very process: their traffic and the engine take turns on one loop. */
async function traffic(port: number, clients: number): Promise<void> {
  for (const client of await Promise.all(Array.from({ length: clients }, () => connect(port)))) {
    const pump = (): void => {
      if (client.readyState !== WebSocket.OPEN) return;
      for (let i = 0; i < 50; i += 1) client.send('{"t":"x","p":1}');
      setImmediate(pump);
    };
    pump();
  }
}

const [, , name = '', argument = ''] = process.argv;

const programs: Record<string, () => Promise<void>> = {
  /** JavaScript computes, stutters or publishes (`argument`) for three seconds or more; then for three seconds it does not. */
  async blocked() {
    const publisher = { highWaterMark: 2 ** 16, hardLimit: 2 ** 20 };
    const server = inline({ idleTimeout: 1, pingInterval: 0.3, publisher });
    let disconnects = 0;
    const heard = new Map<number, number>();
    let wrong = 0;
    server.setCallbacks({
      onDisconnect: () => (disconnects += 1),
      onMessage: (conn, message) => {
        const { p } = message as WSEMessage;
        const next = heard.get(conn) ?? 0;
        if (p !== next) wrong += 1;
        heard.set(conn, next + 1);
        server.send(conn, `${p as number}`);
      },
    });
    report({ port: (await server.start()).port });
    await word();
    if (argument === 'compute') block(3000);
    else if (argument === 'publish') {
      // More than may wait, so that the engine works it off at once, and what everybody can take.
      for (let i = 0; i < 150; i += 1) {
        server.broadcastAllBytes(Buffer.alloc(100_000));
        block(20);
      }
    } else for (let i = 0; i < 4; i += 1) await nextTurn().then(() => block(930));
    report({ blocked: true });
    await pause(3000);
    const zombies = /^wse_zombies_total (\d+)$/m.exec(server.prometheusMetrics())?.[1];
    report({ zombies, disconnects, connections: server.getConnectionCount() });
    await word();
    report({ heard: [...heard.values()], wrong });
    await server.stop();
  },

  /** Timers, and a second server of the same loop, beside a flood. */
  async timers() {
    const server = inline();
    const other = http.createServer((_, response) => response.end('here'));
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = await server.start();
    let heard = 0;
    const loop = (async () => {
      for await (const batch of server.batches()) heard += batch.length;
    })();
    report({ port, other: (other.address() as AddressInfo).port });
    await until(() => heard > 1);
    const gaps: number[] = [];
    let last = performance.now();
    const began = last;
    const timer = setInterval(() => {
      gaps.push(performance.now() - last);
      last = performance.now();
    }, 5);
    while (heard < Number(argument)) await pause(5);
    clearInterval(timer);
    gaps.sort((a, b) => a - b);
    const seconds = (performance.now() - began) / 1000;
    report({ heard, seconds, largest: gaps.at(-1), median: gaps[gaps.length >> 1], ticks: gaps.length });
    other.close();
    other.closeAllConnections();
    await server.stop();
    await loop;
  },

  async 'exit-handler'() {
    const server = inline();
    let heard = 0;
    server.setCallbacks({
      onMessage: (conn) => {
        server.broadcastAll('x');
        server.send(conn, 'x');
        heard += 1;
        if (heard < 1000) return;
        report({ exiting: true });
        process.exit(21);
      },
    });
    await traffic((await server.start()).port, 4);
  },

  async 'exit-batches'() {
    const server = inline();
    await server.start().then(({ port }) => void traffic(port, 4));
    let heard = 0;
    for await (const batch of server.batches()) {
      for (const [type, conn] of batch) if (type === 'msg') server.sendBytes(conn, Buffer.alloc(30_000));
      heard += batch.length;
      if (heard < 1000) continue;
      report({ exiting: true });
      process.exit(22);
    }
  },

  async 'exit-stopping'() {
    const server = inline();
    server.setCallbacks({});
    await traffic((await server.start()).port, 4);
    await pause(50);
    void server.stop({ timeout: 30 });
    report({ exiting: true });
    process.exit(23);
  },

  /** The module three times in one process, an engine of each on one loop. `argument`: where the built package is. */
  async modules() {
    const url = pathToFileURL(`${argument}/index.js`).href;
    const modules = [
      await import(url),
      await import(`${url}?again`),
      createRequire(import.meta.url)(`${argument}/index.cjs`),
    ] as typeof import('../../../src/index.js')[];
    const servers = modules.map((module) => new module.RustWSEServer({ ...QUIET, shards: 'inline' }));
    const results: boolean[] = [];
    for (const server of servers) {
      echo(server);
      const { port } = await server.start();
      const client = await connect(port);
      results.push(await echoes(client, `by ${port}`));
    }
    await Promise.all(servers.map((server) => server.stop()));
    report({ classes: new Set(modules.map((module) => module.RustWSEServer)).size, results });
  },

  /** Twenty engines on one loop, three clients each. */
  async twenty() {
    const first = inline();
    await first.start();
    await first.stop();
    await connect(await listenOnce()); // Node's own threads exist by now
    const before = threads();
    const servers = Array.from({ length: 20 }, () => inline());
    servers.forEach(echo);
    const ports = await Promise.all(servers.map((server) => server.start()));
    const clients = (await Promise.all(ports.flatMap(({ port }) => [connect(port), connect(port), connect(port)]))).flat();
    let echoed = 0;
    for (let round = 0; round < 20; round += 1) {
      const heard = await Promise.all(clients.map((client, i) => echoes(client, `${round} of ${i}`)));
      echoed += heard.filter(Boolean).length;
    }
    // Those that bound the addresses take a moment to end.
    for (let i = 0; i < 100 && threads() > before; i += 1) await pause(50);
    const during = threads();
    const drivers = new Set(servers.map((server) => server.healthSnapshot().driver));
    const left = clients.map((client) => once(client, 'close'));
    await Promise.all(servers.map((server) => server.stop()));
    const codes = new Set((await Promise.all(left)).map(([code]) => code as number));
    report({ before, during, echoed, drivers: [...drivers], codes: [...codes] });
  },

  /** `stop()`, and nothing else, ends the process; `argument`: how it reads. */
  async stop() {
    const server = inline();
    const { port } = await server.start();
    let heard = 0;
    let loop: Promise<void> | undefined;
    if (argument === 'batches') {
      loop = (async () => {
        for await (const batch of server.batches()) heard += batch.length;
      })();
    } else if (argument === 'callbacks') {
      server.setCallbacks({ onConnect: () => (heard += 1), onMessage: () => (heard += 1) });
    }
    const client = await connect(port);
    client.send('x');
    if (argument === 'drainInbound') {
      // The engine reads while this waits: nobody else would.
      while (heard < 2) heard += server.drainInbound(16, 1000).length;
    } else {
      await until(() => heard >= 2);
    }
    const closed = once(client, 'close');
    report({ heard });
    await server.stop();
    await loop;
    const [code] = (await closed) as [number];
    report({ code });
  },

  /** Publishes `argument` rounds, and gives way to nobody meanwhile. */
  async publisher() {
    const server = inline({
      maxOutboundQueueBytes: 2 ** 30,
      publisher: { highWaterMark: 2 ** 20, hardLimit: 4 * 2 ** 20 },
    });
    const conns: number[] = [];
    server.setCallbacks({
      onConnect: (conn) => {
        server.subscribeConnection(conn, ['t']);
        conns.push(conn);
      },
    });
    report({ port: (await server.start()).port });
    await until(() => conns.length === 2);
    await word();
    const rounds = Number(argument);
    const large = Buffer.alloc(100_000, 'b');
    let most = 0;
    let failure: unknown;
    let number = 0;
    let bytes = 0;
    const text = (): string => {
      const one = `${number++} ${'x'.repeat(200)}`;
      bytes += one.length;
      return one;
    };
    try {
      for (let round = 0; round < rounds; round += 1) {
        server.broadcast('t', text());
        const mine = text();
        for (const conn of conns) server.send(conn, mine);
        const small = Buffer.from(text());
        for (const conn of conns) server.sendBytes(conn, small);
        server.broadcastAll(text());
        if (round % 100 === 0) {
          const big = Buffer.concat([Buffer.from(`${number++} `), large]);
          for (const conn of conns) server.sendBytes(conn, big);
          bytes += big.length;
          most = Math.max(most, server.healthSnapshot()['inbox_bytes'] as number);
        }
      }
    } catch (error) {
      failure = String(error);
    }
    const { slow_consumer_drops: drops } = server.healthSnapshot();
    report({ published: number, bytes, most, drops, failure });
    await word();
    await server.stop();
  },

  /** The driver of a server with the option `shards` as `argument` says, JSON. */
  async driver() {
    const server = new RustWSEServer({ ...QUIET, ...(argument === '' ? {} : { shards: JSON.parse(argument) }) });
    server.setCallbacks({});
    await server.start();
    report({ driver: server.healthSnapshot().driver });
    await server.stop();
  },

  /** Its port is taken, then it is not. */
  async taken() {
    const owner = net.createServer();
    owner.listen(0, '127.0.0.1');
    await once(owner, 'listening');
    const { port } = owner.address() as AddressInfo;
    const server = inline({ port });
    echo(server);
    const codes: string[] = [];
    for (let i = 0; i < 3; i += 1) await server.start().catch((error: { code: string }) => codes.push(error.code));
    owner.close();
    await once(owner, 'close');
    const started = await server.start();
    const client = await connect(port);
    const echoed = await echoes(client, 'at last');
    await server.stop();
    report({ codes, same: started.port === port, echoed });
  },
};

/** The port of a plain inline server that lives for one connection. */
async function listenOnce(): Promise<number> {
  const server = inline();
  server.setCallbacks({ onConnect: () => void server.stop() });
  return (await server.start()).port;
}

await programs[name]?.();
