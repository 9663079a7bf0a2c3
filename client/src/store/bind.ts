/** What keeps the stores true: a client's notices and numbers, written into them. Never writes to the client. */

import type { EventOf, Off, WSEClient, WSEError } from '../index.js';
import { useMessageQueueStore } from './queue.js';
import { useWSEStore } from './state.js';

/** What is bound. */
export interface BindOptions {
  /** Milliseconds between readings of the counters. @default 1000 */
  readonly interval?: number;
  /** Whether what comes goes into `useMessageQueueStore`, where your program takes it. @default false */
  readonly queue?: boolean;
}

/**
 * Shows a client in `useWSEStore` until the function it returns is called, or the client has ended. There is one store in a page: the
 * client bound last is shown.
 */
export function bindStore<E extends object>(client: WSEClient<E>, { interval = 1_000, queue = false }: BindOptions = {}): Off {
  const store = useWSEStore;
  const actions = store.getState();
  actions.reset();
  let timer: unknown;
  const read = (): void => {
    const stats = client.getStats();
    const { network, circuitBreaker, connectionPool, recovery, sendQueueSize, subscribedTopics, url, state } = stats;
    const wanted = client.wantedTopics;
    const { subscriptions, metrics, circuitBreaker: breaker } = store.getState();
    const open = wanted.filter((topic) => !client.subscribedTopics.has(topic));
    const failed = subscriptions.failedSubscriptions.filter((topic) => open.includes(topic));
    store.setState({
      connectionState: state,
      activeEndpoint: url,
      endpoints: connectionPool,
      metrics: { ...metrics, ...stats },
      diagnostics: network,
      circuitBreaker: { ...breaker, state: circuitBreaker?.state ?? 'closed', failures: stats.attempts },
      messageQueue: { size: sendQueueSize },
      activeTopics: subscribedTopics,
      subscriptions: {
        ...subscriptions,
        topics: wanted,
        pendingSubscriptions: open.filter((topic) => !failed.includes(topic)),
        failedSubscriptions: failed,
        recoveryState: recovery.positions,
        serverRecoveryEnabled: client.recoveryEnabled,
      },
    });
  };
  const tick = (): void => {
    read();
    timer = setTimeout(tick, interval);
    // In Node: numbers alone keep no process alive.
    (timer as { unref?(): void }).unref?.();
  };
  let unnamed = 0;
  const offs = [
    client.watch('state', read),
    client.watch('quality', ({ latency }) => {
      read();
      if (latency !== null) actions.recordLatency(latency);
    }),
    client.watch('subscription', ({ action, failed }) => {
      if (action === 'subscribe') for (const { topic } of failed) actions.failSubscription(topic);
      read();
    }),
    client.watch('error', (error) => {
      // The default of who watches nothing, which this must not take away.
      console.error(error);
      actions.setLastError(error.message, (error as WSEError).code);
    }),
    client.onAny((event) => {
      const { type, payload, id, priority = 5 } = event as EventOf<Record<string, unknown>>;
      if (type === 'error') {
        const { message, code } = (payload ?? {}) as { message?: unknown; code?: string };
        actions.setLastError(String(message ?? code), code);
      }
      if (!queue) return;
      const message = { id: id ?? `queued-${++unnamed}`, type, payload, priority, timestamp: Date.now() };
      useMessageQueueStore.getState().enqueue(message);
    }),
  ];
  const off = (): void => {
    clearTimeout(timer as number);
    for (const one of offs) one();
  };
  tick();
  void client.closed.then(off);
  return off;
}
