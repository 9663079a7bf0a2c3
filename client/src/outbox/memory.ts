/** A store that keeps nothing beyond its outbox: for what need not survive a reload, and where nothing else can be had. */

import type { OutboxStore } from './types.js';

/** A store whose messages end with the page or the process. */
export function memoryStore(): OutboxStore {
  const nothing = async (): Promise<void> => {};
  return { durable: false, open: nothing, put: nothing, assign: nothing, remove: nothing, forget: nothing, close: nothing };
}
