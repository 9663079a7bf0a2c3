/**
 * What comes from the server, and what it makes a client do: frames read in their order, streams kept whole, the protocol's own answered,
 * life watched. Nothing of it is needed before there is a connection, so it is loaded as the first one is made.
 */

import { createDecoder, type DecodeOptions } from '../protocol/decode.js';
import { batched, isRaw, toEvent } from '../protocol/event.js';
import type { Outgoing, Position, WSEEvent } from '../protocol/types.js';
import { createAnswering } from './answering.js';
import type { TimerHandle } from './clock.js';
import type { Driver } from './driver.js';
import type { Emitter } from './events.js';
import { createExchange, type ExchangeHost } from './exchange.js';
import type { ExtensionHooks } from './extension.js';
import { createLazily } from './lazy.js';
import type { Limiter } from './limiter.js';
import { createLiveness } from './liveness.js';
import type { Settings } from './options.js';
import type { QualityMeter } from './quality.js';
import type { Requests } from './requests.js';
import { createResume, type Resume } from './resume.js';
import type { ServerInfo } from './server-info.js';
import { createSession } from './session.js';
import type { Shared } from './shared.js';
import { createSnapshots } from './snapshots.js';
import type { ClientStats, Counters } from './status.js';
import { readReply } from './subscription-reply.js';
import type { Subscriptions } from './subscriptions.js';
import { createTopics, type Topics } from './topics.js';
import type { Notices } from './types.js';
import { createWindow } from './window.js';

/** What it needs of a client. */
export interface InboundHost {
  readonly settings: Settings;
  readonly counters: Counters;
  /** Aborted when the client ends. */
  readonly life: AbortSignal;
  readonly driver: Driver;
  readonly notices: Emitter<Notices>;
  readonly hooks: readonly ExtensionHooks[];
  /** Members of `client_hello`'s `features` beside the usual ones. */
  readonly features: Readonly<Record<string, unknown>>;
  /** Where streams are to go on. */
  readonly positions: Readonly<Record<string, Position>>;
  readonly subscriptions: Subscriptions;
  readonly requests: Requests;
  readonly limiter: Limiter | undefined;
  readonly quality: QualityMeter;
  readonly token: ExchangeHost['token'];
  readonly shared: Shared;
  id(): string;
  /** Sends at once, unless `check` throws; false without a connection. */
  write(message: Outgoing, check?: (text: string) => void): boolean;
  /** Messages can be sent now. */
  flush(): void;
  /** Hands an event to the program; `internal`: to handlers of its type only. */
  deliver(event: WSEEvent, internal: boolean): void;
  stats(): ClientStats;
  report(error: unknown): void;
  /** A handler of a type threw. */
  threw(error: unknown, type: string): void;
}

/** What comes from the servers of one client. */
export interface Inbound {
  /** What the server of this connection has said of itself. */
  readonly server: ServerInfo;
  readonly resume: Pick<Resume, 'positions' | 'forget' | 'stats'>;
  /** What is asked on the connection there is; undefined: none is ready. */
  readonly topics: Topics | undefined;
  readonly snapshot: ReturnType<typeof createSnapshots>['request'];
  /** Gives the server this token, or what the function has now; resolves with its expiry, Unix seconds, or null where none closes. */
  readonly exchange: ReturnType<typeof createExchange>['exchange'];
  /** @throws WSEError `WSE_TOO_LARGE` where the server takes no text of this size */
  fits(text: string): void;
  /** Asks whether the other side is still there. */
  probe(): void;
  /** A socket is open. */
  opened(): void;
  /** A frame, or what is to be called when all that came before has been read. */
  take(frame: string | Uint8Array | (() => void)): void;
  /** The socket is gone. */
  lost(): void;
}

/** Bytes of a request for topics that any server takes, as far as it has not said otherwise. */
const REQUEST = 32_768;

