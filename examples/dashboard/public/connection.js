// The tab's connection to the engine.
//
// Owns: the WebSocket, the hello, the subscriptions and their recovery, pings, reconnecting with jittered backoff, decoding of frames
// (TEXT JSON, BINARY JSON, BINARY `C:` + zlib) in the order they came, and the two latencies.
// Never: knows what a message means beyond the protocol's own, touches the page.
//
// States: connecting, live, quiet (connected, but nothing comes), reconnecting, offline.
// Events: `state` (detail: { state, delay }), `message` (detail: the envelope; `late` where it was missed and replayed), `back`
// (detail: { away, recovered, replayed }: milliseconds without a connection, whether all of what was missed came, how many), `latency`.

import { wallClock } from './clock.mjs';
import { Positions } from './positions.js';

const PING_EVERY_MS = 5000;
const READY_WITHIN_MS = 6000;
const QUIET_AFTER_MS = 1200; // the feed speaks ten times a second: the page says that it does not
const SILENT_AFTER_MS = 8000; // and tries another connection
const WATCH_EVERY_MS = 400;
const BACKOFF_FIRST_MS = 400;
const BACKOFF_MAX_MS = 10_000;
const STABLE_AFTER_MS = 3000;
const AGES_KEPT = 600;
const SETTLED_AFTER_MS = 1000; // until then frames wait for the page to draw itself: not the way from server to tab
const SKEW_MS = 25; // below that two clocks are one clock

export class Connection extends EventTarget {
  state = 'connecting';
  roundTrip = Number.NaN;
  received = 0;
  receivedBytes = 0;
  reconnects = 0;
  ages = [];

  #topics;
  #tab;
  #socket = null;
  #attempt = 0;
  #skew = 0;
  #pings = new Map();
  #timers = { ping: 0, retry: 0, watch: 0, stable: 0 };
  #lastHeard = 0;
  #openedAt = 0;
  #settledAt = Number.POSITIVE_INFINITY;
  #decoding = Promise.resolve();
  #pendingDecodes = 0;
  #positions = new Positions();
  #lostAt = null; // when the last connection ended
  #backAt = Number.NEGATIVE_INFINITY; // the wall clock when this one was ready: what is older was missed
  #cutUntil = Number.NEGATIVE_INFINITY;

  /** @param tab what this tab is known by, whatever its connection */
  constructor(topics, tab) {
    super();
    this.#topics = topics;
    this.#tab = tab;
  }

