/**
 * The entry of `wse-client/store`: the published clients' zustand stores, filled by `bindStore(client)`. They show what a client knows and
 * decide nothing; actions that set something change what is shown, not the client.
 */

export { type BindOptions, bindStore } from './bind.js';
export { type MessageQueueState, type QueuedMessage, type QueueStats, useMessageQueueStore } from './queue.js';
export { useWSEStore, type WSEState, type WSEValues } from './state.js';
