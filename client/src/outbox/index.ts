/** The entry of `wse-client/outbox`: `createOutbox()` and the stores that need no more than a browser. Importing it does nothing. */

export { indexedDBStore } from './indexeddb.js';
export { memoryStore } from './memory.js';
export { createOutbox } from './outbox.js';
export type {
  Outbox,
  OutboxLoss,
  OutboxMessage,
  OutboxNotices,
  OutboxOptions,
  OutboxRecord,
  OutboxStore,
  StoredStream,
} from './types.js';
