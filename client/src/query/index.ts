/** The entry of `wse-client/query`: topics in the cache of TanStack Query, and defaults that follow the connection. Importing it does nothing. */

'use client';

export { ADAPTIVE_DEFAULTS, type AdaptiveDefaults, adaptQueryClient, type QueryDefaults } from './adaptive.js';
export { type TopicQueryOptions, topicToCache, useTopicQuery } from './topic.js';
