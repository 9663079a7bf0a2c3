/** The face of a client: its interface and the types of its events. What is behind it is in `client.ts`. */

import type { Position, WSEEvent } from '../protocol/types.js';
import type { StateChange } from './driver.js';
import type { WSEError } from './errors.js';
import type { Off } from './events.js';
import type { ConnectionState } from './machine.js';
import type { SendOptions } from './outgoing.js';
import type { Quality, QualityReport } from './quality.js';
import type { RequestHandler, RequestOptions } from './requests.js';
import type { ServerInfo } from './server-info.js';
import type { ClientStats } from './status.js';
import type { SubscribeOptions, SubscriptionResult } from './subscriptions.js';

/** A user has come, has other data, or is gone (docs/presence.md of the server). */
export interface PresenceEvent {
  /** Where; published servers do not say. */
  readonly topic?: string;
  readonly user_id: string;
  readonly data: unknown;
}

/** Payloads of the protocol's own events, beside those of your map. */
export interface SystemEvents {
  presence_join: PresenceEvent;
  presence_update: PresenceEvent;
  presence_leave: PresenceEvent;
  topic_snapshot: {
    readonly topic: string;
    readonly data: unknown;
    readonly epoch: string | null;
    readonly offset: number | null;
  };
  snapshot_complete: { readonly topics: readonly string[]; readonly count: number };
  auth_expiring: { readonly expires_at: number; readonly expires_in: number };
  auth_refreshed: { readonly expires_at: number | null };
  rate_limit_warning: Readonly<Record<string, unknown>>;
  error: { readonly code?: string; readonly message?: string; readonly recoverable?: boolean } & Readonly<
    Record<string, unknown>
  >;
}

/** A map of event types to payloads, completed with {@link SystemEvents}; yours count more. */
export type EventsOf<E extends object> = E & Omit<SystemEvents, keyof E>;
/** An event of one type, or of any of the map. */
export type EventOf<E extends object, K extends keyof EventsOf<E> = keyof EventsOf<E>> = K extends string
  ? WSEEvent<K, EventsOf<E>[K]>
  : never;
/** A type of event: any string without a map. */
export type EventType<E extends object> = keyof EventsOf<E> & string;

/** What a client says of itself, to `watch()`. */
export interface Notices {
  /** The state has changed. */
  state: StateChange;
  /** Something went wrong that nobody waits for: a handler threw (`WSE_HANDLER`), a frame could not be read, a token function failed. Without a watcher it goes to `console.error`. */
  error: Error;
  /** Messages of a stream will not come: those after `from`, up to and including `to`. */
  lost: { readonly topic: string; readonly from: Position; readonly to: Position };
  /** A reader was too slow: one more event was dropped. */
  overflow: { readonly dropped: number };
  /** What the heartbeats say of the network. */
  quality: QualityReport;
  /** The server has answered about subscriptions, or changed them by itself. */
  subscription: SubscriptionResult;
  /** Bytes that are no message. */
  binary: Uint8Array;
  /** `server_ready` or `server_hello` came. */
  server: ServerInfo;
}

/** How a client ended. */
export interface Closed {
  /** The close code (RFC 6455 §7.4). */
  readonly code: number;
  readonly reason: string;
  /** Why, where it was not asked to. */
  readonly error: WSEError | undefined;
}

/** A client: one connection that comes back, until it is closed. Made by `connect()`. */
export interface WSEClient<E extends object = Record<string, unknown>> extends AsyncDisposable {
  readonly state: ConnectionState;
  /** Whether messages can be sent now (`connected` or `degraded`). */
  readonly isConnected: boolean;
  /** Whether the server has said `server_ready` on this connection. */
  readonly isReady: boolean;
  /** Whether it has answered `client_hello`, too. */
  readonly isFullyReady: boolean;
  readonly connectionQuality: Quality;
  /** What the server has said of itself. */
  readonly server: ServerInfo;
  /** The endpoint of this or the last attempt. */
  readonly url: string | undefined;
  /** Topics the server has confirmed on this connection; a copy. */
  readonly subscribedTopics: ReadonlySet<string>;
  /** Topics that are asked for after every connect; a copy. */
  readonly wantedTopics: readonly string[];
  readonly recoveryEnabled: boolean;
  /** Positions of topics in their streams. */
  readonly recoveryState: Readonly<Record<string, Position>>;
  /** Events that wait for a reader. */
  readonly queueSize: number;
  /** Resolves when the client has ended, however; never rejects. */
  readonly closed: Promise<Closed>;

