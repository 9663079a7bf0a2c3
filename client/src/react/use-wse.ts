/** `useWSE`: one hook with everything, in the words of the published one (its signature, its return value). All of it is done by a session and its client. */

import { useMemo } from 'react';
import {
  type BackoffOptions,
  batching,
  type ClientStats,
  type ConnectionState,
  networkQuality,
  type Priority,
  type QualityReport,
  type SubscribeOptions,
  type SubscriptionResult,
  type WSEClient,
  WSEError,
} from '../index.js';
import type { QueryDefaults } from '../query/adaptive.js';
import { useInfo, useLatest, useMaybeAbove, useSession } from './hooks.js';
import { watchWindow } from './page-events.js';
import type { Session, SessionConfig } from './session.js';

/** What `useWSE` is told beside its token and topics: everything a provider takes, and the names of published configurations. */
export interface UseWSEConfig extends SessionConfig {
  /** Servers; the same as `url`. A URL without a path gets `/wse`. */
  readonly endpoints?: readonly string[];
  /** The same as `reconnect`. */
  readonly reconnection?: Partial<BackoffOptions>;
  /** Sizes of batches and queues: `batching()`, `sendQueueSize`. @default no batches */
  readonly performance?: { readonly batchSize?: number; readonly batchTimeout?: number; readonly maxQueueSize?: number };
  /** What `sendMessage` keeps while there is no connection. */
  readonly offline?: OfflineOptions;
  /** Encryption and signatures are not to be had: asking for them is an error, so that nothing is sent in clear by mistake. */
  readonly security?: { readonly encryptionEnabled?: false; readonly messageSignature?: false };
  /** Called when the server refuses the token, or it is about to expire. What it resolves with is the new token; nothing: the old one, or with `'cookie'` the cookie it has renewed. */
  readonly refreshAuthToken?: () => Promise<string | undefined> | Promise<void>;
  /** A TanStack query client whose defaults follow the connection: `adaptQueryClient` of `wse-client/query`, loaded when it is named. */
  readonly queryClient?: QueryDefaults;
  /** Whether the window is told what happens: `watchWindow`. @default true */
  readonly windowEvents?: boolean;
  /** As everywhere, but asked for as the published hook does. Where a server has no `snapshots` its application gets a `sync_request`. @default true */
  readonly sync?: boolean;
  /** Called once with each client that is made, to add handlers before anything comes. */
  readonly registerHandlers?: (client: WSEClient) => void;
}

/** What is kept in memory, for as long as the page is there; what must outlive it is an outbox's (`wse-client/outbox`, in `extensions`). */
export interface OfflineOptions {
  /** Whether messages wait for a connection. @default true */
  readonly enabled?: boolean;
  /** Messages that wait; the next one is refused (`WSE_QUEUE_FULL`). The same as `sendQueueSize`, and before `performance.maxQueueSize`. @default 1000 */
  readonly maxSize?: number;
  /** How long one waits, ms; then its promise rejects (`WSE_TIMEOUT`). @default 3600000 */
  readonly maxAge?: number;
}

/** The same in one object. */
export interface UseWSEOptions extends UseWSEConfig {
  readonly topics?: readonly string[];
}

/** How `sendMessage` sends. */
export interface MessageOptions {
  readonly priority?: Priority;
  /** Whether it may wait for a connection. @default `offline.enabled` */
  readonly offline?: boolean;
  readonly correlation_id?: string;
  /** How long it may wait, ms. @default `offline.maxAge`, an hour */
  readonly ttl?: number;
  /** Refused: there is no encryption yet. */
  readonly encrypted?: false;
}

