/** The entry of `wse-client/react`: a provider, hooks, and the store behind them. Importing it does nothing. */

'use client';

export { nextFrame, type Schedule } from './frame.js';
export {
  useClient,
  useConnection,
  usePresence,
  useTopic,
  useTopicEvents,
  WSEProvider,
  type WSEProviderProps,
} from './hooks.js';
export { watchWindow } from './page-events.js';
export type { ConnectionInfo, SessionConfig } from './session.js';
export {
  createTopicStore,
  type InitialTopic,
  type PresenceOptions,
  type TopicReducer,
  type TopicState,
  type TopicStore,
  type TopicStoreOptions,
} from './topic-store.js';
export {
  type MessageOptions,
  type OfflineOptions,
  type UseWSEConfig,
  type UseWSEOptions,
  type UseWSEReturn,
  useWSE,
} from './use-wse.js';
