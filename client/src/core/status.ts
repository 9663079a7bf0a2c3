/** What a client knows of itself, as programs and operators read it. Types, counters, and how they are read together; nothing here acts. */

import type { Position } from '../protocol/types.js';
import type { BreakerState } from './breaker.js';
import type { Driver } from './driver.js';
import type { EndpointStats } from './endpoints.js';
import type { ConnectionState } from './machine.js';
import type { QualityMeter, QualityReport } from './quality.js';
import type { Resume, ResumeStats } from './resume.js';
import type { ServerInfo } from './server-info.js';

/** Counters since the client was made; they survive reconnects. */
export interface Counters {
  messagesReceived: number;
  messagesSent: number;
  /** Bytes of frames, text counted in characters. */
  bytesReceived: number;
  bytesSent: number;
  /** Events that found the reader's queue full, and cost the oldest one its place. */
  eventsDropped: number;
  /** Messages dropped because their id had come before. */
  duplicates: number;
  /** Frames that could not be read. */
  unreadable: number;
  /** Handlers that threw. */
  handlerErrors: number;
}

/** What `getStats()` returns. Times are milliseconds. */
export interface ClientStats extends Readonly<Counters> {
  readonly state: ConnectionState;
  readonly isReady: boolean;
  readonly isFullyReady: boolean;
  readonly connectionId: string | null;
  readonly url: string | null;
  readonly subscribedTopics: readonly string[];
  /** Connections made after the first. */
  readonly reconnectCount: number;
  /** Attempts that failed in a row. */
  readonly attempts: number;
  /** Events that wait for a reader. */
  readonly queueSize: number;
  /** Messages that wait to be sent. */
  readonly sendQueueSize: number;
  /** Requests that wait for their replies. */
  readonly pendingRequests: number;
  /** Of streams that can be recovered. */
  readonly recovery: ResumeStats & { readonly positions: Readonly<Record<string, Position>> };
  readonly network: QualityReport;
  readonly circuitBreaker: { readonly state: BreakerState; readonly canExecute: boolean } | null;
  readonly connectionPool: readonly EndpointStats[];
}

/** Zeros. */
export const createCounters = (): Counters => ({
  messagesReceived: 0,
  messagesSent: 0,
  bytesReceived: 0,
  bytesSent: 0,
  eventsDropped: 0,
  duplicates: 0,
  unreadable: 0,
  handlerErrors: 0,
});

/** The numbers of all parts together. */
export const statsOf = (
  counters: Counters,
  driver: Driver,
  server: ServerInfo,
  inbox: { readonly size: number },
  outgoing: { readonly size: number },
  requests: { readonly size: number },
  resume: Pick<Resume, 'positions' | 'stats'>,
  subscribedTopics: readonly string[],
  quality: QualityMeter,
): ClientStats => ({
  ...counters,
  state: driver.state,
  isReady: server.ready,
  isFullyReady: server.hello,
  connectionId: server.connectionId ?? null,
  url: driver.url ?? null,
  subscribedTopics,
  reconnectCount: Math.max(0, driver.connects - 1),
  attempts: driver.attempts,
  queueSize: inbox.size,
  sendQueueSize: outgoing.size,
  pendingRequests: requests.size,
  recovery: { ...resume.stats(), positions: resume.positions() },
  network: quality.read(),
  circuitBreaker: driver.breaker ? { state: driver.breaker.state, canExecute: driver.breaker.allows() } : null,
  connectionPool: driver.endpoints.stats(),
});
