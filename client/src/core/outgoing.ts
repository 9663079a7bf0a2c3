/**
 * What waits to be sent: bounded, by priority and then by age, held back while there is no connection, while the socket has too much to
 * carry, or while the rate is used up. It knows texts, not messages.
 */

import type { Clock, TimerHandle } from './clock.js';
import { WSEError } from './errors.js';
import type { Limiter } from './limiter.js';
import { createWait, type Wait } from './wait.js';

/** Five levels; the numbers are those of the wire (`pri`). */
export type Priority = 'critical' | 'high' | 'normal' | 'low' | 'background' | 10 | 8 | 5 | 3 | 1;

/** How a message is sent. */
export interface SendOptions {
  /** What goes first of what waits; `pri` of the wire. @default 'normal' */
  readonly priority?: Priority;
  /** `cid` of the wire. */
  readonly correlationId?: string;
  /** How long it may wait to be sent, ms; 0: not at all; `Infinity`: as long as it takes. @default the client's `timeout` */
  readonly timeout?: number;
  /** Takes it back as long as it waits. */
  readonly signal?: AbortSignal;
}

/** Names of levels, highest first. */
const LEVELS: Record<string, number> = { critical: 10, high: 8, normal: 5, low: 3, background: 1 };
/** Their numbers, in the order they are sent. */
export const ORDER: readonly number[] = [10, 8, 5, 3, 1];

/** The number of a priority. @throws WSEError `WSE_ARGUMENT` where there is no such level */
export function levelOf(priority: Priority = 5): Priority & number {
  const level = LEVELS[priority] ?? priority;
  if (!ORDER.includes(level as number)) throw new WSEError('WSE_ARGUMENT', `no priority: ${priority}`);
  return level as Priority & number;
}

/** Bytes a socket may have taken and not sent before messages wait here, where priority still counts. */
export const HIGH_WATER = 262_144;
/** Browsers do not say when a socket's buffer is empty: how often to look, ms. */
export const LOOK_MS = 20;

interface Entry {
  readonly data: string;
  readonly wait: Wait<void>;
}

/** What it needs of a connection. */
export interface OutgoingHost {
  readonly clock: Clock;
  readonly limit: number;
  readonly limiter: Limiter | undefined;
  /** Bytes waiting in the socket; undefined: not ready to send. */
  buffered(): number | undefined;
  /** Writes; may throw a `WSEError` about this text alone. */
  write(data: string): void;
}

/** Texts on their way to the socket. */
export interface OutgoingQueue {
  /** Texts that wait. */
  readonly size: number;
  /** Sends, now or later. Rejects with `WSE_QUEUE_FULL`, `WSE_TIMEOUT`, `WSE_ABORTED`, or what ended the client. */
  add(data: string, level: number, timeout: number, signal?: AbortSignal): Promise<void>;
  /** Sends what can be sent. */
  flush(): void;
  /** Rejects everything that waits. */
  end(error: WSEError): void;
}

/** An empty queue. */
export function createOutgoing({ clock, limit, limiter, buffered, write }: OutgoingHost): OutgoingQueue {
  const levels = ORDER.map(() => new Set<Entry>());
  let size = 0;
  let timer: TimerHandle;
  let waiting = false;

  /** Milliseconds until it is worth trying again; 0: send now; undefined: not before a connection. */
  const hold = (): number | undefined => {
    const bytes = buffered();
    if (bytes === undefined) return undefined;
    if (bytes > HIGH_WATER) return LOOK_MS;
    return limiter?.take() === false ? Math.max(1, limiter.retryIn()) : 0;
  };
  const flush = (): void => {
    clock.clearTimeout(timer);
    waiting = false;
    for (const set of levels) {
      for (const { data, wait } of set) {
        const ms = hold();
        if (ms !== 0) {
          waiting = ms !== undefined;
          if (ms) timer = clock.setTimeout(flush, ms);
          return;
        }
        try {
          write(data);
          wait.resolve();
        } catch (error) {
          wait.reject(error);
        }
      }
    }
  };
  return {
    get size() {
      return size;
    },
    async add(data, level, timeout, signal) {
      if (size === 0 && !signal?.aborted && hold() === 0) return write(data);
      if (size >= limit) throw new WSEError('WSE_QUEUE_FULL', `${limit} messages wait`);
      const set = levels[ORDER.indexOf(level)] as Set<Entry>;
      size += 1;
      const wait: Wait<void> = createWait(clock, 'not sent', timeout, signal, () => {
        size -= 1;
        set.delete(entry);
      });
      const entry = { data, wait };
      if (!signal?.aborted) set.add(entry);
      if (!waiting) flush();
      return wait.promise;
    },
    flush,
    end(error) {
      clock.clearTimeout(timer);
      for (const set of levels) for (const { wait } of set) wait.reject(error);
    },
  };
}
