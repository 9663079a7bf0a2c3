/**
 * What every peer's server has in common, so that all of them do the same work: the message's bytes, the publishing loop,
 * and the answers to the load generator's orders. Only `publish` differs from peer to peer.
 */
const MESSAGE_HEAD = '{"c":"U","t":"bench","p":{"seq":"';
const MESSAGE_MIDDLE = '","ns":"';
const MESSAGE_PAD = '","pad":"';
const MESSAGE_END = '"},"v":1}';
const FIXED = MESSAGE_HEAD.length + 12 + MESSAGE_MIDDLE.length + 19 + MESSAGE_PAD.length + MESSAGE_END.length;
const THOUSAND = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'));

/** Messages of one size. Built from three strings, because the benchmark is not about number formatting. */
class Messages {
  #pad;
  #head = '';
  #thousands = -1;
  #tail = '';

  constructor(size) {
    this.#pad = 'x'.repeat(size - FIXED);
  }

  stamp(ns) {
    this.#tail = MESSAGE_MIDDLE + ns + MESSAGE_PAD + this.#pad + MESSAGE_END;
  }

  text(seq) {
    const thousands = Math.floor(seq / 1000);
    if (thousands !== this.#thousands) {
      this.#thousands = thousands;
      this.#head = MESSAGE_HEAD + String(thousands).padStart(9, '0');
    }
    return this.#head + THOUSAND[seq % 1000] + this.#tail;
  }
}

const nineteen = (ns) => String(ns).padStart(19, '0');

/**
 * @typedef {object} Peer
 * @property {(topic: string, text: string) => unknown} publish  false asks for `drained` before the next message
 * @property {() => Promise<void>} [drained]  the peer's own backpressure for publishers: a flood obeys it and nothing else.
 *   Without it, a flood stays within the order's window, which the generator moves on as messages arrive
 * @property {(subscribers: number) => number} [chunk]  most messages it can publish per turn of the event loop and still hear
 * @property {() => bigint} [clock]      CLOCK_MONOTONIC in ns
 * @property {() => number} [dropped]    deliveries dropped so far, where the peer counts them: told beside the receivers' count
 * @property {() => number} [kept]       bytes it keeps for clients that come back, where it counts them
 * @property {() => void} [gc]
 */

/** Carries out the generator's orders. One flood or schedule at a time. */
export class Publisher {
  #peer;
  #clock;
  #run = null;
  #droppedBefore = 0;
  /** Inbound row: messages handled, and the sum of what was read from each. */
  handled = 0;
  sum = 0;

  /** @param {Peer} peer */
  constructor(peer) {
    this.#peer = peer;
    this.#clock = peer.clock ?? (() => process.hrtime.bigint());
  }

