/** What `connect()` can be told, and what holds where it is told nothing. Checks what cannot be meant; starts nothing. */

import type { Position } from '../protocol/types.js';
import type { BackoffOptions } from './backoff.js';
import { BACKOFF } from './backoff.js';
import type { Breaker } from './breaker.js';
import { type Clock, systemClock } from './clock.js';
import { WSEError } from './errors.js';
import type { Overflow } from './events.js';
import type { Extension } from './extension.js';
import type { Limiter } from './limiter.js';
import type { BatchPart, Part, PoolPart } from './parts.js';
import type { QualityMeter } from './quality.js';
import type { SocketConstructor, TokenPlace } from './transport.js';

/** Why a token is asked for: for an attempt, after a refusal (4401), or because the one in use is about to expire. */
export interface TokenRequest {
  readonly reason: 'connect' | 'refused' | 'expiring';
  /** Aborted when the client ends. */
  readonly signal: AbortSignal;
}

/** A token, or what gets one. Nothing (null, undefined, '') means: without one, such as where the browser's own cookie counts. */
export type TokenSource = string | ((request: TokenRequest) => string | null | undefined | Promise<string | null | undefined>);

/** What `wse-client/inbound` exports. */
export type InboundPart = (host: unknown) => unknown;

/** Options of `connect()`. Times are milliseconds. */
export interface ClientOptions {
  /**
   * The token, or a function that is called for **every** attempt. After a 4401 the function is asked again (`reason: 'refused'`), up to
   * `maxRefreshes` times in a row; a token that is a string is final, and a 4401 ends the client.
   */
  readonly token?: TokenSource;
  /** Where the token travels. Browsers cannot set headers: there name `'subprotocol'` or `'query'` as the server's `jwt.from` has it. @default 'header' in Node, Bun and Deno; 'none' in browsers, whose own cookie counts */
  readonly tokenIn?: TokenPlace;
  /** 4401 in a row after which the client ends with `error`. @default 3 with a token function, else 0 */
  readonly maxRefreshes?: number;
  /** Topics that are wanted from the start. */
  readonly topics?: readonly string[];
  /** Positions from elsewhere, such as a snapshot rendered on a server: the first subscription goes on from there. */
  readonly positions?: Readonly<Record<string, Position>>;
  /** Ends the client when it fires. */
  readonly signal?: AbortSignal;
  /** How long to wait between attempts. `false`: the first close ends the client. @default exponential, 1 s × 1.5 up to 30 s, jitter, no end */
  readonly reconnect?: Partial<BackoffOptions> | false;
  /** Close codes that end the client: with `disconnected` 1000 and 1001, which end nothing unless they are here, and with `error` others. @default none */
  readonly stopOn?: readonly number[];
  /** Until a socket is open. @default 10000 */
  readonly connectTimeout?: number;
  /** Until `server_ready`; after it the connection counts as ready without (0: at once). @default 10000 */
  readonly readyTimeout?: number;
  /** Between pings, 1 at least; `Infinity`: none. @default 15000 */
  readonly heartbeat?: number;
  /** Without any frame for so long, 1 at least, the connection is given up; `Infinity`: never, for endpoints that answer no pings (`protocol: 'raw'`). @default 40000 */
  readonly idleTimeout?: number;
  /** What `send()`, `request()`, `subscribe()` and `requestSnapshot()` wait at most. @default 10000 */
  readonly timeout?: number;
  /** Events that wait for a reader. @default 1000 */
  readonly queueSize?: number;
  /** What happens to an event that finds no place: the oldest is dropped and counted, or iteration ends with `WSE_OVERFLOW`. @default 'drop-oldest' */
  readonly overflow?: Overflow;
  /** Messages that wait to be sent. @default 1000 */
  readonly sendQueueSize?: number;
  /** Bytes of a received message, unpacked; a larger one is reported and skipped. @default 8388608 */
  readonly maxMessageSize?: number;
  /** Message ids that are remembered, so that one that comes twice is delivered once; 0: none. Stamped messages go by their offset. @default 1000 */
  readonly dedupWindow?: number;
  /** How one of several endpoints is picked: `endpointPool()`. @default one after the other, the next one after a failure */
  readonly pool?: PoolPart;
  /** Stops trying for a while after several failures: `circuitBreaker()`. @default none; waits grow by themselves */
  readonly breaker?: Part<Breaker>;
  /** Bounds what is sent: `rateLimiter()`. @default none */
  readonly rateLimit?: Part<Limiter>;
  /** Measures the network: `networkQuality()`. @default the latency alone */
  readonly quality?: Part<QualityMeter>;
  /** Lets messages share frames: `batching()`. @default none */
  readonly batch?: BatchPart;
  /** Ask for the state of all topics after each connect, for servers that do not send it by themselves. @default false */
  readonly sync?: boolean;
  /** Follow the page: hidden, frozen, restored, online, offline. @default true */
  readonly page?: boolean;
  /** WebSocket subprotocols to offer. @default none */
  readonly protocols?: readonly string[];
  /** Headers of the upgrade; not in browsers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The WebSocket to use. @default `ws` in Node where it is installed, else the platform's own */
  readonly webSocket?: SocketConstructor;
  /** What reads and answers: `inbound` of `wse-client/inbound`, where nothing may be imported later, such as in service workers. @default loaded with the first attempt */
  readonly inbound?: InboundPart;
  /** Parts that are not in this entry, such as the outbox. */
  readonly extensions?: readonly Extension[];
  /** Time. @default the platform's */
  readonly clock?: Clock;
  /** A number in [0, 1). @default Math.random */
  readonly random?: () => number;
}

