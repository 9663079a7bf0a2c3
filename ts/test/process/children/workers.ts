/** Workers on the engine of the main thread, and one with an engine of its own. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { WebSocket } from 'ws';
import { RustWSEServer, type WSEEvent } from '../../../src/index.js';
import { threads } from '../../support/driver.js';
import { exited, launch, next, report, until } from './talk.js';
import type { Drained } from './worker.js';

async function connect(port: number): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.on('error', () => {});
  await once(socket, 'open');
  return socket;
}

const numbers = (events: readonly WSEEvent[]): number[] =>
  events.flatMap(([type, , payload]) => (type === 'msg' ? [payload.p as number] : []));

const programs: Record<string, () => Promise<void>> = {
  /** Three workers share twelve connections. */
  async share() {
    const server = new RustWSEServer({ port: 0, shards: threads(2) });
    const { port } = await server.start();
    const heard = new Map<number, [worker: number, number][]>();
    const kinds: string[] = [];
    let events = 0;
    const workers = [];
    for (let index = 0; index < 3; index += 1) {
      const worker = launch({ handle: server.handle, role: 'drain', tell: true, max: 16 });
      await next(worker);
      worker.on('message', (message: string | Drained) => {
        if (typeof message === 'string') return;
        for (const [type, conn, payload] of message.events) {
          events += 1;
          kinds.push(type);
          const list = heard.get(conn as number) ?? [];
          heard.set(conn as number, list);
          list.push([index, type === 'msg' ? (payload.p as number) : -1]);
        }
      });
      workers.push(worker);
    }
    const clients = await Promise.all(Array.from({ length: 12 }, () => connect(port)));
    for (let i = 0; i < 200; i += 1) for (const client of clients) client.send(`{"t":"n","p":${i}}`);
    await until(() => events >= 12 * 201);
    for (const client of clients) client.close();
    await until(() => events >= 12 * 202);
    await server.stop();
    await Promise.all(workers.map(exited));
    const lists = [...heard.values()];
    const expected = JSON.stringify([-1, ...Array.from({ length: 200 }, (_, i) => i), -1]);
    report({
      events,
      perWorker: [0, 1, 2].map((index) => lists.filter((list) => list[0]?.[0] === index).length),
      split: lists.filter((list) => new Set(list.map(([index]) => index)).size !== 1).length,
      wrong: lists.filter((list) => JSON.stringify(list.map(([, number]) => number)) !== expected).length,
      connects: kinds.filter((kind) => kind === 'connect').length,
      disconnects: kinds.filter((kind) => kind === 'disconnect').length,
    });
  },

  /** The only drain worker dies; what comes until there is another one waits for it. */
  async successor() {
    const server = new RustWSEServer({ port: 0, shards: threads(1) });
    const { port } = await server.start();
    const first = launch({ handle: server.handle, role: 'drain' });
    await next(first);
    const client = await connect(port);
    await first.terminate();
    for (let i = 0; i < 100; i += 1) client.send(`{"t":"n","p":${i}}`);
    await until(() => server.inboundQueueDepth() >= 100);
    const second = launch({ handle: server.handle, role: 'drain', tell: true, max: 7 });
    const events: WSEEvent[] = [];
    second.on('message', (message: string | Drained) => {
      if (typeof message !== 'string') events.push(...message.events);
    });
    client.send('end');
    await until(() => events.some(([type]) => type === 'raw'));
    await server.stop();
    await exited(second);
    report({ numbers: numbers(events), kinds: [...new Set(events.map(([type]) => type))].sort() });
  },

  /** The main thread reads, a worker publishes. */
  async publish() {
    const server = new RustWSEServer({ port: 0, shards: threads(2), serverReady: false });
    const { port } = await server.start();
    const texts: string[] = [];
    let echoes = 0;
    const loop = (async () => {
      for await (const batch of server.batches()) {
        for (const [type, conn] of batch) {
          if (type === 'connect') server.subscribeConnection(conn, ['t']);
          if (type === 'msg') server.send(conn, 'echo');
        }
      }
    })();
    const client = await connect(port);
    client.on('message', (data) => {
      const text = data.toString();
      if (text === 'echo') echoes += 1;
      else texts.push(text);
    });
    await until(() => server.getTopicSubscriberCount('t') === 1);
    const worker = launch({ handle: server.handle, role: 'publish' });
    for (let i = 0; i < 200; i += 1) client.send('{"t":"x"}');
    await next(worker);
    await until(() => texts.length === 1000 && echoes === 200);
    await server.stop();
    await loop;
    report({ inOrder: texts.every((text, i) => text === `{"c":"U","t":"n","p":${i},"v":1}`), texts: texts.length, echoes });
  },

  /** Workers load the addon, allocate and end, one after the other: no engine of the main thread keeps the image busy. */
  async sequence() {
    const results: number[] = [];
    for (let i = 0; i < 12; i += 1) {
      const worker = launch({ handle: 0, role: 'allocate' });
      results.push(await next<number>(worker));
      const code = await exited(worker);
      if (code !== 0) throw new Error(`worker ${i} ended with ${code}`);
    }
    report({ results: new Set(results).size, workers: results.length });
  },

  /** A worker dies with a running engine of its own. */
  async orphan() {
    const codes: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const worker = launch({ handle: 0, role: 'own' });
      const { port, handle } = await next<{ port: number; handle: number }>(worker);
      const clients = await Promise.all(Array.from({ length: 5 }, () => connect(port)));
      let echoed = 0;
      for (const client of clients) {
        client.on('close', (code) => codes.push(code));
        client.on('message', () => {
          echoed += 1;
          client.send('x');
        });
        client.send('x');
      }
      await until(() => echoed > 100);
      const attached = RustWSEServer.attach(handle);
      await worker.terminate();
      await until(() => codes.length === 5 * (round + 1));
      let state = '';
      try {
        attached.broadcastAll('x');
      } catch (error) {
        state = (error as { code: string }).code;
      }
      if (state !== 'WSE_STOPPED') throw new Error(`the attached facade says ${state}`);
      const late = new WebSocket(`ws://127.0.0.1:${port}/`);
      const [error] = (await once(late, 'error')) as [{ code: string }];
      if (error.code !== 'ECONNREFUSED') throw new Error(`a later connect: ${error.code}`);
    }
    report({ codes });
  },

  /** Workers die while start(), stop(), drain() and drained() of theirs are pending. */
  async pending() {
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.facade).then(async ({ RustWSEServer }) => {
        const server = new RustWSEServer({ port: 0, shards: ${JSON.stringify(threads(1))} });
        const starting = server.start();
        if (workerData.step === 0) return parentPort.postMessage('now');
        const { port } = await starting;
        parentPort.postMessage(port);
        while (server.getConnectionCount() === 0) await new Promise((resolve) => setImmediate(resolve));
        if (workerData.step === 1) void server.drain({ timeout: 30 });
        if (workerData.step === 2) void server.stop({ timeout: 1 });
        if (workerData.step === 3) void (async () => { for await (const _ of server.batches()); })();
        parentPort.postMessage('now');
      });`;
    const facade = new URL('../../../src/index.js', import.meta.url).href;
    for (let round = 0; round < 12; round += 1) {
      const step = round % 4;
      const worker = new Worker(code, { eval: true, workerData: { facade, step } });
      if (step > 0) {
        const client = await connect(await next<number>(worker));
        client.pause(); // never answers a Close
      }
      await next(worker);
      await worker.terminate();
    }
    report({ rounds: 12 });
    process.exit(0); // a drain of 30 s is nobody's any more
  },

  /** A worker dies while its `stop()` waits for a client that never answers. */
  async stopping() {
    const worker = stoppingWorker();
    const client = await connect(await next<number>(worker));
    client.pause();
    await next(worker);
    const began = performance.now();
    await worker.terminate();
    report({ took: performance.now() - began });
    process.exit(0);
  },

  /** The main thread ends while the `stop()` of a worker waits for a client that never answers: Node joins its workers. */
  async 'exit-stopping'() {
    const worker = stoppingWorker();
    const client = await connect(await next<number>(worker));
    client.pause();
    await next(worker);
    report({ exiting: true });
    process.exit(12);
  },
};

/** Tells its port, and once somebody is there, that it stops with ten seconds of patience. */
function stoppingWorker(): Worker {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.facade).then(async ({ RustWSEServer }) => {
      const server = new RustWSEServer({ port: 0, shards: ${JSON.stringify(threads(1))} });
      const { port } = await server.start();
      parentPort.postMessage(port);
      while (server.getConnectionCount() === 0) await new Promise((resolve) => setImmediate(resolve));
      void server.stop({ timeout: 10 });
      setTimeout(() => parentPort.postMessage('stopping'), 100);
    });`;
  const facade = new URL('../../../src/index.js', import.meta.url).href;
  return new Worker(code, { eval: true, workerData: { facade } });
}

await programs[process.argv[2] as string]?.();
