/** The server's requests: handlers run, bounded in number and in time, and what they return is the reply. Loaded with the first of them. */

import type { Outgoing, WSEEvent } from '../protocol/types.js';
import type { Clock } from './clock.js';
import type { RequestHandler } from './requests.js';

/** What it needs of a client. */
export interface AnsweringHost {
  readonly clock: Clock;
  readonly handlers: ReadonlyMap<string, RequestHandler>;
  /** Handlers that run, at most. */
  readonly limit: number;
  /** What one request more is answered. */
  readonly busy: { readonly code: string; readonly message: string };
  /** At once; false without a connection. */
  write(message: Outgoing): boolean;
  report(error: unknown, type: string): void;
}

/** Answers the requests of one client's server. */
export interface Answering {
  /** A request and how long it waits, ms; without that a cancellation. */
  take(event: WSEEvent, deadline: number | undefined): void;
  /** What was asked cannot be answered any more. */
  disconnected(): void;
}

/** No handler runs yet. */
export function createAnswering({ clock, handlers, limit, busy, write, report }: AnsweringHost): Answering {
  const running = new Map<string, AbortController>();
  /** Handlers that have not come to an end, whatever became of their requests. */
  let working = 0;

  const answer = async (event: WSEEvent, deadline: number): Promise<void> => {
    const { type, correlationId: cid = '' } = event;
    const handler = handlers.get(type);
    const fail = (code: string, message: string): boolean =>
      write({ type: 'reply', category: 'WSE', correlationId: cid, error: { code, message } });
    // One that is over may have a handler still, whose signal is aborted.
    if (running.get(cid)?.signal.aborted === false) return void fail('DUPLICATE_REQUEST', 'A request of this name is open');
    if (handler === undefined) return void fail('NOT_HANDLED', `Nobody answers ${type}`);
    if (working >= limit) return void fail(busy.code, busy.message);
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
    take(event, deadline) {
      if (deadline === undefined) running.get(event.correlationId as string)?.abort();
      else void answer(event, deadline);
    },
    disconnected() {
      for (const controller of running.values()) controller.abort();
    },
  };
}
