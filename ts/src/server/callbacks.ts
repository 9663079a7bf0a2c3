/** Callback mode: functions are called for events, without a loop or a promise between. */

import { WSEStateError } from '../errors.js';
import type { Disconnection, SlowConsumer, WSEBatch, WSEEvent, WSEMessage } from '../events.js';

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
  /** A JSON object, other text, or bytes. */
  onMessage?: (conn: number, payload: WSEMessage | string | Uint8Array) => unknown;
  /** A client left; exactly once per connection. */
  onDisconnect?: (conn: number, info: Disconnection) => unknown;
  /** A connection fell behind. */
  onSlowConsumer?: (conn: number, info: SlowConsumer) => unknown;
  /** Another callback failed while it handled `event`. */
  onError?: (error: unknown, event: WSEEvent) => unknown;
}

const NAMES: readonly (keyof WSECallbacks)[] = ['onConnect', 'onMessage', 'onDisconnect', 'onSlowConsumer', 'onError'];

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

/** What a pump works with. @internal */
export interface Pumped {
  /** Begins to read: `notify` is called when there is something to take, and at the end. */
  open(notify: () => void): PumpSource;
  /** Hands over what callbacks have sent. */
  settle(): void;
  /** Whom to call now. */
  callbacks(): WSECallbacks;
  /** It reads no more. */
  over(): void;
}

/** Where a pump reads. @internal */
export interface PumpSource {
  /** The engine runs on this thread: between two turns of JavaScript. */
  readonly runsHere: boolean;
  /** null: nothing there. Whoever takes again is done with what it took before. */
  take(): WSEBatch | null;
  isOver(): boolean;
  close(): void;
}

/**
 * Calls back for each event of each batch, as soon as the engine says that there is one, until the events end. Other handles of
 * the event loop have their turn between two batches.
 *
 * @internal
 */
export function pump({ open, settle, callbacks, over }: Pumped): void {
  let waiting: WSEBatch | null = null;
  /** A turn is on its way. */
  let due = false;
  let ended = false;
  let calling = false;
  const end = (error?: unknown): void => {
    ended = true;
    source.close();
    over();
    if (error !== undefined) process.emitWarning(error instanceof Error ? error : String(error));
  };
  const next = (): WSEBatch | null => source.take() ?? (source.isOver() ? source.take() : null);
  const turn = (): void => {
    if (ended || calling) return;
    calling = true;
    due = false;
    try {
      const batch = waiting ?? next();
      waiting = null;
      if (batch !== null) {
        for (const event of batch) call(callbacks(), event);
        if (!source.runsHere) {
          // Whoever answers later in this turn is not done with it.
          due = true;
          setImmediate(turn);
          return;
        }
        settle();
        waiting = next();
      }
      due = waiting !== null;
      if (due) setImmediate(turn);
      else if (source.isOver()) end();
    } catch (error) {
      end(error);
    } finally {
      calling = false;
    }
  };
  const source = open(() => {
    if (!due) turn();
  });
  turn();
}

function call(callbacks: WSECallbacks, event: WSEEvent): void {
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
    case 'disconnect':
      return callbacks.onDisconnect?.(conn, payload);
    case 'slow_consumer':
      return callbacks.onSlowConsumer?.(conn, payload);
    default:
      return undefined;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function report(callbacks: WSECallbacks, error: unknown, event: WSEEvent): void {
  // What had arrived is handed out after stop() too; that nothing can be sent any more then is no failure of the callback.
  if (error instanceof WSEStateError && error.code === 'WSE_STOPPED') return;
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
  const text = error instanceof Error ? error.message : String(error);
  const detail = error instanceof Error ? error.stack : undefined;
  process.emitWarning(`a callback failed on '${event[0]}': ${text}`, {
    type: 'WSECallbackWarning',
    code: 'WSE_CALLBACK_FAILED',
    ...(detail === undefined ? {} : { detail }),
  });
}
