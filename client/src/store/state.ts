/** `useWSEStore`: one connection as a zustand store, in the words of the published one. Kept true by `bind.ts`. */

import { create, type StoreApi, type UseBoundStore } from 'zustand';
import type { BreakerState, ClientStats, ConnectionState, EndpointStats, Position, Quality, QualityReport } from '../index.js';

/** An error as it is kept. */
export interface StoredError {
  readonly message: string;
  readonly code: string | number | undefined;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

/** What the store shows. */
export interface WSEValues {
  readonly connectionState: ConnectionState;
  readonly activeEndpoint: string | null;
  readonly preferredEndpoint: string | null;
  readonly endpoints: readonly EndpointStats[];
  /** Counters of the client; latencies in ms, null before the first. `compressionRatio` is 1: nothing that is sent is compressed. */
  readonly metrics: Partial<ClientStats> & {
    readonly compressionRatio: number;
    readonly avgLatency: number | null;
    readonly p95Latency: number | null;
    readonly p99Latency: number | null;
  };
  readonly diagnostics: QualityReport | null;
  readonly circuitBreaker: {
    readonly state: BreakerState;
    readonly threshold: number;
    readonly timeout: number;
    readonly failures: number;
  };
  /** Messages that wait to be sent. */
  readonly messageQueue: { readonly size: number };
  readonly security: { readonly encryptionEnabled: false; readonly messageSignature: false };
  readonly subscriptions: {
    readonly topics: readonly string[];
    readonly pendingSubscriptions: readonly string[];
    readonly failedSubscriptions: readonly string[];
    readonly lastUpdate: number | null;
    readonly recoveryState: Readonly<Record<string, Position>>;
    readonly serverRecoveryEnabled: boolean;
  };
  readonly activeTopics: readonly string[];
  readonly lastError: StoredError | null;
  /** The last 100, the newest at the end. */
  readonly errorHistory: readonly StoredError[];
  readonly config: {
    readonly reconnectEnabled: boolean;
    readonly maxReconnectAttempts: number;
    readonly healthCheckInterval: number;
    readonly metricsInterval: number;
  };
}

/** The store: its values, and what can be done with them. */
export interface WSEState extends WSEValues {
  setConnectionState(state: ConnectionState): void;
  setActiveEndpoint(url: string | null): void;
  setPreferredEndpoint(url: string | null): void;
  updateMetrics(metrics: Partial<WSEValues['metrics']>): void;
  /** A round trip in ms: a moving mean (0.9 and 0.1), percentiles over the last 100. */
  recordLatency(ms: number): void;
  updateCircuitBreaker(breaker: Partial<WSEValues['circuitBreaker']>): void;
  resetCircuitBreaker(): void;
  setActiveTopics(topics: readonly string[]): void;
  addPendingSubscription(topic: string): void;
  confirmSubscription(topic: string): void;
  failSubscription(topic: string): void;
  setServerRecoveryEnabled(enabled: boolean): void;
  updateRecoveryState(positions: Readonly<Record<string, Position>>): void;
  removeRecoveryTopics(topics: readonly string[]): void;
  updateDiagnostics(diagnostics: QualityReport | null): void;
  setLastError(error: string, code?: string | number): void;
  clearErrors(): void;
  updateConfig(config: Partial<WSEValues['config']>): void;
  isConnected(): boolean;
  /** Whether another attempt is to be expected or can be asked for. */
  canReconnect(): boolean;
  getConnectionQuality(): Quality;
  reset(): void;
}

const EMPTY: WSEValues = {
  connectionState: 'pending',
  activeEndpoint: null,
  preferredEndpoint: null,
  endpoints: [],
  metrics: { compressionRatio: 1, avgLatency: null, p95Latency: null, p99Latency: null },
  diagnostics: null,
  circuitBreaker: { state: 'closed', threshold: 5, timeout: 60_000, failures: 0 },
  messageQueue: { size: 0 },
  security: { encryptionEnabled: false, messageSignature: false },
  subscriptions: {
    topics: [],
    pendingSubscriptions: [],
    failedSubscriptions: [],
    lastUpdate: null,
    recoveryState: {},
    serverRecoveryEnabled: false,
  },
  activeTopics: [],
  lastError: null,
  errorHistory: [],
  config: { reconnectEnabled: true, maxReconnectAttempts: -1, healthCheckInterval: 15_000, metricsInterval: 1_000 },
};
const ERRORS = 100;
const LATENCIES = 100;

/** The connection that `bindStore` was given, as a hook and a zustand store. */
export const useWSEStore: UseBoundStore<StoreApi<WSEState>> = /* @__PURE__ */ create<WSEState>()((set, get) => {
  let latencies: number[] = [];
  const subscriptions = (change: Partial<WSEValues['subscriptions']>): void =>
    set((state) => ({ subscriptions: { ...state.subscriptions, ...change, lastUpdate: Date.now() } }));
  const without = (list: readonly string[], topic: string): string[] => list.filter((one) => one !== topic);
  return {
    ...EMPTY,
    setConnectionState: (connectionState) => set({ connectionState }),
    setActiveEndpoint: (activeEndpoint) => set({ activeEndpoint }),
    setPreferredEndpoint: (preferredEndpoint) => set({ preferredEndpoint }),
    updateMetrics: (metrics) => set((state) => ({ metrics: { ...state.metrics, ...metrics } })),
    recordLatency(ms) {
      latencies = [...latencies.slice(1 - LATENCIES), ms];
      const sorted = [...latencies].sort((a, b) => a - b);
      const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] as number;
      const { avgLatency } = get().metrics;
      const mean = avgLatency === null ? ms : 0.9 * avgLatency + 0.1 * ms;
      get().updateMetrics({ avgLatency: mean, p95Latency: at(0.95), p99Latency: at(0.99) });
    },
    updateCircuitBreaker: (breaker) => set((state) => ({ circuitBreaker: { ...state.circuitBreaker, ...breaker } })),
    resetCircuitBreaker: () => set({ circuitBreaker: EMPTY.circuitBreaker }),
    setActiveTopics(topics) {
      set({ activeTopics: topics });
      subscriptions({ topics });
    },
    addPendingSubscription: (topic) =>
      subscriptions({ pendingSubscriptions: [...without(get().subscriptions.pendingSubscriptions, topic), topic] }),
    confirmSubscription(topic) {
      const { pendingSubscriptions, failedSubscriptions } = get().subscriptions;
      subscriptions({
        pendingSubscriptions: without(pendingSubscriptions, topic),
        failedSubscriptions: without(failedSubscriptions, topic),
      });
      get().setActiveTopics([...without(get().activeTopics, topic), topic]);
    },
    failSubscription(topic) {
      const { pendingSubscriptions, failedSubscriptions } = get().subscriptions;
      subscriptions({
        pendingSubscriptions: without(pendingSubscriptions, topic),
        failedSubscriptions: [...without(failedSubscriptions, topic), topic],
      });
    },
    setServerRecoveryEnabled: (serverRecoveryEnabled) => subscriptions({ serverRecoveryEnabled }),
    updateRecoveryState: (recoveryState) => subscriptions({ recoveryState }),
    removeRecoveryTopics(topics) {
      const left = Object.entries(get().subscriptions.recoveryState).filter(([topic]) => !topics.includes(topic));
      subscriptions({ recoveryState: Object.fromEntries(left) });
    },
    updateDiagnostics: (diagnostics) => set({ diagnostics }),
    setLastError(message, code) {
      const lastError = { message, code, timestamp: Date.now() };
      set(({ errorHistory }) => ({ lastError, errorHistory: [...errorHistory.slice(1 - ERRORS), lastError] }));
    },
    clearErrors: () => set({ lastError: null, errorHistory: [] }),
    updateConfig: (config) => set((state) => ({ config: { ...state.config, ...config } })),
    isConnected: () => /^(connected|degraded)$/.test(get().connectionState),
    canReconnect: () => get().config.reconnectEnabled && get().circuitBreaker.state !== 'open',
    getConnectionQuality: () => get().diagnostics?.quality ?? 'unknown',
    reset() {
      latencies = [];
      set(EMPTY);
    },
  };
});
