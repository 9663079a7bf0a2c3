/** Hands events to a function, batch by batch, without a loop or a promise between. Knows nothing of what is done with them. */

import type { WSEBatch, WSEEvent } from '../events.js';

/** What a pump works with. */
export interface Pumped {
  /**
   * Begins to read: `notify` is called when there is something to take, and at the end. The engine itself calls `ring`, which on its own
   * thread returns true when all that was taken is done with: the engine then looks whether there is more, and rings again.
   */
  open(notify: () => void, ring: () => boolean): PumpSource;
  /** What is sent from here on is handed over by `settle()`, which is called in the same turn. */
  hold(): void;
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
export function pump({ open, hold, settle, handle, isFull = () => false, isDone = () => true, over }: Pumped): Pump {
  let waiting: WSEBatch | null = null;
  /** A turn is on its way. */
  let due = false;
  let ended = false;
  let busy = false;
  let stopped = false;
  /** Nothing more comes, as was said when nothing was there. */
  let dry = false;
  const end = (error?: unknown): void => {
    ended = true;
    source.close();
    over(error);
  };
  const next = (): WSEBatch | null => {
    if (stopped) return null;
    const batch = source.take();
    if (batch !== null) return batch;
    dry = source.isOver();
    // What came between the look that found nothing and the end.
    return dry ? source.take() : null;
  };
  /** Whether it is done with all it took. `rung`: who calls asks that, and calls again if there is more. */
  const turn = (rung = false): boolean => {
    if (ended || busy) return false;
    due = false;
    if (isFull() && !stopped) return false;
    busy = true;
    dry = false;
    try {
      const batch = waiting ?? next();
      waiting = null;
      if (batch !== null) {
        if (!source.runsHere) {
          for (const event of batch) handle(event);
          // Whoever answers later in this turn is not done with it.
          due = true;
          setImmediate(turn);
          return false;
        }
        hold();
        try {
          for (const event of batch) handle(event);
        } finally {
          settle();
        }
        // What it has sent goes out before anybody looks for more.
        if (rung && source.runsHere && !isFull() && !stopped) return true;
        if (!isFull()) waiting = next();
      }
      due = waiting !== null;
      if (due) setImmediate(turn);
      else if (stopped ? isDone() : dry && !isFull()) end();
    } catch (error) {
      end(error);
    } finally {
      busy = false;
    }
    return false;
  };
  const go = (): void => {
    if (!due) turn();
  };
  const source = open(go, () => !due && turn(true));
  turn();
  return {
    go,
    stop: () => {
      stopped = true;
      go();
    },
  };
}
