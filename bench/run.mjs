#!/usr/bin/env node
/**
 * Runs the benchmark: every row, every peer, several rounds, peers in turn, each server a fresh process. Writes one JSON
 * file per run; `report.mjs` makes tables and charts of it.
 *
 *   node bench/run.mjs --help
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { PROFILE } from '../scripts/lib/addon.mjs';
import { failWith } from '../scripts/lib/run.mjs';
import { checkRust, ensureBuilt, ensurePackages } from '../scripts/lib/steps.mjs';
import { machine } from './machine.mjs';
import { encodeToken } from './peers/token.mjs';
import { generatorArguments, listing, neighbours, peersOf, ROWS, summary, valid } from './rows.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.dirname(HERE);
const require = createRequire(import.meta.url);

const { values: options } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    rows: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    out: { type: 'string' },
    pinned: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const isOurs = (peer) => peer.startsWith('wse');
const PEER_NAMES = ['wse', 'wse-recovery', 'bun', 'ws', 'socketio', 'floor'];
/** Those that run only with --full, or if they are named. */
const RARE = ['socketio', 'floor'];
if (options.help) {
  console.log(`usage: node bench/run.mjs [options]

  --full           every row, every peer, 5 rounds of 2 s, instead of the quick pass
  --pinned         the server on one core, the load generator on another: what a container with one CPU sees
  --rows a,b       these rows only
  --peers a,b      of ${PEER_NAMES.join(', ')} (${RARE.join(' and ')} only with --full, unless named)
  --rounds N       rounds of every row and peer (quick pass: 3)
  --seconds S      seconds measured per round (quick pass: 0.4); some rows measure longer
  --out FILE       where the result is written, instead of bench/results/<date>-<commit>.json

rows, and what the load generator is asked for:
${listing().join('\n')}`);
  process.exit(0);
}

const quit = (why) => {
  console.error(`bench: ${why}`);
  process.exit(1);
};
const amount = (name, fallback) => {
  const value = options[name] === undefined ? fallback : Number(options[name]);
  return value > 0 && value <= 100 ? value : quit(`--${name} must be above 0 and at most 100, got ${options[name]}`);
};
const chosen = (list, all, what) => {
  const names = list?.split(',') ?? all;
  for (const name of names) if (!all.includes(name)) quit(`unknown ${what} ${name}; there are: ${all.join(' ')}`);
  return names;
};
const rounds = Math.round(amount('rounds', options.full ? 5 : 3));
const seconds = amount('seconds', options.full ? 2 : 0.4);

if (process.platform !== 'linux') quit('the load generator needs Linux (epoll, /proc)');

const full = options.full;
const rowNames = chosen(options.rows, Object.keys(ROWS), 'row').filter((name) => options.rows || full || ROWS[name].quick);
const peerNames = chosen(options.peers, PEER_NAMES, 'peer').filter((name) => options.peers || full || !RARE.includes(name));

/** The first two cores this process may use, one for the server and one for the generator. */
function cores() {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  const all = list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, n) => first + n);
  });
  if (all.length < 2) quit(`--pinned needs two cores, and this process may use ${list || 'none'}`);
  return { server: all[0], generator: all[1] };
}
const pinned = options.pinned ? cores() : undefined;
/** The command that runs `command` on one core. It becomes that command: the process id stays. */
const on = (core, command, args) => (core === undefined ? [command, args] : ['taskset', ['-c', String(core), command, ...args]]);

/** What in the environment measures something else than this checkout as it is built by default. */
const OVERRIDES = ['BENCH_WSE', 'BENCH_WSE_OPTIONS', 'WSE_NATIVE_PATH', 'NODE_OPTIONS'].filter((name) => process.env[name]);
/** Whoever names the files to measure has built them. */
const ownBuild = OVERRIDES.includes('BENCH_WSE') || OVERRIDES.includes('WSE_NATIVE_PATH');

try {
  checkRust();
  await ensurePackages('bench');
  if (peerNames.some(isOurs) && !ownBuild) await ensureBuilt();
} catch (error) {
  failWith(error);
}

