// What the parts of the page that React does not draw hear of the client: its state, its messages, how old they are.
//
// Owns: the names of the states as the page has them, the two latencies, and which message was missed and came late.
// Never: connects, recovers or puts in order (the client does), draws.
//
// States: connecting, live (the server has answered about the topics), quiet (connected, but nothing comes), reconnecting, offline.
// Events: `state` (detail: { state }), `message` (detail: { type, payload, topic, offset, late }), `answer` (detail: a subscription's).

import { wallClock } from './clock.mjs';

const STATES = {
  pending: 'connecting',
  connecting: 'connecting',
  connected: 'live',
  degraded: 'quiet',
  reconnecting: 'reconnecting',
  disconnected: 'offline',
  error: 'offline',
};
const AGES_KEPT = 600;
const SETTLED_AFTER_MS = 1000; // until then messages wait for the page to draw itself: not the way from server to tab
const SKEW_MS = 25; // below that two clocks are one clock

export class Link extends EventTarget {
  state = 'connecting';
  ages = [];

  #client;
  #asking = true; // no answer about the topics has come on this connection
  #skew = 0;
  #settledAt = Number.POSITIVE_INFINITY;
  #backAt = Number.NEGATIVE_INFINITY; // the wall clock when this connection was ready: what is older was missed

  /** Hears this client from now on; ends with the function it returns. */
  follow(client) {
    this.#client = client;
    const offs = [
      client.watch('state', (change) => this.#become(change)),
      client.onAny((event) => this.#deliver(event)),
      client.on('PONG', ({ payload }) => this.#pong(payload)),
      client.on('subscription_update', ({ payload }) => this.#answered(payload)),
    ];
    return () => {
      for (const off of offs) off();
    };
  }

  /** What the client has counted; undefined before there is one. */
  get stats() {
    return this.#client?.getStats();
  }

  /** True if the message went to the client. */
  send(type, payload) {
    if (this.state !== 'live') return false;
    this.#client.send(type, payload).catch(() => {}); // the connection has ended this moment: the page says so
    return true;
  }

  #become({ state, previous }) {
    const again = previous === 'reconnecting';
    if (state === 'connected' && previous !== 'degraded') {
      this.#settledAt = performance.now() + SETTLED_AFTER_MS;
      if (again) this.#backAt = wallClock();
    }
    if (state === 'reconnecting') this.ages.length = 0;
    if (!/^(connected|degraded)$/.test(state)) this.#asking = true;
    if (!this.#asking || state !== 'connected') this.#say(STATES[state]);
  }

  /** The server has answered about the topics: what was missed has come by then. */
  #answered(payload) {
    this.#tell('answer', payload);
    if (!this.#asking) return;
    this.#asking = false;
    this.#say('live');
  }

  #say(state) {
    this.state = state;
    this.#tell('state', { state });
  }

  #deliver({ type, payload, topic, offset }) {
    const at = payload?.at;
    const late = typeof at === 'number' && at + this.#skew < this.#backAt;
    if (typeof at === 'number' && !late) this.#age(at);
    this.#tell('message', { type, payload, topic, offset, late });
  }

  #age(at) {
    if (performance.now() < this.#settledAt) return;
    this.ages.push(Math.max(0, wallClock() - this.#skew - at));
    if (this.ages.length > AGES_KEPT) this.ages.shift();
  }

  #pong(payload) {
    const { latency } = this.stats.network;
    // Only a clock of another machine is corrected for; on one machine the correction would add the error it removes.
    const skew = wallClock() - latency / 2 - payload?.server_timestamp;
    this.#skew = Math.abs(skew) > SKEW_MS + latency ? skew : 0;
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
