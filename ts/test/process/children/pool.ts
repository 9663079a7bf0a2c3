/** Servers whose events are read by threads of `server.workers()`. */

import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { WebSocket } from 'ws';
import { RustWSEServer, type WorkerExit, type WorkerPool, type WorkersOptions } from '../../../src/index.js';
import { threads } from '../../support/driver.js';
import type { PoolTask } from './pool-worker.js';
import { report, until } from './talk.js';

const MODULE = new URL('./pool-worker.js', import.meta.url);

interface Answer {
  by: number;
  n: number | null;
  known: boolean;
}

/** A client that counts what it is answered. */
class Talker {
  readonly answers: Answer[] = [];
  readonly socket: WebSocket;
  #sent = 0;

  constructor(port: number) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    this.socket.on('error', () => {});
    this.socket.on('message', (data) => void this.answers.push(JSON.parse(data.toString()) as Answer));
  }

  static async open(port: number): Promise<Talker> {
    const talker = new Talker(port);
    await once(talker.socket, 'open');
    return talker;
  }

  say(t: string, p: number = this.#sent): void {
    this.socket.send(JSON.stringify({ t, p }));
    this.#sent += t === 'n' ? 1 : 0;
  }

  /** Who answers now. */
  async by(): Promise<number> {
    const before = this.answers.length;
    this.say('n');
    await until(() => this.answers.length > before);
    return this.answers.at(-1)?.by ?? -1;
  }
}

function server(): RustWSEServer<number> {
  return new RustWSEServer({ port: 0, shards: threads(2), serverReady: false });
}

async function begin(style: PoolTask['style'], options: WorkersOptions): Promise<[RustWSEServer<number>, WorkerPool, number]> {
  const on = server();
  const pool = await on.workers(MODULE, { ...options, workerData: { style } satisfies PoolTask });
  const { port } = await on.start();
  return [on, pool, port];
}

const open = (port: number, count: number): Promise<Talker[]> =>
  Promise.all(Array.from({ length: count }, () => Talker.open(port)));

const programs: Record<string, (argument: string) => Promise<void>> = {
  /** Started before the port is open: each has as many. They end when they are asked to, whatever they read with. */
  async spread(style) {
    const [on, pool, port] = await begin(style as PoolTask['style'], { count: 3 });
    const talkers = await open(port, 12);
    const by = await Promise.all(talkers.map((talker) => talker.by()));
    const shares = [...new Set(by)].map((thread) => by.filter((other) => other === thread).length);
    const size = pool.size;
    const began = performance.now();
    await on.stop();
    report({ shares, size, left: pool.size, prompt: performance.now() - began < 4000 });
  },

  /** Each way to die, again and again, while clients talk. */
  async crashes(style) {
    const exits: WorkerExit[] = [];
    const started: Worker[] = [];
    const onStart = (worker: Worker, index: number): void => {
      started[index] = worker;
    };
    const [on, pool, port] = await begin(style as PoolTask['style'], { count: 2, onStart, onExit: (exit) => exits.push(exit) });
    const talkers = await open(port, 10);
    const deaths: (() => void)[] = [
      () => talkers[0]?.say('throw'),
      () => talkers[1]?.say('exit', 3),
      () => void started[0]?.terminate(),
      () => talkers[2]?.say('exit', 0),
      () => void started[1]?.terminate(),
    ];
    const pulse = setInterval(() => talkers.forEach((talker) => void talker.say('n')), 2);
    for (const [index, die] of deaths.entries()) {
      die();
      await until(() => exits.length > index && pool.size === 2);
      await pause(50);
    }
    clearInterval(pulse);
    for (const talker of talkers) await talker.by();
    const answers = talkers.flatMap((talker) => talker.answers);
    report({
      exits: exits.map(({ code, error }) => [code, error instanceof Error ? error.message : null]),
      places: exits.every(({ index }) => index === 0 || index === 1),
      strangers: answers.filter(({ known }) => !known).length,
      backwards: talkers.filter(({ answers }) => {
        const numbers = answers.flatMap(({ n }) => (n === null ? [] : [n]));
        return numbers.some((n, at) => at > 0 && n <= (numbers[at - 1] ?? -1));
      }).length,
      open: talkers.filter(({ socket }) => socket.readyState === WebSocket.OPEN).length,
      size: pool.size,
    });
    await on.stop();
  },

  /** One that dies at once each time it is started: it is started ever more rarely, and is reported by a warning. */
  async backoff() {
    const pauses: number[] = [];
    const warned: string[] = [];
    process.on('warning', (warning) => warned.push((warning as Error & { code?: string }).code ?? warning.message));
    const on = server();
    let doomed = false;
    const pool = await on.workers(MODULE, {
      count: 1,
      workerData: { style: 'serve' },
      onStart: (worker) => void (doomed && setImmediate(() => worker.terminate())),
      onExit: ({ restartIn }) => void pauses.push(restartIn),
    });
    const { port } = await on.start();
    const [talker] = await open(port, 1);
    await talker?.by();
    doomed = true;
    talker?.say('exit', 9);
    await until(() => pauses.length === 4);
    doomed = false;
    await talker?.by();
    report({ pauses, size: pool.size, known: talker?.answers.at(-1)?.known });
    await on.stop();
    const other = await begin('returns', { count: 1 });
    await until(() => warned.length > 0);
    await other[0].stop();
    report({ warned });
  },

  /** Threads that never come to read. */
  async failing() {
    const on = server();
    const failures: unknown[] = [];
    const attempt = async (style: string, options: WorkersOptions = {}): Promise<void> => {
      await on.workers(MODULE, { count: 2, workerData: { style }, ...options }).catch((error) => {
        failures.push([error.code, error.cause instanceof Error ? error.cause.message : null]);
      });
    };
    await attempt('broken');
    await attempt('deaf', { startTimeout: 0.5, stopTimeout: 0.1 });
    await on.workers('no/such/path').catch((error) => failures.push(error.code));
    for (const options of [{ count: 0 }, { count: 1.5 }, { workerData: 1 }, { onExit: 1 }, { stopTimeout: -1 }]) {
      await on.workers(MODULE, options as unknown as WorkersOptions).catch((error) => failures.push(error.constructor.name));
    }
    await on.stop();
    await on.workers(MODULE).catch((error) => failures.push(error.code));
    try {
      RustWSEServer.fromWorker();
    } catch (error) {
      failures.push((error as { code: string }).code);
    }
    report({ failures });
  },

  /** A pool is ended before its server, by a thread that ends when asked and by one that does not, and nobody is lost. */
  async ending() {
    const [on, pool, port] = await begin('serve', { count: 2 });
    const stubborn = await on.workers(MODULE, { count: 1, workerData: { style: 'stubborn' }, stopTimeout: 0.3 });
    const talkers = await open(port, 9);
    const before = new Set(await Promise.all(talkers.map((talker) => talker.by())));
    await pool.stop();
    const between = new Set(await Promise.all(talkers.map((talker) => talker.by())));
    talkers[0]?.say('block');
    await pause(100);
    await Promise.all([stubborn.stop(), stubborn.stop()]);
    await using last = await on.workers(MODULE, { count: 1, workerData: { style: 'batches' } });
    const after = new Set(await Promise.all(talkers.map((talker) => talker.by())));
    report({
      before: before.size,
      between: between.size,
      after: after.size,
      known: talkers.every(({ answers }) => answers.at(-1)?.known),
      size: last.size,
    });
    await on.stop();
  },
};

const [name = '', argument = ''] = process.argv.slice(2);
await programs[name]?.(argument);
