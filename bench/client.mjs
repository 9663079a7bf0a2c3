#!/usr/bin/env node
/**
 * The clients beside each other: what the same feed costs the process that reads it, library by library. Each round starts a server and
 * a reader of its own for every library, in turn. Prints a table and writes one JSON file per run.
 *
 *   node bench/client.mjs --help
 */
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { failWith, Problem } from '../scripts/lib/run.mjs';
import { ensureBuilt, ensurePackages } from '../scripts/lib/steps.mjs';
import { machine } from './machine.mjs';
import { at, neighbours, summary, valid } from './rows.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

/** Which library reads from which server. */
const PEERS = {
  websocket: { library: 'websocket', server: 'ws' },
  partysocket: { library: 'partysocket', server: 'ws' },
  'websocket-wse': { library: 'websocket-wse', server: 'wse' },
  wse: { library: 'wse', server: 'wse' },
  'wse-recovery': { library: 'wse', server: 'wse', words: ['--recovery'] },
  socketio: { library: 'socketio', server: 'socketio' },
  'socketio-recovery': { library: 'socketio', server: 'socketio', words: ['--recovery'] },
  centrifuge: { library: 'centrifuge', server: 'centrifuge' },
  'centrifuge-recovery': { library: 'centrifuge', server: 'centrifuge', words: ['--recovery'] },
  'wse-loop': { library: 'wse-loop', server: 'wse', named: true },
};
const USUAL = Object.keys(PEERS).filter((name) => !PEERS[name].named);

/** Messages nobody measures, before those that count: code that has just been loaded is slow. */
const WARMUP = 20_000;
/** Messages a flood is ahead of its reader at most. */
const WINDOW = 8192;
/** In a flood every so many messages' age is looked at. */
const SAMPLED = 16;
/** Milliseconds for a process's answer. */
const PATIENCE = 60_000;

