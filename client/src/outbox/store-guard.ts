/** A store as its outbox uses it: one call after the other, and what becomes of them. Decides nothing else. */

import type { OutboxStore } from './types.js';

/** A store that may fail. */
export interface Guarded {
  /** Whether what is kept survives. */
  readonly durable: boolean;
  /**
   * Runs a call behind those before it. Never rejects; false: it has kept nothing. Once one has failed none is run, but those that are
   * about what the store holds already (`held`).
   */
  run(call: (store: OutboxStore) => Promise<void> | undefined, held?: boolean): Promise<boolean>;
}

/** @param failed called once, when the store fails: it gets nothing more, and keeps what it has, and its locks, until it is closed */
export function guard(store: OutboxStore, failed: (error: unknown) => void): Guarded {
  let broken = false;
  let chain: Promise<unknown> = Promise.resolve();
  return {
    get durable() {
      return !broken && store.durable;
    },
    run(call, held = false) {
      const done = chain.then(async () => {
        if (broken && !held) return false;
        try {
          await call(store);
          return true;
        } catch (error) {
          if (!broken) {
            broken = true;
            failed(error);
          }
          return false;
        }
      });
      chain = done;
      return done;
    },
  };
}
