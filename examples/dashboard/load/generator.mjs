// The load's clients: a process of its own, started by control.mjs.
//
// Owns: so many connections as it is told to have, opening them a few at a time and again when they are lost, and what
// they measure: messages, latencies from publish() to arrival, pings and their answers, how busy this process itself is.
// The first connection of the first generator is the one that can be frozen; its latencies are not counted.
// Never: outlives its parent: it ends when the channel to it closes.

import { Client } from './client.mjs';
import { micros } from './clock.mjs';
import { Histogram } from './histogram.mjs';

const AT_ONCE = 128; // handshakes
const RETRY_MS = [10, 200];
const REPORT_MS = 500;
const PING_MS = 100;

const latencies = new Histogram();
const waiting = []; // slots that have to be connected
const slots = [];
const pings = []; // sent and not answered, oldest first: [sent, slot]
let order = { port: 0, connections: 0, probe: false };
let connecting = 0;
let open = 0;
let whole = false;
let frozen = false;
let messages = 0;
let bytes = 0;
let pongs = []; // [sent, microseconds until the answer]
let turn = 0;
let usage = performance.eventLoopUtilization();
let spent = process.cpuUsage();
let reportedAt = micros();

/** A place for a connection; whoever stands in it may change. */
class Slot {
  client = null;
  failures = 0;
  gone = false;

  constructor(isProbe) {
    this.isProbe = isProbe;
  }

  connect() {
    connecting++;
    let pending = true;
    const settle = () => {
      if (pending) connecting--;
      pending = false;
    };
    this.client = new Client(order.port, this.isProbe ? '/probe' : '/load', {
      opened: () => {
        settle();
        this.failures = 0;
        open++;
        if (this.isProbe && frozen) this.client.freeze(true);
        tell();
        next();
      },
      message: (stamp, length) => {
        messages++;
        bytes += length;
        if (!this.isProbe) latencies.add(micros() - stamp);
      },
      pong,
      closed: () => {
        if (!pending) open--;
        whole = false;
        for (let i = pings.length - 1; i >= 0; i--) if (pings[i][1] === this) pings.splice(i, 1);
        settle();
        this.client = null;
        if (!this.gone) this.again();
        next();
      },
    });
  }

  again() {
    const [first, last] = RETRY_MS;
    const delay = Math.min(last, first * 2 ** Math.min(10, this.failures++)) * (0.5 + Math.random());
    setTimeout(() => {
      if (this.gone) return;
      waiting.push(this);
      next();
    }, delay);
  }

  leave() {
    this.gone = true;
    this.client?.destroy();
  }
}

function next() {
  while (connecting < AT_ONCE && waiting.length > 0) {
    const slot = waiting.pop();
    if (!slot.gone && slot.client === null) slot.connect();
  }
}

/** Says once, at the moment itself, that everybody is there. */
function tell() {
  if (whole || open !== slots.length) return;
  whole = true;
  send({ type: 'whole', at: micros(), open });
}

function run(wanted) {
  order = wanted;
  while (slots.length > order.connections) slots.pop().leave();
  while (slots.length < order.connections) {
    const slot = new Slot(order.probe && slots.length === 0);
    slots.push(slot);
    waiting.unshift(slot);
  }
  whole = false;
  tell();
  next();
}

function ping() {
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[++turn % slots.length];
    if (slot.isProbe || slot.client?.open !== true) continue;
    const sent = micros();
    const payload = Buffer.alloc(8);
    payload.writeDoubleBE(sent);
    pings.push([sent, slot]);
    slot.client.ping(payload);
    return;
  }
}

function pong(payload) {
  if (payload.length !== 8) return;
  const sent = payload.readDoubleBE();
  const at = pings.findIndex(([when]) => when === sent);
  if (at < 0) return;
  pings.splice(at, 1);
  pongs.push([sent, micros() - sent]);
}

function report() {
  const now = micros();
  const busy = performance.eventLoopUtilization(usage).utilization;
  usage = performance.eventLoopUtilization();
  const { user, system } = process.cpuUsage(spent);
  spent = process.cpuUsage();
  const cpu = (user + system) / (now - reportedAt);
  reportedAt = now;
  send({
    type: 'report',
    at: now,
    open,
    messages,
    bytes,
    latencies: latencies.take(),
    pongs,
    waiting: pings.length > 0 ? now - pings[0][0] : 0,
    busy, // has no time to wait: it is the limit, or this machine is
    cpu, // what it costs, in cores
  });
  pongs = [];
}

function send(message) {
  if (process.connected) process.send(message, () => {});
}

process.on('message', (message) => {
  if (message.type === 'run') run(message);
  else if (message.type === 'freeze') {
    frozen = message.frozen;
    if (order.probe) slots[0]?.client?.freeze(frozen);
  }
});
process.on('disconnect', () => process.exit());
// Ctrl-C goes to the whole group of processes; the parent decides the order of the end.
process.on('SIGINT', () => {});
setInterval(report, REPORT_MS);
setInterval(ping, PING_MS);