const DEFAULTS = {
  connectTimeout: 10_000,
  readyTimeout: 10_000,
  heartbeat: 15_000,
  idleTimeout: 40_000,
  timeout: 10_000,
  queueSize: 1_000,
  sendQueueSize: 1_000,
  maxMessageSize: 8_388_608,
  dedupWindow: 1_000,
  overflow: 'drop-oldest' as Overflow,
  clock: systemClock as Clock,
  random: Math.random as () => number,
  stopOn: [] as readonly number[],
  protocols: [] as readonly string[],
  headers: {} as Readonly<Record<string, string>>,
};

/** What must not be less than this: nothing, or less and less, between two pings or attempts is a loop without a pause. Others begin at 0. */
const LEAST: Readonly<Record<string, number>> = {
  heartbeat: 1,
  idleTimeout: 1,
  maxDelay: 1,
  factor: 1,
  maxAttempts: -Infinity,
};

/** Options with every default in its place. */
export type Settings = ClientOptions & typeof DEFAULTS & { readonly backoff: BackoffOptions };

/** What is given, and the defaults where nothing is. */
function complete<D extends object, G extends object>(defaults: D, given: G | undefined): G & D {
  const all = { ...given } as Record<string, unknown>;
  for (const [name, value] of Object.entries(defaults)) {
    all[name] ??= value;
    const one = all[name];
    if (typeof one !== typeof value || (typeof one === 'number' && !(one >= (LEAST[name] ?? 0)))) {
      throw new WSEError('WSE_ARGUMENT', `${name}: ${one}`);
    }
  }
  return all as G & D;
}

/** @throws WSEError `WSE_ARGUMENT` where a value is not of its type, or a number is less than it may be. */
export function settle(options: ClientOptions): Settings {
  const { reconnect, inbound } = options;
  // A promise of it would fail every attempt.
  if (typeof (inbound ?? settle) !== 'function') throw new WSEError('WSE_ARGUMENT', `inbound: ${inbound}`);
  return {
    ...complete(DEFAULTS, options),
    backoff: complete(BACKOFF, reconnect === false ? { maxAttempts: 0 } : reconnect),
  };
}

/**
 * The URLs of an argument, `http` as `ws`, relative ones against the page.
 *
 * @throws WSEError `WSE_ARGUMENT` where one is no WebSocket URL, or there is none.
 */
export function urlsOf(urls: string | URL | readonly (string | URL)[]): string[] {
  const list = (Array.isArray(urls) ? urls : [urls]) as readonly (string | URL)[];
  const base = (globalThis as { location?: { href?: string } }).location?.href;
  const all = list.map((text) => {
    let url: URL | undefined;
    try {
      url = new URL(text, base);
    } catch {}
    const href = url?.href.replace(/^http/, 'ws');
    if (!href || !/^wss?:/.test(href)) throw new WSEError('WSE_ARGUMENT', `no WebSocket URL: ${text}`);
    return href;
  });
  if (all.length === 0) throw new WSEError('WSE_ARGUMENT', 'no URL');
  return all;
}
