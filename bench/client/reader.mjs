/**
 * The process of one client in `bench/client.mjs`: connects with one library, checks every message it is handed, and tells the runner
 * what that has cost this process. What a library does is in `libraries/`; nothing here differs between them.
 *
 *   node --expose-gc bench/client/reader.mjs LIBRARY URL
 */
import diagnostics from 'node:diagnostics_channel';
import { WebSocket } from 'ws';
import { age } from './feed.mjs';

/** Messages between two words to the publisher of how far this reader is. */
const ACK = 2048;
/** Milliseconds without a message after which what is missing counts as lost. */
const PATIENCE = 3000;

const [library, url] = process.argv.slice(2);
// Node 22 brings a WebSocket of its own and Node 20 none: here each library has the same one, but Socket.IO, which brings its own `ws`.
globalThis.WebSocket = WebSocket;

const sockets = [];
diagnostics.subscribe('net.client.socket', ({ socket }) => sockets.push(socket));
/** Bytes of all connections so far, headers of frames included. */
const wire = () => sockets.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** What is measured now; undefined: messages are only counted. */
let run;
let expected;
let seen;

/** Every library hands each payload to this. */
function onTrade(payload) {
  const { seq } = payload;
  seen?.(performance.now());
  const due = expected ?? seq;
  expected = Math.max(due, seq + 1);
  if (run === undefined) return;
  run.received++;
  if (seq > due) run.missing += seq - due;
  if (seq < due) run.late++;
  if (seq % run.every === 0) run.ages[run.aged++] = age(payload);
  if (seq % ACK === 0) process.send({ op: 'ack', seq });
  if (seq === run.last) finish();
}

function begin({ first, last, every }) {
  expected = first;
  run = {
    first,
    last,
    every,
    received: 0,
    missing: 0,
    late: 0,
    aged: 0,
    ages: new Float64Array(Math.ceil((last - first + 1) / every)),
  };
  run.before = { cpu: cpu(), wire: wire(), at: performance.now() };
  const watch = (done) => {
    run.timer = setTimeout(() => (run?.received === done ? finish() : run && watch(run.received)), PATIENCE);
  };
  watch(0);
  process.send({ op: 'begin' });
}

function finish() {
  const { first, last, received, missing, late, ages, aged, before, timer } = run;
  const after = { cpu: cpu(), wire: wire(), at: performance.now() };
  run = undefined;
  clearTimeout(timer);
  const sorted = ages.subarray(0, aged).sort();
  process.send({
    op: 'done',
    published: last - first + 1,
    received,
    missing: missing + Math.max(0, last + 1 - expected),
    late,
    ms: after.at - before.at,
    cpu_us: (after.cpu - before.cpu) / received,
    wire_bytes: (after.wire - before.wire) / received,
    p50_us: sorted[Math.floor(aged / 2)],
    p99_us: sorted[Math.floor(aged * 0.99)],
  });
}

function memory() {
  gc();
  gc();
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}

const empty = memory();
const orders = {
  begin,
  memory() {
    const full = memory();
    process.send({ op: 'memory', heap_bytes: full.heap - empty.heap, rss_bytes: full.rss - empty.rss, cpu: cpu() });
  },
  cpu() {
    process.send({ op: 'cpu', cpu: cpu() });
  },
};
process.on('message', (order) => orders[order.op](order));
// An exit of its own, so that a profile is written.
process.on('disconnect', () => process.exit());

const started = performance.now();
const { listen } = await import(`./libraries/${library}.mjs`);
const loaded = performance.now();
seen = (at) => {
  seen = undefined;
  process.send({ op: 'first', load_ms: loaded - started, first_ms: at - loaded });
};
listen(url, onTrade);
