/** A store as its outbox uses it: one call after the other, and once one fails the memory is all there is. Decides nothing else. */

import { memoryStore } from './memory.js';
import type { OutboxStore } from './types.js';

/** A store that may fail. */
export interface Guarded {
  /** Whether what is kept survives. */
  readonly durable: boolean;
  /** Runs a call behind those before it; never rejects. */
  run(call: (store: OutboxStore) => Promise<void>): Promise<void>;
}

/** @param failed called once, when the store fails; from there on nothing is stored */
export function guard(store: OutboxStore, failed: (error: unknown) => void): Guarded {
  let current = store;
  let chain: Promise<void> = Promise.resolve();
  return {
    get durable() {
      return current.durable;
    },
    run(call) {
      chain = chain.then(async () => {
        const used = current;
        try {
          await call(used);
        } catch (error) {
          if (used !== current) return;
          current = memoryStore();
          failed(error);
          // It gives up what it holds, as far as it can.
          await used.close().catch(() => {});
        }
      });
      return chain;
    },
  };
}
