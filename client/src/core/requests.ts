/**
 * Requests and their replies, both ways: what was asked and waits for its answer, and what the server asks. Bounded, with deadlines and
 * cancellation. Nothing here knows a socket.
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

/** Requests that wait for replies, and handlers that run, at most. */
const LIMIT = 1_024;

/** What it needs of a client. */
export interface RequestsHost {
  readonly clock: Clock;
  readonly timeout: number;
  id(): string;
  /** Through the queue, with its errors. */
  send(message: Outgoing, timeout: number, signal?: AbortSignal): Promise<void>;
  /** How many messages wait in the queue. */
  waiting(): number;
  /** At once; false without a connection. */
  write(message: Outgoing): boolean;
  report(error: unknown, type: string): void;
}

/** Requests of one client. */
export interface Requests {
  /** Requests that wait for their replies. */
  readonly size: number;
  request(type: string, payload: unknown, options?: RequestOptions): Promise<unknown>;
  /** Registers the one handler of a type. */
  handle(type: string, handler: RequestHandler): () => void;
  /** Takes a message that is a request, a reply or a cancellation; false: it is none. */
  take(event: WSEEvent, raw: Readonly<Record<string, unknown>>): boolean;
  /** What was sent will not be answered, and what was asked cannot be. */
  disconnected(): void;
}

interface Pending {
  sent: boolean;
  readonly wait: Wait<unknown>;
}

/** No request waits yet. */
export function createRequests({ clock, timeout: patience, id, send, waiting, write, report }: RequestsHost): Requests {
  const pending = new Map<string, Pending>();
  const handlers = new Map<string, RequestHandler>();
  const running = new Map<string, AbortController>();
  /** Handlers that have not come to an end, whatever became of their requests. */
  let working = 0;
  /** Ours begin so: a late reply is known by it. */
  const mine = id().replace(/\d+$/, '');

  const answer = async (event: WSEEvent, deadline: number): Promise<void> => {
    const { type, correlationId: cid = '' } = event;
    const handler = handlers.get(type);
    const fail = (code: string, message: string): boolean =>
      write({ type: 'reply', category: 'WSE', correlationId: cid, error: { code, message } });
    // One that is over may have a handler still, whose signal is aborted.
    if (running.get(cid)?.signal.aborted === false) return void fail('DUPLICATE_REQUEST', 'is open');
    if (handler === undefined) return void fail('NOT_HANDLED', `nobody answers ${type}`);
    if (working >= LIMIT) return void fail('BUSY', 'too many requests');
    const controller = new AbortController();
    running.set(cid, controller);
    working += 1;
    const timer = clock.setTimeout(() => controller.abort(), deadline);
    try {
      const payload = await handler(event.payload, { event, deadline, signal: controller.signal });
      if (!controller.signal.aborted) write({ type: 'reply', category: 'U', payload: payload ?? null, correlationId: cid });
    } catch (error) {
      const { code, message } = error as { code?: unknown; message?: unknown };
      if (!controller.signal.aborted) fail(typeof code === 'string' ? code : 'HANDLER_ERROR', String(message ?? error));
      report(error, type);
    } finally {
      working -= 1;
      clock.clearTimeout(timer);
      if (running.get(cid) === controller) running.delete(cid);
    }
  };

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
      const entry: Pending = { sent: false, wait };
      if (!signal?.aborted) {
        pending.set(cid, entry);
        const request = Math.min(timeout, MAX_TIMER);
        const message = { type, payload, correlationId: cid, request, priority: level };
        const before = waiting();
        send(message, Infinity, unsent.signal).then(() => {
          entry.sent = true;
        }, wait.reject);
        // Known in this turn, in which the connection may end, too.
        entry.sent = waiting() === before;
      }
      return wait.promise;
    },
    handle(type, handler) {
      handlers.set(type, handler);
      return () => {
        if (handlers.get(type) === handler) handlers.delete(type);
      };
    },
    take(event, raw) {
      const { type, correlationId: cid } = event;
      // Names have at most 128 characters (docs/protocol.md §18); with another one it is an ordinary message.
      if (!cid || cid.length > 128) return false;
      if (type === 'cancel' && event.category === 'WSE') {
        running.get(cid)?.abort();
        return true;
      }
      if (type === 'reply') {
        const waiting = pending.get(cid);
        const error = raw['err'] as { code?: unknown; message?: unknown } | undefined;
        if (error) {
          const remote = { code: String(error.code), message: String(error.message ?? '') };
          waiting?.wait.reject(new WSEError('WSE_REPLY_ERROR', `${remote.code}: ${remote.message}`, { remote }));
        } else waiting?.wait.resolve(event.payload);
        return waiting !== undefined || cid.startsWith(mine);
      }
      const deadline = raw['rq'];
      if (typeof deadline !== 'number' || !(deadline > 0)) return false;
      void answer(event, deadline);
      return true;
    },
    disconnected() {
      for (const controller of running.values()) controller.abort();
      for (const { sent, wait } of pending.values()) if (sent) wait.fail('WSE_CONNECTION_LOST');
    },
  };
}
