/** The handlers of `serve()`: what they are, which of them an event is for, and what becomes of their failures. Keeps no order. */

import { describe } from '../describe.js';
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
import type { Answers, IncomingRequest, OpenRequest } from './answers.js';
import { type ConnectInfo, isThenable } from './callbacks.js';

/**
 * What `serve()` calls. Each may be asynchronous: the next event of its connection waits for the promise, other connections do not.
 * They are called as methods of the object they were given in. What `message` returns, or resolves with, answers the request of a
 * client; what the others do is ignored.
 */
export interface WSEHandlers {
  /** A client came. */
  connect?(conn: number, info: ConnectInfo): unknown;
  /** The connection's reader has left or stopped reading, and it is this one's from now on: the first that is heard of it. */
  adopt?(conn: number, info: Adoption): unknown;
  /**
   * A JSON object, other text, or bytes. `request` is there where the client waits for an answer: what is returned, unless it is
   * `undefined`, or the {@link WSERequestError} that is thrown.
   */
  message?(conn: number, payload: WSEMessage | string | Uint8Array, request?: IncomingRequest): unknown;
  /** A client left; exactly once per connection, behind everything else of it. */
  disconnect?(conn: number, info: Disconnection): unknown;
  /** The engine has answered a client that asked for topics (`subscriptions: 'acl'`). */
  subscribe?(conn: number, info: SubscriptionChange): unknown;
  /** The engine has answered a client that asked to be rid of topics (`subscriptions: 'acl'`), or ended what its new token does not allow. */
  unsubscribe?(conn: number, info: SubscriptionChange): unknown;
  /** A connection fell behind. */
  slowConsumer?(conn: number, info: SlowConsumer): unknown;
  /** A connection's token expires soon: it is closed unless `refreshToken()`, or its client, gives it another one. */
  authExpiring?(conn: number, info: TokenExpiring): unknown;
  /** A user's first connection is on a topic (`presence`). What is told of one topic is handled in order. */
  presenceJoin?(change: PresenceChange): unknown;
  /** A user's last connection is on a topic no more. */
  presenceLeave?(change: PresenceChange): unknown;
  /** A handler threw or rejected while it handled `event`; `conn` is null where that is of no connection. @default a process warning */
  error?(error: unknown, conn: number | null, event: WSEEvent): unknown;
}

const NAMES: readonly (keyof WSEHandlers)[] = [
  'connect',
  'adopt',
  'message',
  'disconnect',
  'subscribe',
  'unsubscribe',
  'slowConsumer',
  'authExpiring',
  'presenceJoin',
  'presenceLeave',
  'error',
];

/** Milliseconds between two warnings about failures nobody handles. */
const WARN_MS = 10_000;

/**
 * The handlers, if that is what they are.
 *
 * @throws TypeError otherwise; of a plain object an unknown name would never be called.
 */
export function checkHandlers(handlers: WSEHandlers): WSEHandlers {
  if (typeof handlers !== 'object' || handlers === null || Array.isArray(handlers)) {
    throw new TypeError(`handlers must be an object, not ${describe(handlers)}`);
  }
  for (const name of NAMES) {
    const value: unknown = handlers[name];
    if (value !== undefined && typeof value !== 'function') throw new TypeError(`handlers.${name} must be a function`);
  }
  // An instance of a class has members of its own.
  const prototype: unknown = Object.getPrototypeOf(handlers);
  if (prototype === Object.prototype || prototype === null) {
    const unknown = Object.keys(handlers).find((name) => !NAMES.includes(name as keyof WSEHandlers));
    if (unknown !== undefined) throw new TypeError(`handlers.${unknown} is unknown; there are ${NAMES.join(', ')}`);
  }
  if (NAMES.every((name) => name === 'error' || handlers[name] === undefined)) {
    throw new TypeError(`handlers has none of ${NAMES.filter((name) => name !== 'error').join(', ')}`);
  }
  return handlers;
}

/** Calls handlers, one event at a time, and sees to their failures. */
export class HandlerCaller {
  readonly #handlers: WSEHandlers;
  readonly #onFailure: (conn: number) => void;
  readonly #answers: Answers;
  #warned = Number.NEGATIVE_INFINITY;
  #unsaid = 0;

