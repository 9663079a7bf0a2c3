/** Defaults of a TanStack query client that follow the connection: a good one trusts what is pushed, a bad one spares the network. */

import type { Off, Quality, WSEClient } from '../index.js';

/** The part of a `QueryClient` that is used. */
export interface QueryDefaults {
  getDefaultOptions(): { readonly queries?: object };
  setDefaultOptions(options: { readonly queries: object }): void;
}

/** What holds for queries at one quality. Times are milliseconds. */
export interface AdaptiveDefaults {
  /** How long data count as fresh. */
  readonly staleTime: number;
  /** Attempts after a failure. */
  readonly retry: number;
  readonly refetchOnWindowFocus: boolean;
}

/** What holds by default: the worse the network, the longer data are good enough, and the less is asked at once. */
export const ADAPTIVE_DEFAULTS: Readonly<Record<Quality | 'offline', AdaptiveDefaults>> = {
  excellent: { staleTime: 5_000, retry: 3, refetchOnWindowFocus: true },
  good: { staleTime: 15_000, retry: 3, refetchOnWindowFocus: true },
  fair: { staleTime: 60_000, retry: 2, refetchOnWindowFocus: false },
  poor: { staleTime: 300_000, retry: 1, refetchOnWindowFocus: false },
  unknown: { staleTime: 15_000, retry: 3, refetchOnWindowFocus: true },
  // Nothing is pushed now: what is there gets old.
  offline: { staleTime: 0, retry: 1, refetchOnWindowFocus: false },
};

/** Sets defaults by quality until the function it returns is called, which puts back what was there before. */
export function adaptQueryClient<E extends object>(
  client: WSEClient<E>,
  queries: QueryDefaults,
  defaults: Readonly<Record<Quality | 'offline', AdaptiveDefaults>> = ADAPTIVE_DEFAULTS,
): Off {
  const before = queries.getDefaultOptions();
  let last: AdaptiveDefaults | undefined;
  const set = (): void => {
    const next = defaults[client.isConnected ? client.connectionQuality : 'offline'];
    if (next === last) return;
    last = next;
    queries.setDefaultOptions({ ...before, queries: { ...before.queries, ...next } });
  };
  set();
  const offs = [client.watch('state', set), client.watch('quality', set)];
  return () => {
    for (const off of offs) off();
    queries.setDefaultOptions({ queries: {}, ...before });
  };
}
