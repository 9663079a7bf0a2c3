// The server under load: a process of its own, started by control.mjs. The same program for both servers, so that they
// differ in nothing else.
//
//   node target.mjs wse|ws MAX_CONNECTIONS
//
// Owns: publishing at a rate, blocking its own JavaScript when told, restarting the server, saying how it is.
// Never: outlives its parent: it ends when the channel to it closes.

import { setTimeout as pause } from 'node:timers/promises';
import { micros, STAMP, stamp } from './clock.mjs';

const [, , kind, limit] = process.argv;
const { createTarget } = await import(`./target-${kind}.mjs`);

const REPORT_MS = 500;
const BURST_MS = 20; // of publishing, then others have their turn
const WEIGH_AFTER_MS = 300;
const IDLE_MS = 20;
const BEHIND_MS = 100; // what could not be published by then is not made up for

/** What stands in for the server while there is none. */
const NOBODY = {
  publish: () => false,
  connections: () => 0,
  dropped: () => 0,
  probe: () => ({ queued: 0, dropped: 0, closed: null }),
};

let target = await createTarget({ port: 0, maxConnections: Number(limit) });
const { port } = target;
let pace = { rate: 0, filler: '' }; // messages per second; 0: nobody is to hear anything yet
let begun = 0;
let done = 0;
let published = 0;
let droppedBefore = 0; // by servers that were stopped
let usage = performance.eventLoopUtilization();

async function publish() {
  for (;;) {
    if (pace.rate === 0) {
      await pause(IDLE_MS);
      continue;
    }
    if (performance.now() - begun - (done * 1000) / pace.rate > BEHIND_MS) startPace();
    const until = performance.now() + BURST_MS;
    while (performance.now() < until && performance.now() - begun >= (done * 1000) / pace.rate) {
      done++;
      const more = target.publish(stamp() + pace.filler);
      published++;
      if (!more) await target.room();
    }
    const late = performance.now() - begun - (done * 1000) / pace.rate;
    await new Promise((resolve) => (late > 0 ? setImmediate(resolve) : setTimeout(resolve, Math.min(100, -late))));
  }
}

function startPace() {
  begun = performance.now();
  done = 0;
}

async function restart() {
  const at = micros();
  const old = target;
  // Nobody publishes meanwhile: the loop waits in `room`.
  let opened = () => {};
  const again = new Promise((resolve) => (opened = resolve));
  droppedBefore += old.dropped();
  target = { ...NOBODY, room: () => again };
  await old.stop();
  target = await createTarget({ port, maxConnections: Number(limit) });
  opened();
  send({ type: 'restarted', at });
}

function block(ms) {
  const at = micros();
  const end = performance.now() + ms;
  while (performance.now() < end);
  send({ type: 'blocked', at, until: micros() });
}

/** What is left when the garbage is gone: asked for once everybody has come. */
async function weigh() {
  await pause(WEIGH_AFTER_MS);
  globalThis.gc?.();
  send({ type: 'weighed', rss: process.memoryUsage.rss(), connections: target.connections() });
}

function report() {
  const spent = performance.eventLoopUtilization(usage);
  usage = performance.eventLoopUtilization();
  send({
    type: 'report',
    at: micros(),
    published,
    busy: spent.utilization,
    dropped: droppedBefore + target.dropped(),
    probe: target.probe(),
  });
}

function send(message) {
  if (process.connected) process.send(message, () => {});
}

const orders = {
  pace({ rate, size }) {
    pace = { rate, filler: 'x'.repeat(size - STAMP) };
    startPace();
  },
  block: ({ ms }) => block(ms),
  weigh: () => weigh().catch(fail),
  restart: () => restart().catch(fail),
};

function fail(error) {
  console.error(error);
  process.exit(1);
}

process.on('message', (message) => orders[message.type]?.(message));
process.on('disconnect', () => process.exit());
// Ctrl-C goes to the whole group of processes; the parent decides the order of the end.
process.on('SIGINT', () => {});
setInterval(report, REPORT_MS);
globalThis.gc?.();
publish().catch(fail);
send({ type: 'ready', port, rss: process.memoryUsage.rss(), ...target.facts });
