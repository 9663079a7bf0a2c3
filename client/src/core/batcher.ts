/**
 * Batcher: gathers items until they are enough or the first of them has waited long enough. It keeps their order and never more
 * than one batch; it does not know what becomes of them.
 */

/** The timers a batch needs; a `Clock` has them. */
export interface BatchTimers {
  /** Call `run` once in `ms` milliseconds. */
  setTimeout(run: () => void, ms: number): unknown;
  /** Do not. */
  clearTimeout(handle: unknown): void;
}

/** When a batch is complete, and what becomes of it. */
export interface BatcherOptions<Item> {
  /** Items of a full batch. @default 10 */
  readonly size?: number;
  /** How long the first item of a batch waits at most, ms. @default 100 */
  readonly delay?: number;
  /** Where timers come from. */
  readonly clock: BatchTimers;
  /** Takes a batch: 1 to `size` items in the order they were added. What it adds itself begins the next one. */
  readonly flush: (items: Item[]) => void;
}

/** Gathers items. */
export interface Batcher<Item> {
  /** Put an item at the end; the one that fills the batch flushes it. False: closed, it was not taken. */
  add(item: Item): boolean;
  /** Hand on what waits, and take nothing any more. */
  close(): void;
}

/** An empty batcher. */
export function createBatcher<Item>({ size = 10, delay = 100, clock, flush }: BatcherOptions<Item>): Batcher<Item> {
  let items: Item[] = [];
  let timer: unknown;
  let closed = false;

  const send = () => {
    if (items.length === 0) return;
    clock.clearTimeout(timer);
    const batch = items;
    // Before the call: what it adds is the next batch, and what it throws costs nobody a second delivery.
    items = [];
    flush(batch);
  };

  return {
    add(item) {
      if (closed) return false;
      if (items.push(item) >= size) send();
      else if (items.length === 1) timer = clock.setTimeout(send, delay);
      return true;
    },
    close() {
      closed = true;
      send();
    },
  };
}
