/** What a server asks its clients: the questions that are open, and the replies among the events of this facade that settle them. */

import { toConn, toOptions, toText } from '../arguments.js';
import { WSEError, WSEOverloadedError, WSERequestError } from '../errors.js';
import type { JsonObject, JsonValue, WSEBatch, WSEEvent, WSEMessage } from '../events.js';
import { LazyMessage } from '../inbound/lazy.js';
import { type SecondsRule, toSeconds } from '../options/seconds.js';
import { type EngineHandle, stopped } from './engine-handle.js';
import { cancelText, requestText } from './request-wire.js';

const TIMEOUT: SecondsRule = { max: 3600 };
const TIMEOUT_SECONDS = 10;

/** How {@link RustWSEServer.request} asks. */
export interface RequestOptions {
  /** Seconds to wait for the answer. @default 10 */
  timeout?: number;
  /** Gives up: the client is told, and the promise rejects with the signal's reason. @default none */
  signal?: AbortSignal;
}

interface Pending {
  conn: number;
  resolve(value: JsonValue | undefined): void;
  reject(reason: unknown): void;
}

/** The open questions of one facade. */
export class ClientRequests {
  readonly #engine: EngineHandle;
  readonly #max: number;
  /** Ours begin with it: clients choose names of their own for what they ask. */
  readonly #prefix = `s${Math.random().toString(36).slice(2, 8)}-`;
  readonly #pending = new Map<string, Pending>();
  #asked = 0;

  constructor(engine: EngineHandle, max: number) {
    this.#engine = engine;
    this.#max = max;
  }

  /** Questions that are open. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Asks; what it promises is said at `RustWSEServer.request`. */
  request(conn: number, type: string, payload: unknown, options: RequestOptions): Promise<JsonValue | undefined> {
    toConn(conn);
    toText(type, 'type');
    const { timeout = TIMEOUT_SECONDS, signal } = toOptions(options, 'options');
    const ms = Math.max(1, Math.round(toSeconds(timeout, 'timeout', TIMEOUT) * 1000));
    signal?.throwIfAborted();
    if (this.#pending.size >= this.#max) {
      throw new WSEOverloadedError('WSE_REQUESTS_FULL', `${this.#max} requests wait for their answers (maxPendingRequests)`);
    }
    if (this.#asked === 0) this.#engine.onEnd(() => this.#rejectAll());
    this.#asked += 1;
    const cid = `${this.#prefix}${this.#asked}`;
    if (!this.#engine.outbox.send(conn, requestText(type, payload, cid, ms))) throw gone();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#pending.delete(cid);
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      const abort = (): void => {
        this.#tell(conn, cancelText(cid));
        settled.reject(signal?.reason);
      };
      const settled: Pending = {
        conn,
        resolve: (value) => {
          end();
          resolve(value);
        },
        reject: (reason) => {
          end();
          reject(reason);
        },
      };
      const timer = setTimeout(() => settled.reject(new WSEError('WSE_REQUEST_TIMEOUT', `no answer in ${timeout} seconds`)), ms);
      signal?.addEventListener('abort', abort, { once: true });
      this.#pending.set(cid, settled);
    });
  }

  /** A batch without the replies to our questions, which are settled; the batch itself where there is none. */
  sift<M extends WSEMessage | LazyMessage>(batch: WSEBatch<M>): WSEBatch<M> {
    // Whoever asks nothing pays nothing.
    if (this.#asked === 0) return batch;
    let kept: WSEEvent<M>[] | undefined;
    batch.forEach((event, index) => {
      if (this.#settles(event)) kept ??= batch.slice(0, index);
      else kept?.push(event);
    });
    return kept ?? batch;
  }

  #settles([type, conn, payload]: WSEEvent<WSEMessage | LazyMessage>): boolean {
    if (type === 'disconnect') {
      for (const pending of [...this.#pending.values()]) if (pending.conn === conn) pending.reject(gone());
      return false;
    }
    if (type !== 'msg') return false;
    // Of what is not parsed, only what may be a reply of ours is.
    if (payload instanceof LazyMessage) return payload.includes(this.#prefix) && this.#reply(conn, payload.parse());
    return this.#reply(conn, payload);
  }

  /** Whether it is a reply to one of ours; one that comes too late is nobody's. */
  #reply(conn: number, message: WSEMessage): boolean {
    const { t, cid, err } = message;
    if (t !== 'reply' || typeof cid !== 'string' || !cid.startsWith(this.#prefix)) return false;
    const pending = this.#pending.get(cid);
    // Somebody else's connection does not answer for it.
    if (pending?.conn !== conn) return true;
    if (err === undefined) pending.resolve(message.p);
    else pending.reject(refusal(err));
    return true;
  }

  #rejectAll(): void {
    for (const pending of [...this.#pending.values()]) pending.reject(stopped());
  }

  #tell(conn: number, text: string): void {
    try {
      this.#engine.outbox.send(conn, text);
    } catch {
      // Nobody is there to be told.
    }
  }
}

function gone(): WSEError {
  return new WSEError('WSE_REQUEST_DISCONNECTED', 'the client is gone');
}

/** What the client says of its failure, as far as it says it as it should. */
function refusal(err: JsonValue): WSERequestError {
  const { code, message } = (typeof err === 'object' && err !== null ? err : {}) as JsonObject;
  return new WSERequestError(
    typeof code === 'string' ? code : 'UNKNOWN',
    typeof message === 'string' ? message : 'the client gives no reason',
  );
}