  async start() {
    clearTimeout(this.#timers.retry);
    if (this.#socket !== null) return;
    this.#become(this.reconnects > 0 || this.#attempt > 0 ? 'reconnecting' : 'connecting');
    const placeholder = {};
    this.#socket = placeholder;
    try {
      // Asked anew each time: a restarted server has another port.
      const response = await fetch('/config.json', { cache: 'no-store', signal: AbortSignal.timeout(3000) });
      if (!response.ok) throw new Error(`config.json: ${response.status}`);
      const { url } = await response.json();
      if (this.#socket === placeholder) this.#open(new WebSocket(`${url}?tab=${this.#tab}`));
    } catch {
      if (this.#socket === placeholder) this.#lost();
    }
  }

  /** True if the message went onto the socket. */
  send(type, payload, category = 'U') {
    if (this.state !== 'live') return false;
    this.#write({ c: category, t: type, p: payload, v: 1 });
    return true;
  }

  /** Tries again at once: the network came back, or the tab is looked at again. */
  nudge() {
    if (this.#socket === null && performance.now() >= this.#cutUntil) this.start();
  }

  /** Off for a while: nothing comes through, and nobody tries. */
  cut(ms) {
    const socket = this.#socket;
    this.#cutUntil = performance.now() + ms;
    this.#lost(undefined, ms);
    if (socket instanceof WebSocket) socket.close(4001);
  }

  stop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket instanceof WebSocket) socket.close(1000);
    this.#become('offline');
  }

  #open(socket) {
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', (event) => this.#frame(socket, event.data));
    socket.addEventListener('close', (event) => {
      if (this.#socket === socket) this.#lost(event.code);
    });
    this.#lastHeard = performance.now();
    this.#openedAt = performance.now();
    this.#watch(socket);
  }

  #watch(socket) {
    if (this.#socket !== socket) return;
    const silent = performance.now() - this.#lastHeard;
    const connected = this.state === 'live' || this.state === 'quiet';
    const late = !connected && performance.now() - this.#openedAt > READY_WITHIN_MS;
    if (late || silent > SILENT_AFTER_MS) {
      // close() alone would wait for an answer that a dead network never gives.
      socket.close(4000);
      this.#lost();
      return;
    }
    if (this.state === 'live' && silent > QUIET_AFTER_MS) this.#become('quiet');
    this.#timers.watch = setTimeout(() => this.#watch(socket), WATCH_EVERY_MS);
  }

  #lost(code, wait = this.#backoff()) {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#socket = null;
    this.#pings.clear();
    this.roundTrip = Number.NaN;
    this.ages.length = 0;
    this.#lostAt ??= performance.now();
    this.reconnects++;
    this.#become('reconnecting', wait, code);
    this.#timers.retry = setTimeout(() => this.start(), wait);
  }

  #backoff() {
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#attempt);
    this.#attempt = Math.min(this.#attempt + 1, 10);
    return Math.round(ceiling * (0.5 + Math.random() / 2));
  }

  #frame(socket, data) {
    if (this.#socket !== socket) return;
    this.#lastHeard = performance.now();
    if (this.state === 'quiet') this.#become('live');
    this.received++;
    this.receivedBytes += data.byteLength ?? data.length; // characters for text: nearly all of it is ASCII
    const text = decode(data);
    if (typeof text === 'string' && this.#pendingDecodes === 0) return this.#take(socket, text);
    // Unpacking takes a moment; whatever comes meanwhile waits behind it.
    this.#pendingDecodes++;
    this.#decoding = this.#decoding
      .then(() => text)
      .then((ready) => this.#take(socket, ready))
      .catch(() => {}) // a frame that cannot be unpacked is ignored, like an unknown type
      .finally(() => this.#pendingDecodes--);
  }

  #take(socket, text) {
    if (this.#socket !== socket) return;
    const message = parse(text);
    if (message === null) return;
    const { t, p } = message;
    if (t === 'server_ready') this.#hello(p);
    else if (t === 'PONG') this.#pong(p);
    else if (t === 'ping' || t === 'PING') this.#answerPing(p);
    else if (t === 'subscription_update') this.#subscribed(p);
    else this.#deliver(message);
  }

  #deliver(message) {
    const place = this.#positions.take(message);
    if (place === 'again') return;
    // What is missing comes again with all that follows it.
    if (place === 'gap') return this.#positions.mayAsk(message.tp) && this.#subscribe([message.tp]);
    const { at } = message.p ?? {};
    const late = typeof at === 'number' && at + this.#skew < this.#backAt;
    if (typeof at === 'number' && !late) this.#age(at);
    this.dispatchEvent(new CustomEvent('message', { detail: { ...message, late } }));
  }

  #hello(p) {
    const connection_id = p?.details?.connection_id ?? p?.connection_id;
    const hello = { client_version: 'dashboard', protocol_version: 1, features: { compression: true }, connection_id };
    this.#write({ c: 'WSE', t: 'client_hello', p: hello, v: 1 });
    const known = this.#positions.of();
    if (this.#lostAt !== null) this.#backAt = wallClock();
    this.#subscribe([...new Set([...this.#topics, ...Object.keys(known)])]);
  }

  /** What has been heard of these topics is told, so that what was missed comes. */
  #subscribe(topics) {
    const recovery = this.#positions.of(topics);
    const known = Object.keys(recovery).length > 0;
    const update = { action: 'subscribe', topics, ...(known && { recover: true, recovery }) };
    this.#write({ c: 'WSE', t: 'subscription_update', p: update, v: 1 });
  }

  #subscribed(p) {
    if (p?.action !== 'subscribe' || p.success !== true) return;
    this.#positions.told(p.recovery);
    if (this.state === 'live' || this.state === 'quiet') return; // a gap was filled
    this.#timers.stable = setTimeout(() => (this.#attempt = 0), STABLE_AFTER_MS);
    this.#settledAt = performance.now() + SETTLED_AFTER_MS;
    this.#become('live');
    this.#ping();
    if (this.#lostAt === null) return;
    const replayed = Object.values(p.recovery ?? {}).reduce((sum, { count }) => sum + (count ?? 0), 0);
    const detail = { away: performance.now() - this.#lostAt, recovered: p.recovered === true, replayed };
    this.#lostAt = null;
    this.dispatchEvent(new CustomEvent('back', { detail }));
  }

  #ping() {
    clearTimeout(this.#timers.ping);
    const timestamp = Date.now();
    this.#pings.set(timestamp, performance.now());
    if (this.#pings.size > 8) this.#pings.delete(this.#pings.keys().next().value);
    this.#write({ c: 'WSE', t: 'ping', p: { timestamp }, v: 1 });
    this.#timers.ping = setTimeout(() => this.#ping(), PING_EVERY_MS);
  }

  #pong(p) {
    const sent = this.#pings.get(p?.client_timestamp);
    if (sent === undefined) return;
    this.#pings.delete(p.client_timestamp);
    this.roundTrip = performance.now() - sent;
    // Only a clock of another machine is corrected for; on one machine the correction would add the error it removes.
    const skew = wallClock() - this.roundTrip / 2 - p.server_timestamp;
    this.#skew = Math.abs(skew) > SKEW_MS + this.roundTrip ? skew : 0;
    this.dispatchEvent(new Event('latency'));
  }

  #answerPing(p) {
    const server_timestamp = p?.server_time ?? p?.timestamp ?? Date.now();
    this.#write({ c: 'WSE', t: 'PONG', p: { server_timestamp, client_timestamp: Date.now() }, v: 1 });
  }

  #age(at) {
    if (performance.now() < this.#settledAt) return;
    this.ages.push(Math.max(0, wallClock() - this.#skew - at));
    if (this.ages.length > AGES_KEPT) this.ages.shift();
  }

  #write(message) {
    if (this.#socket instanceof WebSocket && this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify(message));
    }
  }

  #become(state, delay = 0, code = undefined) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, delay, code } }));
  }
}

/** The text of a frame, or a promise of it where it has to be unpacked. */
function decode(data) {
  if (typeof data === 'string') return data;
  const bytes = new Uint8Array(data);
  if (bytes[0] === 0x43 && bytes[1] === 0x3a) {
    const stream = new Blob([bytes.subarray(2)]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Response(stream).text();
  }
  return new TextDecoder().decode(bytes);
}

/** An envelope, or null for anything that is none. */
function parse(text) {
  try {
    const value = JSON.parse(text.replace(/^(?:WSE|S|U)(?=\{)/, ''));
    return typeof value === 'object' && value !== null && typeof value.t === 'string' ? value : null;
  } catch {
    return null;
  }
}
