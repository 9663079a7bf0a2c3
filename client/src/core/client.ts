/**
 * A client: the parts of this folder put together, each knowing only what it is given. Whatever is decided is decided in the parts; here is
 * who hears of what.
 */

import { createDecoder } from '../protocol/decode.js';
import { encode } from '../protocol/encode.js';
import { batched, isRaw, toEvent } from '../protocol/event.js';
import type { Outgoing, WSEEvent } from '../protocol/types.js';
import type { TimerHandle } from './clock.js';
import { createDriver } from './driver.js';
import { WSEError, type WSEErrorCode } from './errors.js';
import { createEmitter, type Off } from './events.js';
import type { ExtensionHooks, ExtensionHost } from './extension.js';
import { createInbox } from './inbox.js';
import { createLazily, ignore } from './lazy.js';
import { createLiveness } from './liveness.js';
import type { Ending } from './machine.js';
import { type ClientOptions, settle, urlsOf } from './options.js';
import { createOutgoing } from './outgoing.js';
import { followPage } from './page.js';
import { createLatency } from './plain.js';
import { createRequests } from './requests.js';
import { createResume } from './resume.js';
import { createSending } from './sending.js';
import { createSession } from './session.js';
import { createSnapshots } from './snapshots.js';
import { createCounters, statsOf } from './status.js';
import { createSubscriptions } from './subscriptions.js';
import { createTokens } from './tokens.js';
import type { Closed, EventOf, Notices, WSEClient } from './types.js';
import { createWait } from './wait.js';
import { createWindow } from './window.js';

/** The key of handlers of every type; no server can send it. */
const ANY = Symbol() as unknown as string;

/** What an end by a close code is called; others could not connect. */
const REFUSALS: Readonly<Record<number, WSEErrorCode>> = { 4401: 'WSE_AUTH_FAILED', 4403: 'WSE_STOPPED' };

/** A promise that nobody has to wait for: the topics stay wanted, whatever the answer. */
const quiet = <T>(promise: Promise<T>): Promise<T> => {
  promise.catch(ignore);
  return promise;
};

/**
 * Connects to a server of the WSE protocol, and connects again, until `close()`. Starts behind the current turn; several endpoints are a
 * pool.
 *
 * @throws WSEError `WSE_ARGUMENT` where a URL or an option cannot be meant.
 */