  /**
   * @param onFailure runs for the connection of each failure, before `error`
   * @param answers takes what handlers return
   */
  constructor(handlers: WSEHandlers, onFailure: (conn: number) => void, answers: Answers) {
    this.#answers = answers;
    this.#handlers = handlers;
    this.#onFailure = onFailure;
  }

  /** Calls the handler of an event. undefined: it is done; else a promise that never rejects. */
  call(event: WSEEvent): Promise<void> | undefined {
    if (event[0] === 'msg') {
      const request = this.#answers.of(event[2]);
      if (request !== undefined) return this.#answer(event, event[2], request);
    }
    try {
      const result = this.#dispatch(event);
      if (!isThenable(result)) return undefined;
      return Promise.resolve(result).then(ignore, (error: unknown) => this.#fail(error, event));
    } catch (error) {
      return this.#fail(error, event);
    }
  }

  /** Calls the handler of a request, and sends what it makes of it. */
  #answer(event: WSEEvent, payload: WSEMessage, request: OpenRequest): Promise<void> | undefined {
    // It has waited for its turn too long: nobody wants to know.
    if (request.isOver) return this.#answers.end(payload, request) as undefined;
    const refuse = (error: unknown): Promise<void> | undefined => {
      this.#answers.end(payload, request);
      return this.#answers.refuse(request, error) ? undefined : this.#fail(error, event);
    };
    const reply = (value: unknown): Promise<void> | undefined => {
      try {
        this.#answers.reply(request, value);
        this.#answers.end(payload, request);
        return undefined;
      } catch (error) {
        return refuse(error);
      }
    };
    try {
      const result = this.#handlers.message?.(request.conn, payload, request);
      return isThenable(result) ? Promise.resolve(result).then(reply, refuse) : reply(result);
    } catch (error) {
      return refuse(error);
    }
  }

  #dispatch(event: WSEEvent): unknown {
    const handlers = this.#handlers;
    const [type, conn, payload] = event;
    switch (type) {
      case 'msg':
      case 'raw':
      case 'bin':
        return handlers.message?.(conn, payload);
      case 'connect':
        return handlers.connect?.(conn, { cookies: payload });
      case 'auth_connect':
        return handlers.connect?.(conn, { userId: payload });
      case 'adopt':
        return handlers.adopt?.(conn, payload);
      case 'disconnect':
        return handlers.disconnect?.(conn, payload);
      case 'subscribe':
        return handlers.subscribe?.(conn, payload);
      case 'unsubscribe':
        return handlers.unsubscribe?.(conn, payload);
      case 'slow_consumer':
        return handlers.slowConsumer?.(conn, payload);
      case 'auth_expiring':
        return handlers.authExpiring?.(conn, payload);
      case 'presence_join':
        return handlers.presenceJoin?.(payload);
      case 'presence_leave':
        return handlers.presenceLeave?.(payload);
      default:
        return undefined;
    }
  }

  #fail(error: unknown, event: WSEEvent): Promise<void> | undefined {
    if (isStopped(error)) return undefined;
    const conn = event[1];
    if (conn !== null) this.#onFailure(conn);
    const handlers = this.#handlers;
    if (handlers.error === undefined) {
      this.#warn(error, event, 'a handler');
      return undefined;
    }
    try {
      const result = handlers.error(error, conn, event);
      if (!isThenable(result)) return undefined;
      return Promise.resolve(result).then(ignore, (second: unknown) => this.#warn(second, event, 'handlers.error'));
    } catch (second) {
      this.#warn(second, event, 'handlers.error');
      return undefined;
    }
  }

  /** At most one in {@link WARN_MS}, with the number of those that were not said. */
  #warn(error: unknown, event: WSEEvent, who: string): void {
    const now = performance.now();
    if (now - this.#warned < WARN_MS) {
      this.#unsaid += 1;
      return;
    }
    const more = this.#unsaid > 0 ? ` (and ${this.#unsaid} more failures since the last warning)` : '';
    this.#warned = now;
    this.#unsaid = 0;
    const { text, detail } = describeThrown(error);
    const of = event[1] === null ? 'a topic' : `connection ${event[1]}`;
    process.emitWarning(`${who} failed on '${event[0]}' of ${of}: ${text}${more}`, {
      type: 'WSEHandlerWarning',
      code: 'WSE_HANDLER_FAILED',
      ...detail,
    });
  }
}

function ignore(): void {}
