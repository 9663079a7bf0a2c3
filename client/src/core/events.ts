/**
 * Handing events on: handlers by name, and bounded queues that are iterated. A handler that throws is reported and never stops the
 * others. Nothing here knows what an event means.
 */

import type { Clock } from './clock.js';
import { WSEError } from './errors.js';
import { createWait, type Wait } from './wait.js';

/** What ends a subscription to events; calling it again does nothing. */
export type Off = () => void;

/** Handlers by name. */
export interface Emitter<M> {
  /** Adds a handler; the same function twice is called once. */
  on<K extends keyof M>(name: K, fn: (value: M[K]) => void): Off;
  /** Removes a handler. */
  off<K extends keyof M>(name: K, fn: (value: M[K]) => void): void;
  /** Calls all handlers of a name, in the order they came; false if there are none. */
  emit<K extends keyof M>(name: K, value: M[K]): boolean;
}

/** Handlers of which a throw, or a rejected promise, goes to `report`. */
export function createEmitter<M>(report: (error: unknown, name: keyof M) => void): Emitter<M> {
  const handlers = new Map<keyof M, Set<(value: never) => unknown>>();
  const off: Emitter<M>['off'] = (name, fn) => {
    const set = handlers.get(name);
    if (set?.delete(fn) && set.size === 0) handlers.delete(name);
  };
  return {
    on(name, fn) {
      handlers.set(name, (handlers.get(name) ?? new Set()).add(fn));
      return () => off(name, fn);
    },
    off,
    emit(name, value) {
      const all = [...(handlers.get(name) ?? [])];
      for (const fn of all) {
        try {
          const result = fn(value as never);
          if (result instanceof Promise) result.catch((error) => report(error, name));
        } catch (error) {
          report(error, name);
        }
      }
      return all.length > 0;
    },
  };
}

/** What happens to an event that finds a queue full: the oldest makes room and is counted, or iteration ends with `WSE_OVERFLOW`. */
export type Overflow = 'drop-oldest' | 'error';

/** A bounded queue of events for one reader at a time. */
export interface EventQueue<T> {
  /** Events that wait. */
  readonly size: number;
  /** Whether somebody iterates. */
  readonly taken: boolean;
  /** Adds an event; false if one was lost for it. */
  push(value: T): boolean;
  /** The next event; rejects with `WSE_TIMEOUT` after `timeout` milliseconds, `WSE_ABORTED`, or what ended the queue. */
  next(timeout?: number, signal?: AbortSignal): Promise<IteratorResult<T, undefined>>;
  /** Ends it behind what waits: regularly, or with an error for whoever reads on. */
  end(error?: WSEError): void;
  /** Iterates; leaving the loop keeps what waits for the next one. */
  iterate(left?: () => void): AsyncIterableIterator<T>;
}

/** A queue of at most `limit` events. A reader that waits gets an event without the queue. */
export function createQueue<T>(limit: number, overflow: Overflow, clock: Clock): EventQueue<T> {
  const items: T[] = [];
  const waits = new Set<Wait<IteratorResult<T, undefined>>>();
  /** What readers are told behind the last event. */
  let over: { error?: WSEError | undefined } | undefined;
  let taken = false;

  const settle = (wait: Wait<IteratorResult<T, undefined>>): void => {
    const error = over?.error;
    // An overflow is said once; what has ended the client is said to everybody.
    if (error?.code === 'WSE_OVERFLOW') over = undefined;
    if (error) wait.reject(error);
    else wait.resolve({ done: true, value: undefined });
  };
  const end = (error?: WSEError): void => {
    over = { error };
    for (const wait of waits) settle(wait);
  };
  const queue: EventQueue<T> = {
    get size() {
      return items.length;
    },
    get taken() {
      return taken;
    },
    push(value) {
      if (over) return !over.error;
      for (const wait of waits) {
        wait.resolve({ done: false, value });
        return true;
      }
      const full = items.length >= limit;
      if (full) {
        if (overflow === 'error') {
          end(new WSEError('WSE_OVERFLOW', `${limit} events wait`));
          return false;
        }
        items.shift();
      }
      items.push(value);
      return !full;
    },
    next(timeout, signal) {
      if (items.length > 0) return Promise.resolve({ done: false, value: items.shift() as T });
      const wait = createWait<IteratorResult<T, undefined>>(clock, 'no event', timeout, signal, () => waits.delete(wait));
      waits.add(wait);
      if (over) settle(wait);
      return wait.promise;
    },
    end,
    iterate(left) {
      taken = true;
      const leave = (): void => {
        taken = false;
        left?.();
      };
      return {
        [Symbol.asyncIterator]() {
          return this;
        },
        next: () =>
          queue.next().then(
            (result) => {
              if (result.done) leave();
              return result;
            },
            (error) => {
              leave();
              throw error;
            },
          ),
        async return() {
          leave();
          return { done: true, value: undefined };
        },
      };
    },
  };
  return queue;
}