export function connect<E extends object = Record<string, unknown>>(
  urls: string | URL | readonly (string | URL)[],
  options: ClientOptions = {},
): WSEClient<E> {
  const settings = settle(options);
  const { clock, random, page = true, extensions = [], timeout: patience } = settings;
  const context = { clock, random, now: () => clock.now() };
  const counters = createCounters();
  const life = new AbortController();
  const notices = createEmitter<Notices>((error, name) => report(wrap(error, name)));
  const events = createEmitter<Record<string, WSEEvent>>((error, name) => report(wrap(error, name)));
  const limiter = settings.rateLimit?.(context);
  const quality = settings.quality?.(context) ?? createLatency();
  const unique = crypto.getRandomValues(new Uint32Array(2)).join('');
  const repeated = createWindow(settings.dedupWindow);
  let count = 0;
  const id = (): string => `${unique}-${++count}`;

  const wrap = (error: unknown, name: string): WSEError => {
    counters.handlerErrors += 1;
    return new WSEError('WSE_HANDLER', `a handler of ${name} threw: ${error}`, { cause: error });
  };
  let reporting = false;
  const report = (error: unknown): void => {
    const known = error instanceof Error ? error : new Error(String(error), { cause: error });
    // A watcher of errors that throws must not be told of it.
    const before = reporting;
    reporting = true;
    if (before || !notices.emit('error', known)) console.error(known);
    reporting = before;
  };

  const lazily = createLazily(clock, life.signal, report);
  const transmit = (text: string): boolean => {
    if (!driver.send(text)) return false;
    counters.messagesSent += 1;
    counters.bytesSent += text.length;
    return true;
  };
  const write = (message: Outgoing): boolean => transmit(encode(message));
  const outgoing = createOutgoing({
    clock,
    limit: settings.sendQueueSize,
    limiter,
    buffered: () => driver.buffered,
    write(text) {
      const { max_message_size: max } = session.server.limits;
      if (typeof max === 'number' && text.length * 3 > max && new TextEncoder().encode(text).length > max) {
        throw new WSEError('WSE_TOO_LARGE', `the server takes ${max} bytes`);
      }
      transmit(text);
    },
  });
  const host: ExtensionHost = {
    clock,
    get buffered() {
      return driver.buffered ?? 0;
    },
    get ready() {
      return driver.buffered !== undefined;
    },
    write,
    report,
  };
  const hooks: ExtensionHooks[] = [];
  const sending = createSending({ settings, context, outgoing, hooks, id, ending: () => ending });

  const resume = createResume({
    clock,
    deliver(event) {
      const parts = batched(event);
      if (!parts) return session.take(event, {});
      for (const part of parts) if (isRaw(part)) session.take(toEvent(part), part);
    },
    recover: (positions) => subscriptions.recover(positions),
    lost: (topic, from, to) => void notices.emit('lost', { topic, from, to }),
  });
  if (settings.positions) resume.seed(settings.positions);
  const subscriptions = createSubscriptions({
    clock,
    timeout: patience,
    send: (payload) => write({ type: 'subscription_update', payload, id: id(), priority: 8 }),
    positions: resume.positions,
    forget: resume.forget,
  });
  const tokens = createTokens({ source: settings.token, clock, timeout: patience, signal: life.signal, lazily, write, report });
  const requests = createRequests({
    clock,
    timeout: patience,
    lazily,
    id,
    send: sending.queue,
    waiting: () => outgoing.size,
    write,
    report: (error, type) => report(wrap(error, type)),
  });
  const inbox = createInbox<EventOf<E>>(settings.queueSize, settings.overflow, clock, () => {
    counters.eventsDropped += 1;
    notices.emit('overflow', { dropped: counters.eventsDropped });
  });
  const snapshots = createSnapshots(clock, (topics) => {
    resume.rewind(topics);
    const payload = { topics: topics ?? subscriptions.wanted(), include_snapshots: true, include_history: false };
    return write({ type: 'sync_request', payload, id: id() });
  });

  const session = createSession({
    requests,
    limiter,
    lazily,
    features: Object.assign({}, ...extensions.map(({ features }) => features)),
    write,
    ready,
    hello() {
      notices.emit('server', session.server);
      greeted();
    },
    answered: () => liveness.answered(),
    subscribed(payload) {
      resume.reply(payload);
      const result = subscriptions.reply(payload);
      notices.emit('subscription', result);
      return result;
    },
    snapshots: snapshots.reply,
    auth: tokens.auth,
    asked: () => [client.getStats(), subscriptions.wanted()],
    deliver(event, internal) {
      if (hooks.some((hook) => hook.event?.(event))) return;
      events.emit(event.type, event);
      if (internal) return;
      events.emit(ANY, event);
      inbox.push(event as EventOf<E>);
    },
    report,
  });

  const decoder = createDecoder(
    {
      event(event, raw, size) {
        if (event.epoch !== undefined) return resume.accept(event, size);
        if (event.id !== undefined && repeated(event.id)) counters.duplicates += 1;
        else session.take(event, raw);
      },
      binary: (bytes) => void notices.emit('binary', bytes),
      error(error) {
        counters.unreadable += 1;
        report(new WSEError('WSE_PROTOCOL', error.message, { cause: error }));
      },
    },
    { maxBytes: settings.maxMessageSize, lazily },
  );
  const liveness = createLiveness(settings.heartbeat, settings.idleTimeout, clock, {
    ping: () => void write({ type: 'ping', payload: { timestamp: Date.now() } }),
    pong(rtt) {
      quality.sample(rtt);
      notices.emit('quality', quality.read());
    },
    silent() {
      quality.lost();
      driver.silent();
    },
    dead: () => driver.dead(),
  });

  /** Until `server_ready`, then until `server_hello`: extensions go on without. */
  let patienceTimer: TimerHandle;
  let greeting = false;
  let online = false;
  function ready(): void {
    clock.clearTimeout(patienceTimer);
    online = true;
    resume.connected();
    subscriptions.connected(session.server.features['recovery'] !== false);
    if (settings.sync) snapshots.ask();
    driver.ready();
    if (session.server.ready) notices.emit('server', session.server);
    outgoing.flush();
    greeting = true;
    if (!session.server.ready) greeted();
    else if (hooks.length > 0) patienceTimer = clock.setTimeout(greeted, settings.readyTimeout);
  }
  function greeted(): void {
    clock.clearTimeout(patienceTimer);
    if (!greeting) return;
    greeting = false;
    for (const hook of hooks) hook.connected?.(session.server.features, session.server.limits);
  }
  const driver = createDriver(settings, context, urlsOf(urls), tokens.get, {
    opened() {
      liveness.start();
      if (settings.readyTimeout === 0) ready();
      else patienceTimer = clock.setTimeout(ready, settings.readyTimeout);
    },
    frame(data) {
      counters.messagesReceived += 1;
      counters.bytesReceived += data.length;
      liveness.heard();
      if (driver.state === 'degraded') driver.heard();
      decoder.take(data);
    },
    closed: decoder.take,
    lost() {
      clock.clearTimeout(patienceTimer);
      liveness.stop();
      decoder.reset();
      session.reset();
      greeting = false;
      // Servers ask before they are ready, too.
      requests.disconnected();
      if (!online) return;
      online = false;
      resume.disconnected();
      subscriptions.disconnected();
      tokens.disconnected();
      snapshots.disconnected();
      for (const hook of hooks) hook.disconnected?.();
    },
    changed: (change) => void notices.emit('state', change),
    ended,
    report,
  });

  let ending: WSEError | undefined;
  let finish: (closed: Closed) => void;
  const closed = new Promise<Closed>((resolve) => {
    finish = resolve;
  });
  let closing: Promise<unknown> = Promise.resolve();
  function ended({ code, reason, refused }: Ending): void {
    const kind = refused ? (REFUSALS[code] ?? 'WSE_CONNECT_FAILED') : 'WSE_CLOSED';
    ending = new WSEError(kind, `the client has ended: ${code} ${reason}`, { closeCode: code });
    const error = refused ? ending : undefined;
    sending.close();
    life.abort(ending);
    // Not by a `signal` of the listening: of several that listen to one signal, Node forgets all but the last to remove.
    settings.signal?.removeEventListener('abort', abort);
    outgoing.end(ending);
    subscriptions.end(ending);
    inbox.end(error);
    closing = Promise.all(hooks.map((hook) => hook.close?.())).catch(report);
    finish({ code, reason, error });
  }

  const abort = (): void => driver.stop(1000, 'aborted');
  const on = (type: string, fn: (event: never) => unknown): Off => events.on(type, fn as (event: WSEEvent) => void);
  const until = (timeout?: number): Promise<void> => {
    const wait = createWait<void>(clock, 'not connected', timeout, undefined, () => off());
    const look = (): void => {
      if (ending) wait.reject(ending);
      else if (driver.buffered !== undefined) wait.resolve();
    };
    const off = notices.on('state', look);
    look();
    return wait.promise;
  };
  const client: WSEClient<E> = {
    get state() {
      return driver.state;
    },
    get isConnected() {
      return driver.buffered !== undefined;
    },
    get isReady() {
      return session.server.ready;
    },
    get isFullyReady() {
      return session.server.hello;
    },
    get connectionQuality() {
      return quality.read().quality;
    },
    get server() {
      return session.server;
    },
    get url() {
      return driver.url;
    },
    get subscribedTopics() {
      return new Set(subscriptions.confirmed());
    },
    get wantedTopics() {
      return subscriptions.wanted();
    },
    get recoveryEnabled() {
      return session.server.features['recovery'] === true;
    },
    get recoveryState() {
      return resume.positions();
    },
    get queueSize() {
      return inbox.size;
    },
    closed,
    connected: until,
    on,
    once(type, fn) {
      const off = on(type, (event: never) => {
        off();
        return fn(event);
      });
      return off;
    },
    onAny: (fn) => on(ANY, fn),
    off: (type, fn) => events.off(type === '*' ? ANY : type, fn as (event: WSEEvent) => void),
    watch: (notice, fn) => notices.on(notice, fn as (value: Notices[typeof notice]) => void),
    async recv(timeout, signal) {
      const { value, done } = await inbox.next(timeout, signal);
      if (done) throw ending;
      return value as EventOf<E>;
    },
    [Symbol.asyncIterator]: () => inbox.iterate(),
    send: sending.send,
    sendWithRetry: sending.sendWithRetry,
    sendBatch: sending.sendBatch,
    request: (type, payload, opts) => requests.request(type, payload, opts) as Promise<never>,
    onRequest: (type, handler) => requests.handle(type, handler as never),
    subscribe: (topics, opts) => quiet(ending ? Promise.reject(ending) : subscriptions.subscribe(topics, opts)),
    unsubscribe: (topics, opts) => quiet(subscriptions.unsubscribe(topics, opts)),
    async requestSnapshot(topics, { timeout = patience } = {}) {
      await until(timeout);
      return snapshots.request(topics, timeout) as Promise<never>;
    },
    refreshToken: tokens.exchange,
    forceReconnect: () => driver.force(),
    changeEndpoint: (to) => driver.force(urlsOf(to)),
    getStats: () => statsOf(counters, driver, session.server, subscriptions, inbox, outgoing, requests, resume, quality),
    async close(code = 1000, reason = '') {
      if (code !== 1000 && !(code >= 3000 && code < 5000))
        throw new WSEError('WSE_ARGUMENT', `no close code for programs: ${code}`);
      driver.stop(code, reason);
      await closing;
      await driver.drained();
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
  if (settings.topics) void quiet(subscriptions.subscribe(settings.topics));
  const probe = (): void => {
    if (driver.buffered !== undefined) liveness.probe();
  };
  for (const extension of extensions) hooks.push(extension.attach(host));
  if (page) life.signal.addEventListener('abort', followPage(clock, driver, probe));
  settings.signal?.addEventListener('abort', abort);
  // Behind this turn: whoever has made the client can listen before anything happens.
  queueMicrotask(() => (settings.signal?.aborted ? abort() : driver.start()));
  return client;
}