/** What `useWSE` returns. The functions stay the same as long as the connection does. */
export interface UseWSEReturn {
  /** Whether messages can be sent. */
  readonly isConnected: boolean;
  /** The state of the connection. */
  readonly connectionHealth: ConnectionState;
  /** Topics the server has confirmed. */
  readonly activeTopics: readonly string[];
  /** Numbers of the client, as they are when they are read; null before there is one. */
  readonly stats: ClientStats | null;
  /** What the heartbeats say of the network: `networkQuality()`, unless the configuration has another meter. */
  readonly diagnostics: QualityReport;
  /** Wants topics until `unsubscribe`, beside those of the arguments. */
  subscribe(topics: readonly string[], options?: SubscribeOptions): Promise<SubscriptionResult>;
  /** Ends what `subscribe` has begun. Topics that components still use stay. */
  unsubscribe(topics: readonly string[]): void;
  /** Connects again at once, also where the connection has ended for good. */
  forceReconnect(): void;
  changeEndpoint(url: string): void;
  /** Sends; resolves when the socket has it. A rejection nobody waits for is no error of the page. */
  sendMessage(type: string, payload?: unknown, options?: MessageOptions): Promise<void>;
  /** Sends several as one message of type `batch`. */
  sendBatch(messages: readonly { readonly type: string; readonly payload?: unknown }[]): Promise<void>;
  /** Asks for the state of topics, or of all; resolves when they have come. */
  requestSnapshot(topics?: readonly string[]): Promise<unknown>;
  /** Asks the server's application (`config_update`) to compress what it sends, or not to. */
  setCompression(enabled: boolean): Promise<void>;
  /** Hands the user a JSON file of `stats`. */
  downloadDiagnostics(): void;
  /** Messages that wait to be sent. */
  getQueueSize(): number;
  /** Drops what waits to be sent; the promises of `sendMessage` reject with `WSE_ABORTED`. */
  clearOfflineQueue(): void;
  /** Writes `stats` to the console. */
  debugHandlers(): void;
  /** The client itself. Not to be asked for while rendering. */
  getClient(): WSEClient;
}

interface Page {
  readonly document?: { createElement(name: 'a'): { href: string; download: string; click(): void } };
}

