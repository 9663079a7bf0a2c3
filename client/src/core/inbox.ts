/**
 * Who reads events by iterating: one place from the beginning for the first reader, one of its own for each further. Each is bounded, and a
 * reader that waits gets an event without it. Until somebody has read, what
 * handlers hear finds no place in a full queue, and is nobody's loss.
 */

import type { Clock } from './clock.js';
import { WSEError } from './errors.js';
import type { Overflow } from './events.js';
import { createWait, type Wait } from './wait.js';

/** The readers of one client. */
export interface Inbox<T> {
  /** Events that wait for the first reader. */
  readonly size: number;
  /** `heard`: a handler has it already. */
  push(event: T, heard?: boolean): void;
  /** The next event for the first reader; rejects with `WSE_TIMEOUT` after `timeout` milliseconds, `WSE_ABORTED`, or what ended it. */
  next(timeout?: number, signal?: AbortSignal): Promise<IteratorResult<T, undefined>>;
  /** Iterates; leaving the loop keeps what waits for the first reader for the next one. */
  iterate(): AsyncIterableIterator<T>;
  /** Ends it behind what waits: regularly, or with an error for whoever reads on. */
  end(error?: WSEError): void;
}

type Result<T> = IteratorResult<T, undefined>;

/** What one reader gets. */
interface Place<T> {
  items: T[];
  readonly waits: Set<Wait<Result<T>>>;
  /** What it is told behind the last event. */
  over: { readonly error: WSEError | undefined } | undefined;
}

/** `dropped` is called for each event that a reader lost. */
export function createInbox<T>(limit: number, overflow: Overflow, clock: Clock, dropped: () => void): Inbox<T> {
  let over: Place<T>['over'];
  const open = (): Place<T> => ({ items: [], waits: new Set(), over });
  const first = open();
  const places = new Set([first]);
  let read = false;
  /** Something came that no handler has heard. */
  let unheard = false;
  let taken = false;

  const begin = (): Place<T> => {
    read = true;
    places.add(first);
    return first;
  };
  const settle = (place: Place<T>, { resolve, reject }: Wait<Result<T>>): void => {
    const error = place.over?.error;
    // An overflow is said once; what has ended the client is said to everybody.
    if (error?.code === 'WSE_OVERFLOW') place.over = over;
    if (error) reject(error);
    else resolve({ done: true, value: undefined });
  };
  /** Nothing comes any more; a loss that was not told is told first. */
  const finish = (place: Place<T>, how: Place<T>['over']): void => {
    place.over ??= how;
    for (const wait of place.waits) settle(place, wait);
  };
  const next = async (place: Place<T>, timeout?: number, signal?: AbortSignal): Promise<Result<T>> => {
    const { items, waits } = place;
    if (items.length > 0) return { done: false, value: items.shift() as T };
    const wait = createWait<Result<T>>(clock, 'no event', timeout, signal, () => waits.delete(wait));
    waits.add(wait);
    if (place.over) settle(place, wait);
    return wait.promise;
  };
  return {
    get size() {
      return first.items.length;
    },
    push(event, heard) {
      if (over) return;
      if (!heard && !unheard) {
        unheard = true;
        places.add(first);
      }
      for (const place of places) {
        const { items, waits } = place;
        const [wait] = waits;
        if (wait) wait.resolve({ done: false, value: event });
        else if (!place.over && items.length < limit) items.push(event);
        else if (!read && heard) {
          if (unheard) continue;
          // Handlers do all the work here: a full queue would hold its memory for nobody.
          places.clear();
          place.items = [];
        } else {
          dropped();
          if (overflow === 'error') place.over ??= { error: new WSEError('WSE_OVERFLOW', `${limit} events wait`) };
          else {
            items.shift();
            items.push(event);
          }
        }
      }
    },
    next: (timeout, signal) => next(begin(), timeout, signal),
    iterate() {
      begin();
      const place = taken ? open() : first;
      taken = true;
      places.add(place);
      const leave = (): void => {
        if (place === first) taken = false;
        else {
          places.delete(place);
          place.items = [];
          finish(place, { error: undefined });
        }
      };
      return {
        [Symbol.asyncIterator]() {
          return this;
        },
        async next() {
          let result: Result<T> | undefined;
          try {
            result = await next(place);
            return result;
          } finally {
            if (result?.done !== false) leave();
          }
        },
        async return() {
          leave();
          return { done: true, value: undefined };
        },
      };
    },
    end(error) {
      over = { error };
      for (const place of places.add(first)) finish(place, over);
    },
  };
}