const { values: options } = parseArgs({
  options: {
    peers: { type: 'string', default: USUAL.join() },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    rate: { type: 'string', default: '2000' },
    flood: { type: 'string', default: '100000' },
    out: { type: 'string' },
    profile: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  console.log(`usage: node bench/client.mjs [options]

  --peers a,b        of ${Object.keys(PEERS).join(', ')} (without: all but wse-loop)
  --rounds N         rounds of every peer (3)
  --seconds S        seconds of the paced feed in a round (2)
  --rate N           messages a second of it (2000)
  --flood N          messages of the flood behind it (100000)
  --out FILE         where the result is written, instead of bench/results/client-<date>-<commit>.json
  --profile FOLDER   a CPU profile of every reader into FOLDER, which costs what it costs`);
  process.exit(0);
}

const amount = (name, most) => {
  const value = Number(options[name]);
  if (value > 0 && value <= most) return value;
  throw new Problem(`--${name} must be above 0 and at most ${most}, got ${options[name]}`);
};

/** Processes of this round: none outlives it, nor the runner. */
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** A process that is asked and answers, one order after the other. */
class Child {
  #process;
  #heard = new Map();
  #waits = new Map();
  #handlers = new Map();
  #failed;

  constructor(file, words, execArgv = []) {
    this.#process = fork(path.join(HERE, 'client', file), words, { execArgv, env: { ...process.env, NODE_ENV: 'production' } });
    children.add(this.#process);
    this.#process.on('message', (message) => {
      const handler = this.#handlers.get(message.op);
      const wait = this.#waits.get(message.op);
      this.#waits.delete(message.op);
      if (handler) handler(message);
      else if (wait) wait.resolve(message);
      else this.#heard.set(message.op, message);
    });
    this.ended = new Promise((resolve) => {
      this.#process.once('exit', (code) => {
        children.delete(this.#process);
        this.#failed = new Error(`${file} ended with ${code}`);
        for (const wait of this.#waits.values()) wait.reject(this.#failed);
        resolve();
      });
    });
  }

  on(op, handler) {
    this.#handlers.set(op, handler);
  }

  tell(op, order) {
    this.#process.send({ op, ...order });
  }

  /** The next message of a kind, or one that came before anybody asked. */
  hear(op) {
    const early = this.#heard.get(op);
    this.#heard.delete(op);
    if (early) return early;
    if (this.#failed) throw this.#failed;
    const answer = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${op} within ${PATIENCE / 1000} s`)), PATIENCE);
      const settled = (how) => (value) => {
        clearTimeout(timer);
        how(value);
      };
      this.#waits.set(op, { resolve: settled(resolve), reject: settled(reject) });
    });
    // Whoever asked may be waiting for another process, which has gone.
    answer.catch(() => {});
    return answer;
  }

  ask(op, order) {
    const answer = this.hear(op);
    this.tell(op, order);
    return answer;
  }

  async end() {
    if (this.#process.connected) this.#process.disconnect();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 3_000);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Microseconds all cores together have been busy. */
const busy = () => os.cpus().reduce((sum, { times }) => sum + (times.user + times.nice + times.sys + times.irq) * 1000, 0);
const own = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** One round of one peer: its report, or what went wrong. */
async function measure({ library, server: kind, words = [] }, { seconds, rate, flood }) {
  const server = new Child(`servers/${kind}.mjs`, words);
  let reader;
  try {
    const { port } = await server.hear('listening');
    await server.ask('trickle');
    const profile = options.profile
      ? ['--cpu-prof', `--cpu-prof-dir=${options.profile}`, `--cpu-prof-name=${library}-${process.pid}-${Date.now()}.cpuprofile`]
      : [];
    reader = new Child('reader.mjs', [library, `ws://127.0.0.1:${port}/`], ['--expose-gc', ...profile]);
    reader.on('ack', (message) => server.tell('ack', message));
    const { load_ms, first_ms } = await reader.hear('first');
    let { next } = await server.ask('stop');

    /** Publishes `count` messages and waits until they are read. */
    const phase = async (op, count, every, order) => {
      await reader.ask('begin', { first: next, last: next + count - 1, every });
      const done = reader.hear('done');
      ({ next } = await server.ask(op, { count, ...order }));
      const { op: _, ...report } = await done;
      return report;
    };
    await phase('flood', Math.min(WARMUP, flood), SAMPLED, { window: WINDOW });
    const all = async () => (await server.ask('cpu')).cpu + (await reader.ask('cpu')).cpu + own();
    const before = { all: await all(), busy: busy(), at: performance.now() };
    const paced = await phase('paced', Math.ceil(rate * seconds), 1, { rate });
    const flooded = await phase('flood', flood, SAMPLED, { window: WINDOW });
    flooded.per_second = (flooded.received / flooded.ms) * 1000;
    const { heap_bytes, rss_bytes } = await reader.ask('memory');
    const others = busy() - before.busy - ((await all()) - before.all);
    return {
      load_ms,
      first_ms,
      paced,
      flood: flooded,
      heap_bytes,
      rss_bytes,
      other_cores: Math.max(0, others / 1000 / (performance.now() - before.at)),
      accounted: [paced, flooded].every(({ missing, late, received, published }) => !missing && !late && received === published),
    };
  } catch (error) {
    return { error: error.message };
  } finally {
    await Promise.all([reader?.end(), server.end()]);
  }
}

/** What a line of the table says: a heading, where it is in a round's report, its unit's size, digits behind the point. */
const COLUMNS = [
  ['paced µs', 'paced.cpu_us', 1, 1],
  ['p50 µs', 'paced.p50_us', 1, 0],
  ['p99 µs', 'paced.p99_us', 1, 0],
  ['flood µs', 'flood.cpu_us', 1, 2],
  ['k/s', 'flood.per_second', 1000, 0],
  ['p99 ms', 'flood.p99_us', 1000, 1],
  ['first ms', 'first_ms', 1, 1],
  ['heap kB', 'heap_bytes', 1000, 0],
  ['wire B', 'paced.wire_bytes', 1, 1],
  ['page kB', 'page.gzipped', 1000, 1],
  ['all kB', 'page.all_gzipped', 1000, 1],
];

function line(name, rounds, page) {
  const cells = COLUMNS.map(([, key, unit, digits]) => {
    const value = at({ page }, key) ?? summary(rounds, key)?.median;
    return value === undefined ? '-' : (value / unit).toFixed(digits);
  });
  const bad = rounds.filter((round) => !valid(round));
  const notes = [
    bad.length > 0 && `${bad.length} INVALID: ${bad[0].error ?? 'lost, twice or out of order'}`,
    ...neighbours(rounds),
  ];
  return [name, cells, notes.filter(Boolean).join('; ')];
}

async function main() {
  const names = options.peers.split(',');
  for (const name of names)
    if (!PEERS[name]) throw new Problem(`unknown peer ${name}; there are: ${Object.keys(PEERS).join(' ')}`);
  const rounds = Math.round(amount('rounds', 100));
  const load = { seconds: amount('seconds', 100), rate: amount('rate', 100_000), flood: Math.round(amount('flood', 10_000_000)) };
  await ensurePackages('bench');
  if (names.some((name) => PEERS[name].server === 'wse') && !process.env.BENCH_WSE) await ensureBuilt();
  const { weigh } = await import('./client/page.mjs');

  const began = Date.now();
  const result = {
    date: new Date().toISOString(),
    mode: 'client',
    rounds,
    ...load,
    machine: machine(['ws', 'partysocket', 'socket.io', 'socket.io-client', 'centrifuge']),
    pages: {},
    peers: Object.fromEntries(names.map((name) => [name, []])),
  };
  for (const { library } of names.map((name) => PEERS[name])) result.pages[library] ??= await weigh(library);
  for (let round = 0; round < rounds; round++) {
    // Another peer begins each round: none always runs on the machine as the same neighbour left it.
    for (let n = 0; n < names.length; n++) {
      const name = names[(n + round) % names.length];
      result.peers[name].push(await measure(PEERS[name], load));
    }
  }
  result.tookSeconds = Math.round((Date.now() - began) / 1000);

  console.log(['client'.padEnd(20), ...COLUMNS.map(([heading]) => heading.padStart(9))].join(''));
  const lines = names.map((name) => line(name, result.peers[name], result.pages[PEERS[name].library]));
  for (const [name, cells, notes] of lines)
    console.log([name.padEnd(20), ...cells.map((cell) => cell.padStart(9)), '  ', notes].join(''));
  const file = options.out ?? resultFile(result);
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
  console.log(
    `${rounds} rounds of ${load.rate}/s for ${load.seconds} s and ${load.flood} as fast as they go, ${result.tookSeconds} s in all -> ${path.relative(process.cwd(), file)}`,
  );
}

function resultFile({ machine: { commit }, date }) {
  const base = path.join(HERE, 'results', `client-${date.slice(0, 10)}-${commit}`);
  for (let n = 1; ; n++) {
    const file = n === 1 ? `${base}.json` : `${base}-${n}.json`;
    if (!existsSync(file)) return file;
  }
}

try {
  await main();
} catch (error) {
  failWith(error);
}