/** `url` and the other names of today. */
const today = (given: string | undefined, config: UseWSEConfig, sessionOf: () => Session): SessionConfig => {
  const {
    endpoints,
    reconnection,
    performance: sizes,
    offline,
    security,
    refreshAuthToken: refresh,
    registerHandlers,
    queryClient,
    windowEvents = true,
    ...rest
  } = config;
  if (security?.encryptionEnabled || security?.messageSignature) throw noSecrets();
  const whole = (url: string): string => url.replace(/^(\w+:\/\/[^/?#]+)\/?$/, '$1/wse');
  const named = given ?? rest.token;
  // A mode, no token: what the browser itself sends counts.
  const token = named === 'cookie' ? '' : named;
  const size = offline?.maxSize ?? sizes?.maxQueueSize;
  return {
    quality: networkQuality(),
    prepare(client) {
      registerHandlers?.(client);
      const offs = [windowEvents ? watchWindow(client) : undefined];
      let over = false;
      if (queryClient) {
        import('../query/adaptive.js').then(({ adaptQueryClient }) => {
          if (!over) offs.push(adaptQueryClient(client, queryClient));
        }, console.error);
      }
      return () => {
        over = true;
        for (const off of offs) off?.();
      };
    },
    ...(endpoints?.length && { url: endpoints.map(whole) }),
    ...(reconnection && { reconnect: reconnection }),
    ...(sizes?.batchSize && { batch: batching({ size: sizes.batchSize, delay: sizes.batchTimeout ?? 100 }) }),
    ...(size !== undefined && { sendQueueSize: size }),
    ...rest,
    sync: rest.sync ?? true,
    ...(token !== undefined && { token }),
    ...(refresh &&
      typeof token !== 'function' && {
        identity: `${rest.identity}|${token}`,
        token: async ({ reason }) => {
          const session = sessionOf();
          const last = renewals.get(session) ?? token;
          if (reason === 'connect') return last;
          const next = (await refresh()) || last;
          renewals.set(session, next);
          return next;
        },
      }),
  };
};

/** What refreshes have brought. It is the session's: the component that was asked for it may be gone. */
const renewals = new WeakMap<Session, string | undefined>();

const HOUR = 3_600_000;

const noSecrets = (): WSEError => new WSEError('WSE_ARGUMENT', 'no encryption, no signatures');

/** A promise that nobody has to wait for, and that what `work` throws rejects. */
const quiet = <T>(work: () => Promise<T>): Promise<T> => {
  const promise = (async () => work())();
  promise.catch(() => {});
  return promise;
};

const methods = (session: Session, config: { readonly current: OfflineOptions | undefined }) => {
  const explicit = new Map<string, () => void>();
  let drop = new AbortController();
  const client = (): WSEClient => session.use();
  const stats = (): ClientStats | null => session.client?.getStats() ?? null;
  return {
    stats,
    subscribe: (topics: readonly string[], options: SubscribeOptions = {}) =>
      quiet(() => {
        const result = client().subscribe(topics, options);
        // Only how long this call waits is its own.
        const { timeout: _, signal: __, ...rest } = options;
        for (const topic of topics) {
          const off = session.store.want([topic], rest);
          explicit.get(topic)?.();
          explicit.set(topic, off);
        }
        return result;
      }),
    unsubscribe(topics: readonly string[]) {
      for (const topic of topics) {
        explicit.get(topic)?.();
        explicit.delete(topic);
      }
    },
    forceReconnect() {
      if (/^(disconnected|error)$/.test(client().state)) session.replace();
      else client().forceReconnect();
    },
    changeEndpoint: (url: string) => client().changeEndpoint(url),
    sendMessage: (type: string, payload?: unknown, options: MessageOptions = {}) =>
      quiet(async () => {
        const { enabled = true, maxAge = HOUR } = config.current ?? {};
        const { priority, offline = enabled, correlation_id: correlationId, ttl = maxAge, encrypted } = options;
        if (encrypted) throw noSecrets();
        return client().send(type, payload, {
          signal: drop.signal,
          timeout: offline ? ttl : 0,
          ...(priority !== undefined && { priority }),
          ...(correlationId !== undefined && { correlationId }),
        });
      }),
    sendBatch: (messages: readonly { readonly type: string; readonly payload?: unknown }[]) =>
      quiet(() => client().sendBatch(messages.map(({ type, payload }) => [type, payload]))),
    requestSnapshot: (topics?: readonly string[]) => quiet(() => client().requestSnapshot(topics)),
    setCompression: (enabled: boolean) => quiet(() => client().send('config_update', { compression_enabled: enabled })),
    downloadDiagnostics() {
      const link = (globalThis as Page).document?.createElement('a');
      if (!link) return;
      link.href = `data:application/json,${encodeURIComponent(JSON.stringify(stats(), null, 2))}`;
      link.download = 'wse-diagnostics.json';
      link.click();
    },
    getQueueSize: () => session.client?.getStats().sendQueueSize ?? 0,
    clearOfflineQueue() {
      drop.abort();
      drop = new AbortController();
    },
    debugHandlers: () => console.log('wse', stats()),
    getClient: client,
  };
};

/**
 * Connects, and returns everything. `useWSE(token, topics, config)`, or all in one object. Components that ask for the same share one
 * connection; another token replaces it. `'cookie'` is no token: the browser's own cookie counts, and nothing is sent in its place. Without
 * arguments the connection is that of the provider above, as the provider is configured: the window is told of it with `prepare={watchWindow}`.
 */
export function useWSE(token?: string, topics?: readonly string[], config?: UseWSEConfig): UseWSEReturn;
export function useWSE(options: UseWSEOptions): UseWSEReturn;
export function useWSE(first?: string | UseWSEOptions, list?: readonly string[], rest: UseWSEConfig = {}): UseWSEReturn {
  const above = useMaybeAbove();
  const { topics, ...config } = typeof first === 'object' ? first : { ...rest, topics: list };
  const token = typeof first === 'string' ? first : undefined;
  const own: Session = useSession(
    today(token, config, () => own),
    topics,
    above && first === undefined && list === undefined ? above : undefined,
  );
  const offline = useLatest(config.offline);
  const info = useInfo(own);
  const { stats, ...functions } = useMemo(() => methods(own, offline), [own, offline]);
  return {
    ...functions,
    isConnected: info.isConnected,
    connectionHealth: info.state,
    activeTopics: info.topics,
    get stats() {
      return stats();
    },
    diagnostics: info,
  };
}
