/** Callback mode: functions are called for events, without a loop or a promise between. */

import type {
  Adoption,
  Disconnection,
  PresenceChange,
  SlowConsumer,
  SubscriptionChange,
  TokenExpiring,
  WSEEvent,
  WSEMessage,
} from '../events.js';
import { describeThrown, isStopped } from '../thrown.js';

/** What came with a client. */
export interface ConnectInfo {
  /** The raw `Cookie` header; only without JWT. */
  cookies?: string;
  /** The token's subject; only with JWT. */
  userId?: string;
}

/**
 * What a server calls. They are called one after the other, in the order of events; a promise is not waited for.
 * One that throws or rejects harms nothing: it is reported to `onError`, or as a process warning without it.
 */
export interface WSECallbacks {
  /** A client came. */
  onConnect?: (conn: number, info: ConnectInfo) => unknown;
  /** The connection's reader has left or stopped reading, and it is this one's from now on: the first that is heard of it. */
  onAdopt?: (conn: number, info: Adoption) => unknown;
  /** A JSON object, other text, or bytes. */
  onMessage?: (conn: number, payload: WSEMessage | string | Uint8Array) => unknown;
  /** A client left; exactly once per connection. */
  onDisconnect?: (conn: number, info: Disconnection) => unknown;
  /** The engine has answered a client that asked for topics (`subscriptions: 'acl'`). */
  onSubscribe?: (conn: number, info: SubscriptionChange) => unknown;
  /** The engine has answered a client that asked to be rid of topics (`subscriptions: 'acl'`), or ended what its new token does not allow. */
  onUnsubscribe?: (conn: number, info: SubscriptionChange) => unknown;
  /** A connection fell behind. */
  onSlowConsumer?: (conn: number, info: SlowConsumer) => unknown;
  /** A connection's token expires soon. */
  onAuthExpiring?: (conn: number, info: TokenExpiring) => unknown;
  /** A user's first connection is on a topic (`presence`). */
  onPresenceJoin?: (change: PresenceChange) => unknown;
  /** A user's last connection is on a topic no more. */
  onPresenceLeave?: (change: PresenceChange) => unknown;
  /** Another callback failed while it handled `event`. */
  onError?: (error: unknown, event: WSEEvent) => unknown;
}

const NAMES: readonly (keyof WSECallbacks)[] = [
  'onConnect',
  'onAdopt',
  'onMessage',
  'onDisconnect',
  'onSubscribe',
  'onUnsubscribe',
  'onSlowConsumer',
  'onAuthExpiring',
  'onPresenceJoin',
  'onPresenceLeave',
  'onError',
];

/**
 * The callbacks, if that is what they are.
 *
 * @internal
 * @throws TypeError otherwise; an unknown name would never be called.
 */
export function checkCallbacks(callbacks: WSECallbacks): WSECallbacks {
  if (typeof callbacks !== 'object' || callbacks === null) throw new TypeError('callbacks must be an object');
  for (const [name, value] of Object.entries(callbacks)) {
    if (!NAMES.includes(name as keyof WSECallbacks)) {
      throw new TypeError(`callbacks.${name} is unknown; there are ${NAMES.join(', ')}`);
    }
    if (value !== undefined && typeof value !== 'function') throw new TypeError(`callbacks.${name} must be a function`);
  }
  return { ...callbacks };
}

/** Whether there is anything to call for an event. @internal */
export function hearsAnything(callbacks: WSECallbacks): boolean {
  return NAMES.some((name) => name !== 'onError' && callbacks[name] !== undefined);
}

/** Calls back for one event; what goes wrong is reported. @internal */
export function call(callbacks: WSECallbacks, event: WSEEvent): void {
  try {
    const result = dispatch(callbacks, event);
    if (isThenable(result)) result.then(undefined, (error: unknown) => report(callbacks, error, event));
  } catch (error) {
    report(callbacks, error, event);
  }
}

function dispatch(callbacks: WSECallbacks, event: WSEEvent): unknown {
  const [type, conn, payload] = event;
  switch (type) {
    case 'msg':
    case 'raw':
    case 'bin':
      return callbacks.onMessage?.(conn, payload);
    case 'connect':
      return callbacks.onConnect?.(conn, { cookies: payload });
    case 'auth_connect':
      return callbacks.onConnect?.(conn, { userId: payload });
    case 'adopt':
      return callbacks.onAdopt?.(conn, payload);
    case 'disconnect':
      return callbacks.onDisconnect?.(conn, payload);
    case 'subscribe':
      return callbacks.onSubscribe?.(conn, payload);
    case 'unsubscribe':
      return callbacks.onUnsubscribe?.(conn, payload);
    case 'slow_consumer':
      return callbacks.onSlowConsumer?.(conn, payload);
    case 'auth_expiring':
      return callbacks.onAuthExpiring?.(conn, payload);
    case 'presence_join':
      return callbacks.onPresenceJoin?.(payload);
    case 'presence_leave':
      return callbacks.onPresenceLeave?.(payload);
    default:
      return undefined;
  }
}

/** Whether `value` is a promise of any make. @internal */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function report(callbacks: WSECallbacks, error: unknown, event: WSEEvent): void {
  if (isStopped(error)) return;
  if (callbacks.onError === undefined) {
    warn(error, event);
    return;
  }
  try {
    const result = callbacks.onError(error, event);
    if (isThenable(result)) result.then(undefined, (second: unknown) => warn(second, event));
  } catch (second) {
    warn(second, event);
  }
}

function warn(error: unknown, event: WSEEvent): void {
  const { text, detail } = describeThrown(error);
  process.emitWarning(`a callback failed on '${event[0]}': ${text}`, {
    type: 'WSECallbackWarning',
    code: 'WSE_CALLBACK_FAILED',
    ...detail,
  });
}