function buildGenerator() {
  console.error('bench: building the load generator');
  try {
    execFileSync('cargo', ['build', '--release', '--quiet', '-p', 'wse-loadgen'], {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const metadata = execFileSync('cargo', ['metadata', '--format-version=1', '--no-deps'], { cwd: ROOT, maxBuffer: 2 ** 26 });
    return path.join(JSON.parse(metadata).target_directory, 'release', 'wse-loadgen');
  } catch {
    return quit('the load generator did not build');
  }
}

/** The bun binary of this platform; bun's npm package brings it as an optional dependency, no install script needed. */
function bunBinary() {
  const name = `bun-linux-${os.arch() === 'arm64' ? 'aarch64' : 'x64'}`;
  for (const variant of [name, `${name}-musl`]) {
    try {
      return require.resolve(`@oven/${variant}/bin/bun`);
    } catch {
      /* the other libc */
    }
  }
  return undefined;
}

/** The floor's addon, built by this machine's C compiler against this Node's headers; undefined where there is neither. */
function floorAddon() {
  const headers = path.join(path.dirname(process.execPath), '..', 'include', 'node');
  const addon = path.join(mkdtempSync(path.join(os.tmpdir(), 'wse-floor-')), 'floor.node');
  process.on('exit', () => rmSync(path.dirname(addon), { recursive: true, force: true }));
  try {
    execFileSync('cc', ['-O2', '-shared', '-fPIC', `-I${headers}`, '-o', addon, path.join(HERE, 'peers', 'floor', 'floor.c')], {
      stdio: 'ignore',
    });
    return addon;
  } catch {
    return undefined;
  }
}

const node = (script, ...words) => ({
  command: process.execPath,
  args: ['--expose-gc', path.join('peers', script), ...words],
});
const bun = bunBinary();
const floor = peerNames.includes('floor') ? floorAddon() : undefined;
const facade = process.env.BENCH_WSE ?? path.join(ROOT, 'dist', 'index.js');
const ours = (...words) =>
  existsSync(facade) ? node('wse.mjs', ...words) : { missing: `wse-server is not built (no ${path.basename(facade)})` };
const PEERS = {
  wse: ours(),
  'wse-recovery': ours('--recovery'),
  bun: bun ? { command: bun, args: ['peers/bun.ts'] } : { missing: 'no bun binary for this platform' },
  ws: node('ws.mjs'),
  floor: floor
    ? { ...node(path.join('floor', 'floor.mjs')), env: { BENCH_FLOOR: floor } }
    : { missing: "no C compiler, or not this Node's headers" },
  socketio: { ...node('socketio.mjs'), generator: ['--proto', 'socketio'] },
};

const skipped = Object.fromEntries(peerNames.filter((name) => PEERS[name].missing).map((name) => [name, PEERS[name].missing]));
for (const [name, why] of Object.entries(skipped)) console.error(`bench: leaving out ${name}: ${why}`);
const runnable = peerNames.filter((name) => !skipped[name]);
if (runnable.length === 0) quit('no peer to measure');

const generator = buildGenerator();
const secret = randomBytes(32).toString('hex');
const run = promisify(execFile);
let server;
let addon;

const hashOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 12);

/** The addon a process has loaded, by content: neither a path nor a build stamp could be as sure. */
function addonOf(pid) {
  const file = /\/.*\.node$/m.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))?.[0];
  if (file === undefined) throw new Error('the server has loaded no addon, or one that has been replaced since');
  return hashOf(file);
}

