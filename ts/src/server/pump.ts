/** Hands events to a function, batch by batch, without a loop or a promise between. Knows nothing of what is done with them. */

import type { WSEBatch, WSEEvent } from '../events.js';

/** What a pump works with. */
export interface Pumped {
  /** Begins to read: `notify` is called when there is something to take, and at the end. */
  open(notify: () => void): PumpSource;
  /** Hands over what was sent meanwhile. */
  settle(): void;
  /** Deals with one event; throws nothing. */
  handle(event: WSEEvent): void;
  /** Whether it has enough for now: nothing is taken until `go()` is called. @default never */
  isFull?(): boolean;
  /** Whether all that was dealt with is done: what is stopped ends then, once `go()` is called. @default always */
  isDone?(): boolean;
  /** It reads no more; with what went wrong, if anything did. */
  over(error?: unknown): void;
}

/** Where a pump reads. */
export interface PumpSource {
  /** The engine runs on this thread: between two turns of JavaScript. */
  readonly runsHere: boolean;
  /** null: nothing there. Whoever takes again is done with what it took before. */
  take(): WSEBatch | null;
  /** Nothing more comes; what came before may still be there. */
  isOver(): boolean;
  close(): void;
}

/** A pump that runs. */
export interface Pump {
  /** There may be room again. */
  go(): void;
  /** Reads no more. What is in hand is dealt with, and done, before it ends. */
  stop(): void;
}

/**
 * Deals with each event of each batch, as soon as the engine says that there is one, until the events end. Other handles of the
 * event loop have their turn between two batches.
 */
export function pump({ open, settle, handle, isFull = () => false, isDone = () => true, over }: Pumped): Pump {
  let waiting: WSEBatch | null = null;
  /** A turn is on its way. */
  let due = false;
  let ended = false;
  let busy = false;
  let stopped = false;
  const end = (error?: unknown): void => {
    ended = true;
    source.close();
    over(error);
  };
  const next = (): WSEBatch | null => (stopped ? null : (source.take() ?? (source.isOver() ? source.take() : null)));
  const turn = (): void => {
    if (ended || busy) return;
    due = false;
    if (isFull() && !stopped) return;
    busy = true;
    try {
      const batch = waiting ?? next();
      waiting = null;
      if (batch !== null) {
        for (const event of batch) handle(event);
        if (!source.runsHere) {
          // Whoever answers later in this turn is not done with it.
          due = true;
          setImmediate(turn);
          return;
        }
        settle();
        if (!isFull()) waiting = next();
      }
      due = waiting !== null;
      if (due) setImmediate(turn);
      else if (stopped ? isDone() : source.isOver() && !isFull()) end();
    } catch (error) {
      end(error);
    } finally {
      busy = false;
    }
  };
  const go = (): void => {
    if (!due) turn();
  };
  const source = open(go);
  turn();
  return {
    go,
    stop: () => {
      stopped = true;
      go();
    },
  };
}