/** Nothing has come yet. */
export function createInbound(host: InboundHost, opener?: DecodeOptions['opener']): Inbound {
  const { settings, shared, counters, life, driver, notices, hooks, subscriptions, requests, limiter, quality, write, report } =
    host;
  const { clock, timeout } = settings;
  const repeated = createWindow(settings.dedupWindow);

  const resume = createResume({
    clock,
    deliver(event) {
      const parts = batched(event);
      if (!parts) return session.take(event, {});
      for (const part of parts) if (isRaw(part)) session.take(toEvent(part), part);
    },
    recover: (positions) => topics.recover(positions),
    lost: (topic, from, to) => void notices.emit('lost', { topic, from, to }),
    wanted: (topic) => subscriptions.wanted.get(topic),
    shared,
  });
  resume.seed(host.positions);
  /** Bytes of a message, in the last words of this endpoint. */
  let said: { readonly url: string | undefined; readonly bytes: unknown } | undefined;
  const takes = (): number => {
    const bytes = said?.url === driver.url ? said?.bytes : undefined;
    return typeof bytes === 'number' ? bytes : Infinity;
  };
  const fits = (text: string): void => {
    if (text.length * 3 > takes() && new TextEncoder().encode(text).length > takes()) {
      throw new shared.WSEError('WSE_TOO_LARGE', `the server takes ${takes()} bytes`);
    }
  };
  const snapshots = createSnapshots(clock, shared, (names) => {
    resume.rewind(names);
    const payload = { topics: names ?? [...subscriptions.wanted.keys()], include_snapshots: true, include_history: false };
    return write({ type: 'sync_request', payload, id: host.id() });
  });
  const topics = createTopics({
    clock,
    subscriptions,
    send: (payload) => write({ type: 'subscription_update', payload, id: host.id(), priority: 8 }),
    positions: resume.positions,
    forget: resume.forget,
    limit: () => Math.min(takes(), REQUEST),
    matcher: shared.matcher,
  });
  const exchange = createExchange({ token: host.token, clock, timeout, write, report, shared });
  const renewable = typeof settings.token === 'function';
  const answering = createAnswering({ clock, shared, requests, write, fits, report: host.threw });

  const session = createSession({
    answering,
    limiter,
    shared,
    features: host.features,
    write,
    ready,
    hello() {
      said = { url: driver.url, bytes: session.server.limits['max_message_size'] };
      notices.emit('server', session.server);
      greeted();
    },
    answered: () => liveness.answered(),
    subscribed(payload) {
      resume.reply(payload);
      const result = readReply(payload);
      topics.reply(result);
      notices.emit('subscription', result);
    },
    snapshots: snapshots.reply,
    // There has to be another token to be had; the old one again would not live longer.
    auth: (event) => (renewable || event.type !== 'auth_expiring') && exchange.hear(event),
    asked: () => [host.stats(), [...subscriptions.wanted.keys()]],
    deliver: host.deliver,
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
        report(new shared.WSEError('WSE_PROTOCOL', error.message, { cause: error }));
      },
    },
    {
      maxBytes: settings.maxMessageSize,
      lazily: createLazily(clock, life, shared, report),
      Problem: shared.DecodeError,
      opener,
    },
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
    dead: driver.dead,
  });

  /** Until `server_ready`, then until `server_hello`: extensions go on without. */
  let patience: TimerHandle;
  let greeting = false;
  let online = false;
  function ready(): void {
    clock.clearTimeout(patience);
    online = true;
    resume.connected();
    topics.connected(session.server.features['recovery'] !== false);
    if (settings.sync) snapshots.ask();
    driver.ready();
    if (session.server.ready) notices.emit('server', session.server);
    host.flush();
    greeting = true;
    if (!session.server.ready) greeted();
    else if (hooks.length > 0) patience = clock.setTimeout(greeted, settings.readyTimeout);
  }
  function greeted(): void {
    clock.clearTimeout(patience);
    if (!greeting) return;
    greeting = false;
    for (const hook of hooks) hook.connected?.(session.server.features, session.server.limits);
  }

  return {
    get server() {
      return session.server;
    },
    get topics() {
      return online ? topics : undefined;
    },
    resume,
    snapshot: snapshots.request,
    exchange: exchange.exchange,
    fits,
    probe() {
      if (driver.buffered !== undefined) liveness.probe();
    },
    opened() {
      liveness.start();
      if (settings.readyTimeout === 0) ready();
      else patience = clock.setTimeout(ready, settings.readyTimeout);
    },
    take(frame) {
      if (typeof frame !== 'function') {
        counters.messagesReceived += 1;
        counters.bytesReceived += frame.length;
        liveness.heard();
        if (driver.state === 'degraded') driver.heard();
      }
      decoder.take(frame);
    },
    lost() {
      clock.clearTimeout(patience);
      liveness.stop();
      decoder.reset();
      session.reset();
      greeting = false;
      // Servers ask before they are ready, too.
      answering.disconnected();
      requests.disconnected();
      if (!online) return;
      online = false;
      resume.disconnected();
      topics.disconnected();
      exchange.disconnected();
      snapshots.disconnected();
      for (const hook of hooks) hook.disconnected?.();
    },
  };
}
