/**
 * Handing events on: handlers by name, and bounded queues that are iterated. A handler that throws is reported and never stops the
 * others. Nothing here knows what an event means.
 */

import type { Clock, TimerHandle } from './clock.js';
import { WSEError } from './errors.js';

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
  /** Whether a name, or any name, has handlers. */
  has(name?: keyof M): boolean;
}

/** Handlers of which a throw, or a rejected promise, goes to `report`. */
export function createEmitter<M>(report: (error: unknown, name: keyof M) => void): Emitter<M> {
  const handlers = new Map<keyof M, Set<(value: never) => unknown>>();
  const off = (name: keyof M, fn: (value: never) => unknown): void => {
    const set = handlers.get(name);
    if (set?.delete(fn) && set.size === 0) handlers.delete(name);
  };
  return {
    on(name, fn) {
      let set = handlers.get(name);
      if (set === undefined) handlers.set(name, (set = new Set()));
      set.add(fn);
      return () => off(name, fn);
    },
    off,
    emit(name, value) {
      const set = handlers.get(name);
      if (set === undefined) return false;
      for (const fn of [...set]) {
        try {
          const result = fn(value as never);
          if (result instanceof Promise) result.catch((error) => report(error, name));
        } catch (error) {
          report(error, name);
        }
      }
      return true;
    },
    has: (name) => (name === undefined ? handlers.size > 0 : handlers.has(name)),
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
  /** The next event; rejects with `WSE_TIMEOUT` after `timeout` milliseconds, or with what ended the queue. */
  next(timeout?: number, signal?: AbortSignal): Promise<IteratorResult<T, undefined>>;
  /** Ends it behind what waits: regularly, or with an error for whoever reads on. */
  end(error?: WSEError): void;
  /** Iterates; leaving the loop keeps what waits for the next one. */
  iterate(done?: () => void): AsyncIterableIterator<T>;
}

interface Waiter<T> {
  take(result: IteratorResult<T, undefined>): void;
  fail(error: WSEError): void;
}

/** A queue of at most `limit` events. A reader that waits gets an event without the queue. */
export function createQueue<T>(limit: number, overflow: Overflow, clock: Clock): EventQueue<T> {
  let items: T[] = [];
  let head = 0;
  const waiters = new Set<Waiter<T>>();
  let ended = false;
  let failure: WSEError | undefined;
  let taken = false;

  const shift = (): T => {
    const value = items[head] as T;
    items[head++] = undefined as T;
    if (head > 1024 && head * 2 > items.length) {
      items = items.slice(head);
      head = 0;
    }
    return value;
  };
  const over = (waiter: Waiter<T>): void => {
    if (failure === undefined) return waiter.take({ done: true, value: undefined });
    const error = failure;
    // An overflow is said once; what ended the client is said to everybody.
    if (error.code === 'WSE_OVERFLOW') {
      failure = undefined;
      ended = false;
    }
    waiter.fail(error);
  };
  const end = (error?: WSEError): void => {
    if (ended) return;
    ended = true;
    failure = error;
    for (const waiter of [...waiters]) over(waiter);
  };
  const queue: EventQueue<T> = {
    get size() {
      return items.length - head;
    },
    get taken() {
      return taken;
    },
    push(value) {
      if (ended) return failure === undefined;
      const [waiter] = waiters;
      if (waiter !== undefined) {
        waiter.take({ done: false, value });
        return true;
      }
      const full = items.length - head >= limit;
      if (full) {
        if (overflow === 'error') {
          end(new WSEError('WSE_OVERFLOW', `${limit} events wait, and nobody reads them`));
          return false;
        }
        shift();
      }
      items.push(value);
      return !full;
    },
    next(timeout, signal) {
      if (items.length > head) return Promise.resolve({ done: false, value: shift() });
      return new Promise((resolve, reject) => {
        let timer: TimerHandle;
        const leave = (): void => {
          waiters.delete(waiter);
          clock.clearTimeout(timer);
          signal?.removeEventListener('abort', abort);
        };
        const waiter: Waiter<T> = {
          take(result) {
            leave();
            resolve(result);
          },
          fail(error) {
            leave();
            reject(error);
          },
        };
        const abort = (): void => waiter.fail(new WSEError('WSE_ABORTED', 'aborted', { cause: signal?.reason }));
        if (signal?.aborted) return abort();
        if (ended) return over(waiter);
        waiters.add(waiter);
        signal?.addEventListener('abort', abort);
        if (timeout !== undefined) {
          timer = clock.setTimeout(() => waiter.fail(new WSEError('WSE_TIMEOUT', `no event within ${timeout} ms`)), timeout);
        }
      });
    },
    end,
    iterate(done) {
      taken = true;
      const leave = (): void => {
        taken = false;
        done?.();
      };
      return {
        [Symbol.asyncIterator]() {
          return this;
        },
        async next() {
          try {
            const result = await queue.next();
            if (result.done) leave();
            return result;
          } catch (error) {
            leave();
            throw error;
          }
        },
        async return() {
          leave();
          return { done: true, value: undefined };
        },
      };
    },
  };
  return queue;
}
