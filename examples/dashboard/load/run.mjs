// One load on one server: a target, its generators, and what they have said lately.
//
// Owns: the processes of a run, from the first to the last, and the readings of the last WINDOW_MS merged over all generators.
// Never: decides when a run begins or ends (control.mjs), keeps results of runs before.

import os from 'node:os';
import { Child } from './child.mjs';
import { micros } from './clock.mjs';
import { Histogram } from './histogram.mjs';
import { createThreadClock } from './threads.mjs';

const WINDOW_US = 2_000_000;
const READY_MS = 10_000;
const GATHER_MS = 15_000;
const STALE_US = 1_200_000;
const GENERATORS = Math.min(4, Math.max(1, Math.floor(os.cpus().length / 4)));

export class Run {
  facts = { driver: '', shards: 0 };
  whole = []; // per generator: the moment everybody was there, 0: somebody is missing
  blocked = null; // the last time JavaScript was blocked: { at, until }
  pongs = []; // [sent, microseconds], of the last seconds
  #target;
  #generators = [];
  #pace = { rate: 0, size: 0 };
  #patience;
  #base = 0;
  #weighed = 0; // the most connections it has had
  #weighing = false;
  #weight = null; // bytes a connection has added to the process
  #threads;
  #reports = []; // of the target, oldest first
  #measures = []; // of each generator, oldest first
  #lost;
  #answer;

  /** @param {{ server: string, maxConnections: number, lost(who: string): void }} options */
  constructor({ server, maxConnections, lost }) {
    this.server = server;
    this.#lost = lost;
    const arrived = new Promise((resolve, reject) => (this.#answer = { resolve, reject }));
    const events = {
      message: (m) => (m.type === 'ready' ? this.#answer.resolve(m) : this.#heard(m)),
      lost: (how) => {
        this.#answer.reject(new Error(`the server under load ended (${how})`));
        lost('The server under load ended by itself.');
      },
    };
    this.#target = new Child('target.mjs', [server, maxConnections], events);
    const late = setTimeout(() => this.#answer.reject(new Error('the server under load did not start')), READY_MS);
    this.ready = arrived.then(({ port, rss, driver, shards }) => this.#begin(port, rss, { driver, shards }));
    this.ready.catch(() => {}).finally(() => clearTimeout(late));
  }

  #begin(port, rss, facts) {
    this.port = port;
    this.#base = rss;
    this.facts = facts;
    this.#threads = createThreadClock(this.#target.pid);
    for (let i = 0; i < GENERATORS; i++) {
      const events = {
        message: (m) => this.#measured(i, m),
        lost: () => this.#lost('The load generator ended by itself.'),
      };
      this.#generators.push(new Child('generator.mjs', [], events));
      this.#measures.push([]);
      this.whole.push(0);
    }
  }

  set({ connections, rate, size }) {
    this.#pace = { rate, size };
    // Memory is not given back for every connection that leaves: only what a process grows to says something.
    if (connections !== this.#weighed) this.#weight = null;
    this.#weighing = connections > this.#weighed;
    this.#weighed = Math.max(connections, this.#weighed);
    this.#generators.forEach((generator, i) => {
      const share = Math.floor(connections / GENERATORS) + (i < connections % GENERATORS ? 1 : 0);
      generator.send({ type: 'run', port: this.port, connections: share, probe: i === 0 });
    });
    this.#gather();
  }

  /** Nothing is published while connections come: a handshake would be measured among messages, for either server. */
  #gather() {
    this.whole.fill(0);
    this.#target.send({ type: 'pace', ...this.#pace, rate: 0 });
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => this.#target.send({ type: 'pace', ...this.#pace }), GATHER_MS);
  }

  #gathered() {
    clearTimeout(this.#patience);
    this.#target.send({ type: 'pace', ...this.#pace });
    if (this.#weighing) this.#target.send({ type: 'weigh' });
    this.#weighing = false;
  }

  freeze(frozen) {
    this.#generators[0].send({ type: 'freeze', frozen });
  }

  block(ms) {
    this.blocked = null;
    this.#target.send({ type: 'block', ms });
  }

  restart() {
    this.#target.send({ type: 'restart' });
    this.#gather();
  }

  /** Resolves when no process of it is left; whoever still waits for `ready` is told. */
  end() {
    this.#answer.reject(new Error('the load was stopped'));
    clearTimeout(this.#patience);
    return Promise.all([this.#target, ...this.#generators].map((child) => child.end()));
  }

  #heard(m) {
    if (m.type === 'report') keep(this.#reports, m);
    else if (m.type === 'blocked') this.blocked = m;
    else if (m.type === 'weighed' && m.connections > 0) {
      this.#weight = Math.max(0, Math.round((m.rss - this.#base) / m.connections));
    }
  }

  #measured(i, m) {
    if (m.type === 'whole') {
      this.whole[i] = m.at;
      if (this.whole.every((at) => at > 0)) this.#gathered();
    }
    if (m.type !== 'report') return;
    keep(this.#measures[i], m);
    this.pongs.push(...m.pongs);
    while (this.pongs.length > 400) this.pongs.shift();
  }

  /** Everything measured within the last two seconds; null where nothing was. */
  sample() {
    const threads = this.#threads?.sample() ?? null;
    const target = this.#reports.at(-1);
    const last = this.#measures.map((reports) => reports.at(-1));
    if (target === undefined || last.length === 0 || last.includes(undefined)) return null;
    const histogram = new Histogram();
    for (const reports of this.#measures) for (const { latencies } of reports) histogram.merge(latencies);
    const open = sum(last, 'open');
    const fresh = micros() - target.at < STALE_US;
    return {
      open,
      deliveries: total(this.#measures.map((reports) => perSecond(reports, 'messages'))),
      bytes: total(this.#measures.map((reports) => perSecond(reports, 'bytes'))),
      published: fresh ? perSecond(this.#reports, 'published') : 0,
      p50: histogram.percentile(0.5),
      p99: histogram.percentile(0.99),
      // A process whose JavaScript is blocked says nothing; its main thread's CPU time is read from outside.
      js: fresh ? target.busy : (threads?.js ?? null),
      threads,
      dropped: target.dropped,
      perConnection: this.#weight,
      generators: { busy: Math.max(...last.map(({ busy }) => busy)), cpu: sum(last, 'cpu'), count: GENERATORS },
      waiting: Math.max(...last.map(({ waiting }) => waiting)) / 1000,
      total: target.published,
      probe: target.probe,
    };
  }
}

function keep(list, report) {
  list.push(report);
  while (list.length > 2 && list[0].at < report.at - WINDOW_US) list.shift();
}

function perSecond(reports, name) {
  const [first, last] = [reports[0], reports.at(-1)];
  return last.at > first.at ? ((last[name] - first[name]) * 1e6) / (last.at - first.at) : null;
}

const sum = (list, name) => list.reduce((all, one) => all + one[name], 0);
const total = (values) => (values.includes(null) ? null : values.reduce((a, b) => a + b, 0));
