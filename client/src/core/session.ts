/**
 * The conversation with the server on one connection after the other: greetings, heartbeats, and what servers ask of every client. It
 * answers those and tells the client of the rest; it keeps what the server has said of itself. It opens nothing and waits for nothing.
 */

import { isRaw } from '../protocol/event.js';
import type { Outgoing, WSEEvent } from '../protocol/types.js';
import type { Answering } from './answering.js';
import { answerTo } from './answers.js';
import type { Limiter } from './limiter.js';
import type { ServerInfo } from './server-info.js';
import type { Shared } from './shared.js';
import type { ClientStats } from './status.js';

type Raw = Readonly<Record<string, unknown>>;

/** What the session needs of a client. */
export interface SessionHost {
  readonly answering: Answering;
  readonly limiter: Limiter | undefined;
  readonly shared: Pick<Shared, 'NOBODY' | 'VERSION'>;
  /** Members of `client_hello`'s `features` beside the usual ones. */
  readonly features: Raw;
  /** Sends at once; false without a connection. */
  write(message: Outgoing): boolean;
  /** `server_ready` came. */
  ready(): void;
  /** `server_hello` came. */
  hello(): void;
  /** The answer to a ping came. */
  answered(): void;
  subscribed(payload: unknown): void;
  snapshots(payload: unknown): void;
  /** What a server may ask of this client: its counts, and the topics it wants. */
  asked(): readonly [stats: ClientStats, wanted: readonly string[]];
  /** What a server says of the token: `auth_expiring`, `auth_refreshed`, `AUTH_REFRESH_FAILED`. */
  auth(event: WSEEvent): unknown;
  /** Hands an event to the program; `internal`: to handlers of its type only. */
  deliver(event: WSEEvent, internal: boolean): void;
  report(error: unknown): void;
}

/** One client's conversations. */
export interface Session {
  readonly server: ServerInfo;
  /** A message that is next in its order. */
  take(event: WSEEvent, raw: Raw): void;
  /** The connection is gone. */
  reset(): void;
}

/** What the protocol acts on and every reader hears as well. */
const SHOWN = /^(snapshot_|rate_|error|auth_)/;

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const object = (value: unknown): Raw => (isRaw(value) ? value : {});

/** No conversation yet. */
export function createSession(host: SessionHost): Session {
  const { write, limiter } = host;
  const { NOBODY, VERSION } = host.shared;
  let server = NOBODY;

  const pong = ({ payload }: WSEEvent): void => {
    const p = object(payload);
    const stamp = p['server_time'] ?? p['timestamp'] ?? Date.now();
    write({ type: 'PONG', payload: { server_timestamp: stamp, client_timestamp: Date.now() } });
  };
  const asked = ({ type }: WSEEvent): void => {
    try {
      write(answerTo(type, ...host.asked(), VERSION));
    } catch (error) {
      // What a part of the program's says of itself is no fault of the frame.
      host.report(error);
    }
  };
  /** What is answered, or acted on, here. It is shown to handlers of its type only, but for what programs hear of as well ({@link SHOWN}). */
  const own: Record<string, (event: WSEEvent) => void> = {
    __proto__: null as never,
    server_ready({ payload }) {
      const p = object(payload);
      const details = isRaw(p['details']) ? p['details'] : p;
      server = {
        ...NOBODY,
        connectionId: text(details['connection_id'] ?? p['connection_id']),
        userId: text(details['user_id']),
        features: object(details['features']),
        ready: true,
      };
      write({
        type: 'client_hello',
        payload: {
          client_version: VERSION,
          protocol_version: 1,
          features: { compression: true, encryption: false, batching: true, priority_queue: true, ...host.features },
          connection_id: server.connectionId,
        },
        priority: 10,
      });
      host.ready();
    },
    server_hello({ payload }) {
      const p = object(payload);
      const features = { ...server.features, ...object(p['features'] ?? p['supported_features']) };
      server = { ...server, features, limits: object(p['limits']), hello: true };
      host.hello();
    },
    PONG: host.answered,
    pong: host.answered,
    ping: pong,
    PING: pong,
    heartbeat() {},
    config_update() {},
    subscription_update: ({ payload }) => host.subscribed(payload),
    health_check: asked,
    metrics_request: asked,
    sync_request: asked,
    priority_message({ payload }) {
      // Published clients disagree on the form: both are read.
      const p = object(payload);
      const inner = isRaw(p['message']) ? p['message'] : { t: p['type'], p: p['content'] };
      if (typeof inner['t'] === 'string') {
        take({ type: inner['t'], payload: inner['p'], category: 'U', priority: 10 }, inner);
      }
    },
    snapshot_complete: ({ payload }) => host.snapshots(payload),
    rate_limit_warning: ({ payload }) => limiter?.warn(object(payload)),
    error(event) {
      const p = object(event.payload);
      if (/^RATE_LIMIT/.test(String(p['code']))) limiter?.warn(p);
      if (p['code'] === 'AUTH_REFRESH_FAILED') host.auth(event);
    },
    auth_expiring: host.auth,
    auth_refreshed: host.auth,
  };
  const take = (event: WSEEvent, raw: Raw): void => {
    if (host.answering.take(event, raw)) return;
    const act = own[event.type];
    act?.(event);
    host.deliver(event, act !== undefined && !SHOWN.test(event.type));
  };
  return {
    get server() {
      return server;
    },
    take,
    reset() {
      server = NOBODY;
    },
  };
}
