/** `serve()`: from a pump through the lanes to the handlers, with an end that is waited for. */

import { toOptions } from '../arguments.js';
import { describe } from '../describe.js';
import type { WSEEvent } from '../events.js';
import { Answers } from './answers.js';
import { checkHandlers, HandlerCaller, type WSEHandlers } from './handlers.js';
import { Lanes } from './lanes.js';
import { type Pump, type PumpSource, pump } from './pump.js';

const CONCURRENCY = 1024;
const MAX_WAITING = 4096;
const MAX_LIMIT = 2 ** 24;
/** Milliseconds after which a server that is full but gets on says so. */
const EXCUSE_MS = 1000;
/** An unexpected condition on the side of the server (RFC 6455 §7.4.1). */
const INTERNAL_ERROR = 1011;

/** How {@link RustWSEServer.serve} works. */
export interface ServeOptions {
  /** Handlers in progress at most, over all connections of this thread. @default 1024 */
  concurrency?: number;
  /**
   * Events that may wait for handlers in progress, over all connections of this thread; then nothing is read until half of them are
   * done, and clients feel it once `maxInboundQueueSize` is reached. At most 1024 more may wait, what one batch brings. @default 4096
   */
  maxWaiting?: number;
  /** `'close'`: a connection whose handler throws or rejects is closed with 1011, besides what `error` does. @default 'report' */
  onError?: 'report' | 'close';
  /** Ends it: nothing more is read, what was read is still handled, and the promise resolves. @default none */
  signal?: AbortSignal;
}

/** What serving works with. @internal */
export interface Served {
  open(notify: () => void, ring: () => boolean): PumpSource;
  hold(): void;
  settle(): void;
  /** Closes a connection. */
  close(conn: number, code: number): void;
  /** Sends text to a connection. */
  send(conn: number, text: string): void;
  /** Whether there is such a connection. */
  isOpen(conn: number): boolean;
  /** This reader is busy, and will come for more. */
  excuse(): void;
  /** Called with what ends the reading; undefined once it has ended. */
  onReading(stop: (() => void) | undefined): void;
}

/**
 * Serves until the events end or `signal` says so, and resolves once all handlers are done.
 *
 * @internal
 * @throws TypeError for handlers or options that are none.
 */
export function serve(given: WSEHandlers, options: ServeOptions, served: Served): Promise<void> {
  const handlers = checkHandlers(given);
  const { concurrency = CONCURRENCY, maxWaiting = MAX_WAITING, onError = 'report', signal } = toOptions(options, 'options');
  toLimit(concurrency, 'concurrency');
  toLimit(maxWaiting, 'maxWaiting');
  if (onError !== 'report' && onError !== 'close') throw new TypeError(`onError must be 'report' or 'close'`);
  if (signal?.aborted) return Promise.resolve();

  const answers = new Answers(served.send);
  const close = (conn: number): void => served.close(conn, INTERNAL_ERROR);
  const caller = new HandlerCaller(handlers, onError === 'close' ? close : () => {}, answers);
  return new Promise((resolve, reject) => {
    let over = false;
    let ending = false;
    let seen = 0;
    let reading: Pump | undefined;
    const lanes = new Lanes({
      work: (event: WSEEvent) => caller.call(event),
      concurrency,
      maxWaiting,
      onRoom: () => {
        if (over && lanes.isIdle) resolve();
        else reading?.go();
      },
    });
    // A reader that is full is not one that has stopped reading, as long as handlers come to an end.
    const excuse = setInterval(() => {
      if (lanes.isFull || ending) {
        if (lanes.done !== seen) served.excuse();
        // Nor is anything read then that would say so.
        answers.sweep(served.isOpen);
      }
      seen = lanes.done;
    }, EXCUSE_MS);
    excuse.unref();
    // Connections go to other readers once what was read of them is done, or two readers would be at work on one.
    const stop = (): void => {
      ending = true;
      reading?.stop();
    };
    signal?.addEventListener('abort', stop, { once: true });
    const end = (error?: unknown): void => {
      over = true;
      clearInterval(excuse);
      signal?.removeEventListener('abort', stop);
      served.onReading(undefined);
      if (error !== undefined) reject(error);
      else if (lanes.isIdle) resolve();
    };
    try {
      reading = pump({
        open: served.open,
        hold: served.hold,
        settle: served.settle,
        // Before it waits for its turn: what cancels a request must not wait for the request.
        handle: (event) => {
          if (answers.admit(event)) lanes.bring(event);
        },
        isFull: () => lanes.isFull,
        isDone: () => lanes.isIdle,
        over: end,
      });
      if (over) return;
      served.onReading(stop);
      // A handler of the first batch may have asked for the end already.
      if (ending) reading.stop();
    } catch (error) {
      end(error);
    }
  });
}

function toLimit(value: unknown, name: string): void {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > MAX_LIMIT) {
    throw new TypeError(`${name} must be a whole number from 1 to ${MAX_LIMIT}, not ${describe(value)}`);
  }
}
