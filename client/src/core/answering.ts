/** What the server asks, and what it replies: handlers run, bounded in number and in time, and what they return is the reply; requests end. */

import type { Outgoing, WSEEvent } from '../protocol/types.js';
import type { Clock } from './clock.js';
import type { Requests } from './requests.js';
import type { Shared } from './shared.js';

/** Handlers that run, at most. */
const LIMIT = 1_024;

/** What it needs of a client. */
export interface AnsweringHost {
  readonly clock: Clock;
  readonly shared: Pick<Shared, 'WSEError'>;
  /** Who answers, and who waits for replies. */
  readonly requests: Pick<Requests, 'handlers' | 'pending' | 'mine'>;
  /** At once, unless `check` throws; false without a connection. */
  write(message: Outgoing, check?: (text: string) => void): boolean;
  /** @throws WSEError `WSE_TOO_LARGE` where the server takes no text of this size */
  fits(text: string): void;
  report(error: unknown, type: string): void;
}

/** Answers the requests of one client's server. */
export interface Answering {
  /** Takes a message that is a request, a reply or a cancellation; false: it is none. */
  take(event: WSEEvent, raw: Readonly<Record<string, unknown>>): boolean;
  /** What was asked cannot be answered any more. */
  disconnected(): void;
}

/** No handler runs yet. */
export function createAnswering({ clock, shared, requests, write, fits, report }: AnsweringHost): Answering {
  const { handlers } = requests;
  const running = new Map<string, AbortController>();
  /** Handlers that have not come to an end, whatever became of their requests. */
  let working = 0;

  const answer = async (event: WSEEvent, deadline: number): Promise<void> => {
    const { type, correlationId: cid = '' } = event;
    const fail = (code: string, message: string): boolean =>
      write({ type: 'reply', category: 'WSE', correlationId: cid, error: { code, message } });
    // One that is over may have a handler still, whose signal is aborted.
    if (running.get(cid)?.signal.aborted === false) return void fail('DUPLICATE_REQUEST', 'A request of this name is open');
    if (working >= LIMIT) return void fail('BUSY', 'Too many requests');
    const controller = new AbortController();
    const { signal } = controller;
    running.set(cid, controller);
    working += 1;
    const timer = clock.setTimeout(() => controller.abort(), deadline);
    try {
      // Who has just heard of the connection is about to register theirs, a few microtasks later.
      if (!handlers.has(type)) await new Promise<void>((resolve) => clock.setTimeout(resolve, 0));
      const handler = handlers.get(type);
      if (signal.aborted) return;
      if (!handler) return void fail('NOT_HANDLED', `Nobody answers ${type}`);
      const payload = await handler(event.payload, { event, deadline, signal });
      if (!signal.aborted) write({ type: 'reply', category: 'U', payload: payload ?? null, correlationId: cid }, fits);
    } catch (error) {
      const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
      if (!signal.aborted) fail(typeof code === 'string' ? code : 'HANDLER_ERROR', String(message ?? error));
      report(error, type);
    } finally {
      working -= 1;
      clock.clearTimeout(timer);
      if (running.get(cid) === controller) running.delete(cid);
    }
  };

  return {
    take(event, raw) {
      const { type, correlationId: cid } = event;
      // Names have at most 128 characters (docs/protocol.md §18); with another one it is an ordinary message.
      if (!cid || cid.length > 128) return false;
      if (type === 'reply') {
        const waiting = requests.pending.get(cid)?.wait;
        const error = raw['err'] as { code?: unknown; message?: unknown } | undefined;
        if (error) {
          const remote = { code: String(error.code), message: String(error.message ?? '') };
          waiting?.reject(new shared.WSEError('WSE_REPLY_ERROR', `${remote.code}: ${remote.message}`, { remote }));
        } else waiting?.resolve(event.payload);
        return waiting !== undefined || cid.startsWith(requests.mine);
      }
      const deadline = raw['rq'];
      if (type === 'cancel' && event.category === 'WSE') running.get(cid)?.abort();
      else if (typeof deadline === 'number' && deadline > 0) void answer(event, deadline);
      else return false;
      return true;
    },
    disconnected() {
      for (const controller of running.values()) controller.abort();
    },
  };
}