/** Starts a peer's server and waits for the line that names its port. */
async function startServer(peer, row) {
  const { command, args, env: own } = PEERS[peer];
  const env = { ...process.env, ...own, NODE_ENV: 'production', ...(row.jwt && { BENCH_JWT_SECRET: secret }) };
  const words = on(pinned?.server, command, [...args, ...(row.server?.[peer] ?? [])]);
  server = spawn(...words, { cwd: HERE, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  server.stderr.on('data', (data) => {
    errors = (errors + data).slice(-2000);
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${peer} did not start within 15 s: ${errors}`)), 15_000);
    createInterface({ input: server.stdout }).once('line', (line) => {
      clearTimeout(timer);
      resolve(JSON.parse(line));
    });
    server.once('error', reject);
    server.once('exit', (code) => reject(new Error(`${peer} ended with ${code}: ${errors}`)));
  });
}

async function stopServer() {
  if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
  const ended = new Promise((resolve) => server.once('exit', resolve));
  server.kill('SIGTERM');
  const timer = setTimeout(() => server.kill('SIGKILL'), 2_000);
  await ended;
  clearTimeout(timer);
}
process.on('exit', () => server?.kill('SIGKILL'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** One round of one row on one peer: the generator's report, or what went wrong. */
async function measure(name, peer) {
  const row = ROWS[name];
  try {
    const { port } = await startServer(peer, row);
    if (isOurs(peer)) {
      const loaded = addonOf(server.pid);
      addon ??= loaded;
      if (loaded !== addon) throw new Error(`the addon was ${addon} and is now ${loaded}`);
    }
    const token = row.jwt ? ['--token', encodeToken(secret, { sub: 'bench', exp: Math.floor(Date.now() / 1000) + 3600 })] : [];
    const ready = row.jwt && isOurs(peer) ? ['--expect-ready', 'true'] : [];
    const args = [
      ...generatorArguments(row, peer, seconds, !full && options.seconds === undefined),
      ...token,
      ...ready,
      ...(PEERS[peer].generator ?? []),
    ];
    const all = [...args, '--url', `ws://127.0.0.1:${port}/`, '--pid', String(server.pid)];
    const { stdout } = await run(...on(pinned?.generator, generator, all), { timeout: 180_000 });
    return JSON.parse(stdout);
  } catch (error) {
    return {
      error: String(error.stderr || error.message)
        .trim()
        .slice(0, 500),
    };
  } finally {
    await stopServer();
  }
}

// Two threads and no server: never pinned.
async function ceiling(connections) {
  const { stdout } = await run(
    generator,
    ['ceiling', '--url', 'ws://127.0.0.1:0/', '--connections', String(connections), '--seconds', '0.5', '--warmup', '0.2'],
    { timeout: 20_000 },
  );
  return JSON.parse(stdout);
}

function resultFile({ commit }, date) {
  const base = path.join(HERE, 'results', `${date.slice(0, 10)}-${commit}${pinned ? '-pinned' : ''}`);
  for (let n = 1; ; n++) {
    const file = n === 1 ? `${base}.json` : `${base}-${n}.json`;
    if (!existsSync(file)) return file;
  }
}

/** A figure in at most six characters and its unit. */
function figure(value, unit) {
  if (value === undefined) return '-';
  if (unit === 'us') return `${Number((value / 1e3).toPrecision(3))}ms`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M${unit}`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)}k${unit}` : `${value.toFixed(value < 10 ? 2 : 0)}${unit}`;
}
const began = Date.now();
const result = {
  date: new Date().toISOString(),
  mode: full ? 'full' : 'quick',
  rounds,
  seconds,
  pinned,
  options: process.argv.slice(2).filter((word, n, all) => ![word, all[n - 1]].includes('--out') && !word.startsWith('--out=')),
  machine: machine(['bun', 'ws', 'socket.io']),
  // Of files only the names: a result is published, and says nothing about whose disk it was.
  overrides: Object.fromEntries(
    OVERRIDES.map((name) => [name, name.endsWith('OPTIONS') ? process.env[name] : path.basename(process.env[name])]),
  ),
  skipped,
  generator: { 'ceiling-100': await ceiling(100), 'ceiling-1000': await ceiling(1000) },
  rows: {},
};
for (const name of rowNames) {
  const peers = peersOf(ROWS[name], runnable);
  const row = Object.fromEntries(peers.map((peer) => [peer, []]));
  result.rows[name] = row;
  const times = options.full || options.rounds ? rounds : Math.min(rounds, ROWS[name].quickRounds ?? rounds);
  for (let round = 0; round < times; round++) {
    // Another peer begins each round: none always runs on the machine as the same neighbour left it.
    for (let turn = 0; turn < peers.length; turn++) {
      const peer = peers[(turn + round) % peers.length];
      row[peer].push(await measure(name, peer));
    }
  }
  const line = peers.map((peer) => {
    const bad = row[peer].filter((round) => !valid(round)).length;
    const figures = ROWS[name].metrics.map(({ key, label, unit }) => `${label} ${figure(summary(row[peer], key)?.median, unit)}`);
    const notes = [
      bad > 0 && `${bad} INVALID: ${row[peer].find((round) => !valid(round)).error ?? 'not accounted'}`,
      row[peer].some((round) => round.generator_limited) && 'generator at its limit',
      ...neighbours(row[peer]),
    ];
    return `  ${peer.padEnd(13)}${figures.join('  ')}  ${notes.filter(Boolean).join('; ')}`;
  });
  console.log([name, ...line].join('\n'));
}
if (addon !== undefined) result.wse = { addon, facade: hashOf(facade), profile: ownBuild ? 'unknown' : PROFILE };
result.tookSeconds = Math.round((Date.now() - began) / 1000);
const file = options.out ?? resultFile(result.machine, result.date);
mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
console.log(
  `${rounds} rounds of ${seconds} s${full ? '' : ' (quick pass: fewer rows and shorter rounds than --full)'}${pinned ? `, server on core ${pinned.server}, generator on core ${pinned.generator}` : ''}, ${result.tookSeconds} s in all -> ${path.relative(process.cwd(), file)}`,
);
