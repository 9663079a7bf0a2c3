/**
 * A client: what a program calls and what makes connections, put together of parts that know only what they are given. Whatever is decided is
 * decided in the parts; here is who hears of what. What comes from a server is put together in `inbound.ts`.
 */

import { encode } from '../protocol/encode.js';
import type { WSEEvent } from '../protocol/types.js';
import { createDriver } from './driver.js';
import { WSEError, type WSEErrorCode } from './errors.js';
import { createEmitter, type Off } from './events.js';
import type { ExtensionHooks, ExtensionHost } from './extension.js';
import type { createInbound, Inbound, InboundHost } from './inbound.js';
import { createInbox } from './inbox.js';
import type { Ending } from './machine.js';
import { type ClientOptions, settle, urlsOf } from './options.js';
import { createOutgoing } from './outgoing.js';
import { followPage } from './page.js';
import { createLatency } from './plain.js';
import { createRequests } from './requests.js';
import { createSeeds } from './seeds.js';
import { createSending } from './sending.js';
import { NOBODY, type ServerInfo } from './server-info.js';
import { SHARED } from './shared.js';
import { createCounters, statsOf } from './status.js';
import { createSubscriptions } from './subscriptions.js';
import type { Closed, EventOf, Notices, WSEClient } from './types.js';
import { createWait } from './wait.js';

/** The key of handlers of every type; no server can send it. */
const ANY = Symbol() as unknown as string;

/** What an end by a close code is called; others could not connect. */
const REFUSALS: Readonly<Record<number, WSEErrorCode>> = { 4401: 'WSE_AUTH_FAILED', 4403: 'WSE_STOPPED' };

/** What nothing needs before there is a server. */
const imported = (): Promise<typeof import('./inbound.js')> =>
  import('./inbound.js').catch((cause) => {
    throw new WSEError('WSE_CONNECT_FAILED', 'a part was not loaded', { cause });
  });

/** A promise that nobody has to wait for: the topics stay wanted, whatever the answer. */
const quiet = <T>(promise: Promise<T>): Promise<T> => {
  promise.catch(() => {});
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
  const { clock, random, page = true, extensions = [], timeout: patience, token } = settings;
  const context = { clock, random, now: () => clock.now() };
  const counters = createCounters();
  const life = new AbortController();
  const notices = createEmitter<Notices>((error, name) => report(wrap(error, name)));
  const events = createEmitter<Record<string, WSEEvent>>((error, name) => report(wrap(error, name)));
  const limiter = settings.rateLimit?.(context);
  const quality = settings.quality?.(context) ?? createLatency();
  const unique = crypto.getRandomValues(new Uint32Array(2)).join('');
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

  const transmit = (text: string): boolean => {
    if (!driver.send(text)) return false;
    counters.messagesSent += 1;
    counters.bytesSent += text.length;
    return true;
  };
  const write: InboundHost['write'] = (message, check) => {
    const text = encode(message);
    check?.(text);
    return transmit(text);
  };
  const outgoing = createOutgoing({
    clock,
    limit: settings.sendQueueSize,
    limiter,
    buffered: () => driver.buffered,
    write(text) {
      inbound?.fits(text);
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

  const subscriptions = createSubscriptions({
    clock,
    timeout: patience,
    topics: () => inbound?.topics,
    forget: (topics, kept) => resume().forget(topics, kept),
  });
  const requests = createRequests({
    clock,
    timeout: patience,
    id,
    send: sending.queue,
    waiting: () => outgoing.size,
    write,
  });
  const inbox = createInbox<EventOf<E>>(settings.queueSize, settings.overflow, clock, () => {
    counters.eventsDropped += 1;
    notices.emit('overflow', { dropped: counters.eventsDropped });
  });

  const get: InboundHost['token'] = async (reason) =>
    (typeof token === 'function' ? await token({ reason, signal: life.signal }) : token) || undefined;
  const seeds = createSeeds(settings.positions);
  const features = Object.assign({}, ...extensions.map((one) => one.features));
  /** Loaded with the first attempt: nothing comes before. */
  let inbound: Inbound | undefined;
  const server = (): ServerInfo => inbound?.server ?? NOBODY;
  const resume = (): Pick<Inbound['resume'], 'positions' | 'forget' | 'stats'> => inbound?.resume ?? seeds;
  const load = async (): Promise<Inbound> => {
    if (inbound) return inbound;
    const given = settings.inbound as typeof createInbound | undefined;
    const create = given ?? (await imported()).createInbound;
    inbound ??= create({
      settings,
      counters,
      life: life.signal,
      driver,
      notices,
      hooks,
      features,
      positions: seeds.positions(),
      subscriptions,
      requests,
      limiter,
      quality,
      token: get,
      shared: SHARED,
      id,
      write,
      flush: outgoing.flush,
      deliver(event, internal) {
        if (hooks.some((hook) => hook.event?.(event))) return;
        const heard = events.emit(event.type, event);
        if (!internal) inbox.push(event as EventOf<E>, events.emit(ANY, event) || heard);
      },
      stats: () => client.getStats(),
      report,
      threw: (error, type) => report(wrap(error, type)),
    });
    return inbound;
  };
  const driver = createDriver(settings, context, urlsOf(urls), get, load, {
    opened: () => inbound?.opened(),
    frame: (data) => inbound?.take(data),
    closed: (then) => inbound?.take(then),
    lost: () => inbound?.lost(),
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
      return server().ready;
    },
    get isFullyReady() {
      return server().hello;
    },
    get connectionQuality() {
      return quality.read().quality;
    },
    get server() {
      return server();
    },
    get url() {
      return driver.url;
    },
    get subscribedTopics() {
      return new Set(inbound?.topics?.confirmed);
    },
    get wantedTopics() {
      return [...subscriptions.wanted.keys()];
    },
    get recoveryEnabled() {
      return server().features['recovery'] === true;
    },
    get recoveryState() {
      return resume().positions();
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
      return (inbound as Inbound).snapshot(topics, timeout) as Promise<never>;
    },
    async refreshToken(one) {
      return (await load()).exchange(one);
    },
    forceReconnect: () => driver.force(),
    changeEndpoint: (to) => driver.force(urlsOf(to)),
    getStats: () =>
      statsOf(counters, driver, server(), inbox, outgoing, requests, resume(), [...(inbound?.topics?.confirmed ?? [])], quality),
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
  for (const extension of extensions) hooks.push(extension.attach(host));
  if (page)
    life.signal.addEventListener(
      'abort',
      followPage(clock, driver, () => inbound?.probe()),
    );
  settings.signal?.addEventListener('abort', abort);
  // Behind this turn: whoever has made the client can listen before anything happens.
  queueMicrotask(() => (settings.signal?.aborted ? abort() : driver.start()));
  return client;
}
