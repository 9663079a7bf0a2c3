// The live feed of this machine: ten readings a second, published on topics.
//
// Owns: the one timer, what is published when, and the last minute of every curve, so that a new tab opens with full
// charts. Topics: system.cpu, system.memory, system.network, system.disk (10/s), wse.stats and load.state (2/s),
// system.processes (1/s). Every payload carries `at`, the moment of the reading: the page measures publish-to-arrival with it.
// Never: knows a connection, answers a message, invents a number. What this system cannot give is not published.

import { createMachine } from './machine.mjs';
import { createProcessList } from './processes.mjs';
import { wallClock } from './public/clock.mjs';

export const TICK_MS = 100;
const HISTORY = 600; // one minute
const STATS_EVERY = 5;

export function createFeed({ server, publisher, stats, load }) {
  const machine = createMachine();
  const processes = createProcessList();
  const history = new History(HISTORY);
  const missing = { ...machine.info.missing };
  if (processes.missing !== null) missing.processes = processes.missing;
  const latest = {};
  let timer = null;
  let ticks = 0;

  const publish = (topic, reading) => {
    const payload = { at: wallClock(), ...reading };
    latest[topic] = payload;
    publisher.publish(topic, payload);
  };

  const tick = () => {
    const now = performance.now();
    const { cpu, memory, network, disk } = machine.sample(now);
    history.add({
      cpu: Math.round(cpu.total),
      cores: cpu.cores.map(Math.round),
      load: cpu.load?.[0],
      memory: memory.used,
      rx: network?.rx,
      tx: network?.tx,
      read: disk?.read,
      write: disk?.write,
    });
    publish('system.cpu', cpu);
    publish('system.memory', memory);
    if (network !== null) publish('system.network', network);
    if (disk !== null) publish('system.disk', disk);
    if (ticks++ % STATS_EVERY === 0) {
      publish('wse.stats', stats.sample(now));
      publish('load.state', load.sample(server.getTopicSubscriberCount('load.state')));
    }
    // The only reading that costs something: nobody connected, nothing read.
    const list = server.getConnectionCount() > 0 ? processes.step() : null;
    if (list !== null) publish('system.processes', list);
  };

  return {
    start() {
      machine.sample(performance.now()); // the first change needs something to have changed from
      timer = setInterval(tick, TICK_MS);
    },
    stop() {
      clearInterval(timer);
    },
    /** Everything a tab needs to draw its first picture. */
    snapshot: () => ({ info: { ...machine.info, missing }, step: TICK_MS, history: history.toJSON(), latest }),
  };
}

/** The last `size` values of every curve. */
class History {
  #curves = new Map();
  #size;

  constructor(size) {
    this.#size = size;
  }

  add(reading) {
    for (const [name, value] of Object.entries(reading)) {
      if (value === undefined) continue;
      const curve = this.#curves.get(name) ?? [];
      this.#curves.set(name, curve);
      curve.push(value);
      if (curve.length > this.#size) curve.shift();
    }
  }

  toJSON() {
    return Object.fromEntries(this.#curves);
  }
}
