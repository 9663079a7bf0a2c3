/** Topics in the cache of TanStack Query: the last value of each under its key, once a frame. Asks for nothing by itself. */

import { type QueryClient, type QueryKey, skipToken, type UseQueryResult, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import type { Off } from '../index.js';
import { useAbove } from '../react/hooks.js';
import type { TopicStore } from '../react/topic-store.js';

/** How a topic is cached. */
export interface TopicQueryOptions<T> {
  /** @default ['wse', topic] */
  readonly queryKey?: QueryKey;
  /** Gets the state to begin with, over HTTP for instance. @default none: pending until the first message */
  readonly queryFn?: () => Promise<T>;
}

/** Writes what a topic says into a cache, until the function it returns is called. */
export function topicToCache(store: TopicStore, queries: QueryClient, topic: string, queryKey: QueryKey = ['wse', topic]): Off {
  const write = (): void => {
    const { value } = store.get(topic);
    if (value !== undefined) queries.setQueryData(queryKey, value);
  };
  const off = store.watch(topic, write);
  write();
  return off;
}

/** A topic of the provider above as a query: what it says goes to the cache, for every component and for code that reads the cache. */
export function useTopicQuery<T = unknown>(topic: string, options: TopicQueryOptions<T> = {}): UseQueryResult<T> {
  const { queryKey = ['wse', topic], queryFn } = options;
  const { store } = useAbove();
  const queries = useQueryClient();
  const key = JSON.stringify(queryKey);
  useEffect(() => topicToCache(store, queries, topic, JSON.parse(key)), [store, queries, topic, key]);
  return useQuery<T>({ queryKey, queryFn: queryFn ?? skipToken });
}