  /** Resolves when messages can be sent. Rejects with `WSE_TIMEOUT`, or what ended the client. */
  connected(timeout?: number): Promise<void>;
  /** Calls `fn` for each event of a type, the protocol's own included; a throw is reported. */
  on<K extends EventType<E>>(type: K, fn: (event: EventOf<E, K>) => unknown): Off;
  /** Calls `fn` for the next one only. */
  once<K extends EventType<E>>(type: K, fn: (event: EventOf<E, K>) => unknown): Off;
  /** Calls `fn` for each event but the protocol's own. */
  onAny(fn: (event: EventOf<E>) => unknown): Off;
  /** Removes what `on` or `onAny` (`'*'`) has added. */
  off<K extends EventType<E>>(type: K | '*', fn: (event: never) => unknown): void;
  /** Calls `fn` when the client has something to say of itself. */
  watch<K extends keyof Notices>(notice: K, fn: (value: Notices[K]) => unknown): Off;
  /** The next event nobody has read. Rejects with `WSE_TIMEOUT` after `timeout` ms, `WSE_CLOSED` behind the last one, or what ended the client. */
  recv(timeout?: number, signal?: AbortSignal): Promise<EventOf<E>>;
  /** Events as they come. The first loop has those since `connect()`, each further one at the same time those since it began. Ends with the client, and throws if that was an error. */
  [Symbol.asyncIterator](): AsyncIterableIterator<EventOf<E>>;

  /** Sends a message; resolves when the socket has it. Waits for a connection. Rejects with `WSE_TIMEOUT`, `WSE_QUEUE_FULL`, `WSE_ABORTED`, `WSE_TOO_LARGE`, `WSE_ARGUMENT` or what ended the client. */
  send(type: string, payload?: unknown, options?: SendOptions): Promise<void>;
  /** `send`, again after 0.1 s doubled up to 2 s where it timed out or found the queue full; `retries` times. @default 5 */
  sendWithRetry(type: string, payload?: unknown, options?: SendOptions & { readonly retries?: number }): Promise<void>;
  /** Sends several messages as one of type `batch`; the server's application takes it apart. */
  sendBatch(messages: readonly (readonly [type: string, payload?: unknown])[], options?: SendOptions): Promise<void>;
  /** Asks the server, and resolves with its reply. Rejects with `WSE_REPLY_ERROR`, `WSE_TIMEOUT`, `WSE_CONNECTION_LOST`, or as `send` does. */
  request<R = unknown>(type: string, payload?: unknown, options?: RequestOptions): Promise<R>;
  /** Answers requests of a type from the server; one handler per type, the last counts. Whoever registers as `connected()` resolves misses none. */
  onRequest<P = unknown>(type: string, handler: RequestHandler<P>): Off;

  /** Wants topics from now on, over all reconnects. Resolves with the server's answer, failed topics included; rejects where none came in time: they stay wanted, and are asked for again after 10, 20 and 40 s. */
  subscribe(topics: readonly string[], options?: SubscribeOptions): Promise<SubscriptionResult>;
  unsubscribe(topics: readonly string[], options?: SubscribeOptions): Promise<SubscriptionResult>;
  /** Asks for the state of topics, or of all; resolves with the `snapshot_complete` that names none but these, behind the states themselves. */
  requestSnapshot(
    topics?: readonly string[],
    options?: { readonly timeout?: number },
  ): Promise<SystemEvents['snapshot_complete']>;
  /** Exchanges the token on the open connection; without one the token function is asked. Resolves with the new expiry (Unix seconds), null: none. */
  refreshToken(token?: string): Promise<number | null>;

  /** Drops the connection and makes another one at once; waiting ends, too. */
  forceReconnect(): void;
  /** Other endpoints from now on; reconnects. */
  changeEndpoint(urls: string | URL | readonly (string | URL)[]): void;
  getStats(): ClientStats;
  /** Ends the client; resolves when the socket is closed. What waits is rejected with `WSE_CLOSED`. @default 1000 */
  close(code?: number, reason?: string): Promise<void>;
}
