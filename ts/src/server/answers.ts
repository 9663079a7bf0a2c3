/** The requests of clients that `serve()` answers: which are open, who has given up, and what is sent back. Calls no handler. */

import { WSERequestError } from '../errors.js';
import type { WSEEvent, WSEMessage } from '../events.js';
import { refusalOf } from '../thrown.js';
import { failureText, replyText } from './request-wire.js';

/** What a client is told of a failure that says nothing of itself: neither its text nor where it was. */
const FAILED: readonly [code: string, message: string] = ['HANDLER_FAILED', 'The request could not be handled'];
/** What a client is told that gives a request the name of one that is open. */
const DUPLICATE: readonly [code: string, message: string] = ['DUPLICATE_REQUEST', 'A request of this name is open'];
/** Characters of a request's name, at most. */
const MAX_ID = 128;
/** The longest timer there is, milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A request of a client, as its handler gets it: the third argument of `handlers.message`. */
export interface IncomingRequest {
  /** Its name, the client's: `cid`. */
  readonly id: string;
  /** Milliseconds the client waits for the answer, from when it asked. */
  readonly timeoutMs: number;
  /** Aborted once nobody waits for the answer: the client has cancelled, its time is over, or it is gone. */
  readonly signal: AbortSignal;
}

/** One that is open. */
class OpenRequest implements IncomingRequest {
  readonly conn: number;
  readonly id: string;
  readonly timeoutMs: number;
  readonly #until: number;
  #controller: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #why: WSERequestError | undefined;

  constructor(conn: number, id: string, timeoutMs: number) {
    this.conn = conn;
    this.id = id;
    this.timeoutMs = timeoutMs;
    this.#until = performance.now() + timeoutMs;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      if (this.isOver) controller.abort(this.#why);
      else {
        this.#timer = setTimeout(
          () => this.isOver || this.#expire(),
          Math.min(this.#until - performance.now() + 1, MAX_TIMER_MS),
        );
        this.#timer.unref();
      }
    }
    return this.#controller.signal;
  }

  /** Whether nobody waits for the answer any more. */
  get isOver(): boolean {
    if (this.#why === undefined && performance.now() > this.#until) this.#expire();
    return this.#why !== undefined;
  }

  #expire(): void {
    this.end(new WSERequestError('TIMEOUT', 'the client waits no longer'));
  }

  end(why: WSERequestError): void {
    this.#why ??= why;
    this.close();
    this.#controller?.abort(this.#why);
  }

  /** Whether it is what the handler was told by its signal. */
  isReason(error: unknown): boolean {
    return error !== undefined && error === this.#why;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

/** All open requests of one `serve()`. */
export class Answers {
  readonly #send: (conn: number, text: string) => void;
  readonly #open = new Map<WSEMessage, OpenRequest>();
  readonly #byConn = new Map<number, Map<string, OpenRequest>>();

  /** @param send to a connection; may throw */
  constructor(send: (conn: number, text: string) => void) {
    this.#send = send;
  }

  /** Looks at an event before it waits for its turn; false: it was for us, and no handler hears of it. */
  admit(event: WSEEvent): boolean {
    const [type, conn, payload] = event;
    if (type === 'msg') {
      if (payload['rq'] !== undefined) return this.#begin(conn, payload);
      if (payload.c === 'WSE' && payload.t === 'cancel' && typeof payload['cid'] === 'string') {
        this.#byConn.get(conn)?.get(payload['cid'])?.end(new WSERequestError('CANCELLED', 'the client has cancelled'));
        return false;
      }
    } else if (type === 'disconnect' && this.#byConn.size > 0) {
      this.#leave(conn);
    }
    return true;
  }

  /** Ends the requests of connections that are gone, whose last event nobody has taken: a reader that is full, or ends, takes none. */
  sweep(isOpen: (conn: number) => boolean): void {
    for (const conn of [...this.#byConn.keys()]) if (!isOpen(conn)) this.#leave(conn);
  }

  #leave(conn: number): void {
    const gone = new WSERequestError('DISCONNECTED', 'the client is gone');
    // Who is told may end one of them at once.
    for (const request of [...(this.#byConn.get(conn)?.values() ?? [])]) request.end(gone);
  }

  /** False: the name is taken, and that was the answer. */
  #begin(conn: number, payload: WSEMessage): boolean {
    const { cid, rq } = payload;
    // Without both there is nobody to answer: an ordinary message.
    if (typeof cid !== 'string' || cid.length < 1 || cid.length > MAX_ID) return true;
    if (typeof rq !== 'number' || !(rq > 0)) return true;
    const own = this.#byConn.get(conn);
    // One that is over may have a handler still, whose signal is aborted.
    if (own?.get(cid)?.isOver === false) {
      this.#fail(conn, cid, DUPLICATE);
      return false;
    }
    const request = new OpenRequest(conn, cid, rq);
    this.#open.set(payload, request);
    if (own === undefined) this.#byConn.set(conn, new Map([[cid, request]]));
    else own.set(cid, request);
    return true;
  }

  /** The request that this message is. */
  of(payload: WSEMessage): OpenRequest | undefined {
    return payload['rq'] === undefined ? undefined : this.#open.get(payload);
  }

  /** Its handler is done, or is not called at all. */
  end(payload: WSEMessage, request: OpenRequest): void {
    request.close();
    this.#open.delete(payload);
    const own = this.#byConn.get(request.conn);
    if (own?.get(request.id) === request) own.delete(request.id);
    if (own?.size === 0) this.#byConn.delete(request.conn);
  }

  /**
   * Sends what the handler has made of it; nothing for `undefined`, and nothing once nobody waits.
   *
   * @throws TypeError for a value without a JSON form; as `send()`.
   */
  reply(request: OpenRequest, value: unknown): void {
    if (value !== undefined && !request.isOver) this.#send(request.conn, replyText(request.id, value));
  }

  /** Says that there is no answer. True: that was all there is to say about `error`, which was meant for the client. */
  refuse(request: OpenRequest, error: unknown): boolean {
    const meant = refusalOf(error);
    if (!request.isOver) this.#fail(request.conn, request.id, meant ?? FAILED);
    return meant !== undefined || request.isReason(error);
  }

  #fail(conn: number, id: string, [code, message]: readonly [code: string, message: string]): void {
    try {
      this.#send(conn, failureText(id, code, message));
    } catch {
      // Nothing goes out any more: its client sees that.
    }
  }
}

export type { OpenRequest };