  /** One order (the `p` of a `{"t":"bench"}` message); `answer` sends text back on the control connection. */
  order(order, answer) {
    const reply = (body) => answer(JSON.stringify({ c: 'U', t: 'ctl', p: body, v: 1 }));
    switch (order.op) {
      case 'ack':
        return this.#ack(order.n);
      case 'tick':
        return this.#tick(order.seq, order.ns);
      case 'hello':
        return reply({ op: 'hello' });
      case 'count':
        return reply({ op: 'count', n: this.handled, sum: this.sum });
      case 'fill':
        return void this.#fill(order).then((n) => reply({ op: 'filled', n, kept: this.#peer.kept?.() ?? null }));
      case 'gc':
        this.#peer.gc?.();
        return reply({ op: 'gc' });
      case 'flood':
        this.#begin(order);
        this.#schedule();
        return reply({ op: 'flooding', backpressure: this.#peer.drained ? 'drained' : 'window' });
      case 'paced':
        this.#begin(order);
        this.#pace(order);
        return reply({ op: 'pacing' });
      case 'stop':
        return reply({ op: 'done', ...this.#stop() });
      // Asked when everything has arrived: an engine may drop what it took long after the publisher has stopped.
      case 'drops':
        return reply({ op: 'drops', n: this.#peer.dropped ? this.#peer.dropped() - this.#droppedBefore : null });
    }
  }

  /** Publishes `each` messages to each topic, beside whatever else runs. */
  async #fill({ topic, topics, each, size, from }) {
    const names = topics === 1 ? [topic] : Array.from({ length: topics }, (_, n) => `${topic}.${n}`);
    const messages = new Messages(size);
    messages.stamp(nineteen(this.#clock()));
    for (let seq = from; seq < from + each; seq++) {
      for (const name of names) {
        if (this.#peer.publish(name, messages.text(seq)) === false) await this.#peer.drained?.();
      }
    }
    return each * topics;
  }

  #begin({ topic, topics, size, window, chunk = 256, stamp_every: stampEvery = 64, subscribers = 1 }) {
    const most = this.#peer.chunk?.(subscribers) ?? Infinity;
    this.#droppedBefore = this.#peer.dropped?.() ?? 0;
    this.#run = {
      messages: new Messages(size),
      topics: topics === 1 ? [topic] : Array.from({ length: topics }, (_, n) => `${topic}.${n}`),
      next: 0,
      acked: 0,
      // A flood reads the clock once per so many messages: the generator looks at the first of them.
      stampEvery,
      // A window beside it would hide what waiting for `drained` alone comes to.
      window: this.#peer.drained ? Infinity : window,
      waited: 0,
      late: 0,
      timers: [],
      chunk: Math.max(1, Math.min(chunk, most)),
      pumping: false,
    };
  }

  #stop() {
    const run = this.#run;
    this.#run = null;
    run.timers.forEach((timer) => clearTimeout(timer));
    return { published: run.next, waited_ms: Math.round(run.waited), late_max_us: Math.ceil(run.late / 1000) };
  }

  #ack(n) {
    if (this.#run === null) return;
    this.#run.acked = n;
    this.#schedule();
  }

  #schedule() {
    const run = this.#run;
    if (run.pumping) return;
    run.pumping = true;
    setImmediate(() => {
      run.pumping = false;
      this.#pump(run);
    });
  }

  /** Publishes a chunk and gives the event loop its turn, as long as the window allows. */
  #pump(run) {
    if (this.#run !== run) return;
    const { messages, topics } = run;
    const end = Math.min(run.acked + run.window, run.next + run.chunk);
    while (run.next < end) {
      const seq = run.next++;
      if (seq % run.stampEvery === 0) messages.stamp(nineteen(this.#clock()));
      if (
        this.#peer.publish(topics.length === 1 ? topics[0] : topics[seq % topics.length], messages.text(seq)) === false &&
        this.#peer.drained
      ) {
        run.pumping = true;
        const asked = performance.now();
        this.#peer.drained().then(() => {
          run.waited += performance.now() - asked;
          run.pumping = false;
          if (this.#run === run) this.#schedule();
        });
        return;
      }
    }
    if (run.next < run.acked + run.window) this.#schedule();
  }

  #send(run, seq, ns) {
    run.messages.stamp(ns);
    this.#peer.publish(run.topics[seq % run.topics.length], run.messages.text(seq));
    run.next = seq + 1;
  }

  #tick(seq, ns) {
    const run = this.#run;
    if (run === null) return;
    const late = Number(this.#clock() - BigInt(ns));
    if (late > run.late) run.late = late;
    this.#send(run, seq, ns);
  }

  /** `--clock server`: the schedule is kept here. Also the heavy topic of the slow-consumer row. */
  #pace({ rate, start, heavy_rate: heavyRate, heavy_size: heavySize }) {
    const run = this.#run;
    if (rate > 0) {
      const planned = (seq) => BigInt(start) + BigInt(Math.floor((seq * 1e9) / rate));
      const step = () => {
        if (this.#run !== run) return;
        // At most a chunk per turn: a peer that cannot keep up must still hear "stop".
        for (let left = run.chunk, now = this.#clock(); left > 0 && planned(run.next) <= now; left--, now = this.#clock()) {
          run.late = Math.max(run.late, Number(now - planned(run.next)));
          this.#send(run, run.next, nineteen(planned(run.next)));
        }
        run.timers[0] = setTimeout(step, Number(planned(run.next) - this.#clock()) / 1e6);
      };
      step();
    }
    if (heavyRate > 0) {
      const messages = new Messages(heavySize);
      const began = this.#clock();
      let sent = 0;
      const step = () => {
        if (this.#run !== run) return;
        const due = (Number(this.#clock() - began) / 1e9) * heavyRate;
        messages.stamp(nineteen(this.#clock()));
        for (; sent < due; sent++) this.#peer.publish('heavy', messages.text(sent));
        run.timers[1] = setTimeout(step, 5);
      };
      step();
    }
  }
}

/** The line by which a peer's server tells its starter where it listens. */
export const announce = (port) => console.log(JSON.stringify({ port, pid: process.pid }));
