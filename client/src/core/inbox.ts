/**
 * Who reads events by iterating: one queue from the beginning for the first reader, one of its own for each further. It stops to collect when
 * nobody has ever read.
 */

import type { Clock } from './clock.js';
import type { WSEError } from './errors.js';
import { createQueue, type EventQueue, type Overflow } from './events.js';

/** The readers of one client. */
export interface Inbox<T> {
  /** Events that wait for the first reader. */
  readonly size: number;
  push(event: T): void;
  next(timeout?: number, signal?: AbortSignal): Promise<IteratorResult<T, undefined>>;
  iterate(): AsyncIterableIterator<T>;
  end(error?: WSEError): void;
}

/** `dropped` is called for each event that a reader lost. */
export function createInbox<T>(limit: number, overflow: Overflow, clock: Clock, dropped: () => void): Inbox<T> {
  const queue = (): EventQueue<T> => createQueue(limit, overflow, clock);
  let first = queue();
  const others = new Set<EventQueue<T>>();
  let read = false;
  let collecting = true;
  let over: { readonly error: WSEError | undefined } | undefined;
  const begin = (): EventQueue<T> => {
    read = true;
    collecting = true;
    return first;
  };
  return {
    get size() {
      return first.size;
    },
    push(event) {
      if (collecting && !first.push(event)) {
        if (read) dropped();
        else {
          // Handlers do all the work here: a full queue would hold its memory for nobody.
          collecting = false;
          first = queue();
        }
      }
      for (const other of others) if (!other.push(event)) dropped();
    },
    next: (timeout, signal) => begin().next(timeout, signal),
    iterate() {
      if (!begin().taken) return first.iterate();
      const own = queue();
      others.add(own);
      if (over) own.end(over.error);
      return own.iterate(() => others.delete(own));
    },
    end(error) {
      over = { error };
      for (const one of [first, ...others]) one.end(error);
    },
  };
}
