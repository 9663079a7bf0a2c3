/**
 * Requests of this client that wait for their replies, bounded, with deadlines and cancellation; and who answers the server's, which come by
 * another way (`answering.ts`). Nothing here knows a socket.
 */

import type { Outgoing, WSEEvent } from '../protocol/types.js';
import { type Clock, MAX_TIMER } from './clock.js';
import { WSEError } from './errors.js';
import { levelOf, type SendOptions } from './outgoing.js';
import { createWait, type Wait } from './wait.js';

/** How a request is sent. `timeout` is the deadline for its reply. */
export type RequestOptions = Omit<SendOptions, 'correlationId'>;

/** What a handler of requests gets beside the payload. */
export interface RequestContext {
  readonly event: WSEEvent;
  /** Milliseconds the server waits. */
  readonly deadline: number;
  /** Aborted when the deadline passes, the server cancels, or the connection ends. */
  readonly signal: AbortSignal;
}

/** Answers requests of the server: what it returns, or resolves with, is the reply; what it throws is an error reply. */
export type RequestHandler<P = unknown> = (payload: P, context: RequestContext) => unknown;

/** Requests that wait for replies, at most. */
const LIMIT = 1_024;

/** What it needs of a client. */
export interface RequestsHost {
  readonly clock: Clock;
  readonly timeout: number;
  id(): string;
  /** Through the queue, with its errors. */
  send(message: Outgoing, options: SendOptions): Promise<void>;
  /** How many messages wait in the queue. */
  waiting(): number;
  /** At once; false without a connection. */
  write(message: Outgoing): boolean;
}

/** Requests of one client. */
export interface Requests {
  /** Requests that wait for their replies. */
  readonly size: number;
  request(type: string, payload: unknown, options?: RequestOptions): Promise<unknown>;
  /** Who answers the server's, by type. */
  readonly handlers: ReadonlyMap<string, RequestHandler>;
  /** Registers the one handler of a type. */
  handle(type: string, handler: RequestHandler): () => void;
  /** Those that wait, by their names. */
  readonly pending: ReadonlyMap<string, PendingRequest>;
  /** All names begin so: a late reply is known by it. */
  readonly mine: string;
  /** What was sent will not be answered. */
  disconnected(): void;
}

/** A request that waits for its reply. */
export interface PendingRequest {
  sent: boolean;
  readonly wait: Wait<unknown>;
}

/** No request waits yet. */
export function createRequests(host: RequestsHost): Requests {
  const { clock, timeout: patience, id, send, waiting, write } = host;
  const pending = new Map<string, PendingRequest>();
  const handlers = new Map<string, RequestHandler>();
  const mine = id().replace(/\d+$/, '');

  return {
    get size() {
      return pending.size;
    },
    async request(type, payload, { timeout = patience, signal, priority } = {}) {
      const level = levelOf(priority);
      if (pending.size >= LIMIT) throw new WSEError('WSE_QUEUE_FULL', `${LIMIT} requests wait`);
      const cid = id();
      const unsent = new AbortController();
      const wait = createWait<unknown>(clock, `${type}: no reply`, timeout, signal, (givenUp) => {
        pending.delete(cid);
        if (!entry.sent) unsent.abort();
        else if (givenUp) write({ type: 'cancel', category: 'WSE', correlationId: cid });
      });
      const entry: PendingRequest = { sent: false, wait };
      if (!signal?.aborted) {
        pending.set(cid, entry);
        const request = Math.min(timeout, MAX_TIMER);
        const message = { type, payload, correlationId: cid, request };
        const before = waiting();
        send(message, { priority: level, timeout: Infinity, signal: unsent.signal }).then(() => {
          entry.sent = true;
        }, wait.reject);
        // Known in this turn, in which the connection may end, too.
        entry.sent = waiting() === before;
      }
      return wait.promise;
    },
    pending,
    mine,
    handlers,
    handle(type, handler) {
      handlers.set(type, handler);
      return () => {
        if (handlers.get(type) === handler) handlers.delete(type);
      };
    },
    disconnected() {
      for (const { sent, wait } of pending.values()) if (sent) wait.fail('WSE_CONNECTION_LOST');
    },
  };
}
