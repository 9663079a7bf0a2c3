/** The words of the outbox: what it keeps, where, and what it says of it. Types alone. */

import type { Off } from '../core/events.js';
import type { Extension } from '../core/extension.js';
import type { SendOptions } from '../core/outgoing.js';

/** One message that is kept. */
export interface OutboxRecord {
  /** The stream it belongs to: the place it was kept in first. */
  readonly stream: string;
  /** Its place in that stream by age, from 1. */
  readonly seq: number;
  /** Its number on the wire, from its first sending on; 0 before that; −1: sent to a server that keeps no numbers. */
  readonly n: number;
  /** When it was added, Unix milliseconds by this machine's clock. */
  readonly at: number;
  /** 1, 3, 5, 8 or 10. */
  readonly priority: number;
  /** JSON: `{ type, payload, id, correlationId }`. */
  readonly json: string;
}

/** What is left of a stream whose owner is gone. */
export interface StoredStream {
  readonly name: string;
  /** The highest number that was ever given in it. */
  readonly last: number;
  readonly records: readonly OutboxRecord[];
}

/** Where an outbox keeps its messages. Calls come one after the other; one that rejects has kept nothing of what it was given. */
export interface OutboxStore {
  /** Whether what it keeps survives this page or process. */
  readonly durable: boolean;
  /**
   * Begins. `own` is the stream of this outbox alone, new; each stream whose owner is gone is handed to `adopt`, before or after this
   * resolves, and belongs to this outbox alone from there on. What cannot be read is skipped, and told `unreadable`.
   */
  open(own: string, adopt: (left: StoredStream) => void, unreadable: (what: string) => void): Promise<void>;
  /** Keeps a record. */
  put(record: OutboxRecord): Promise<void>;
  /** Keeps the numbers of records, and the highest of their stream, all or none. */
  assign(stream: string, last: number, records: readonly OutboxRecord[]): Promise<void>;
  /** Forgets records. */
  remove(stream: string, seqs: readonly number[]): Promise<void>;
  /** Forgets a stream that is empty, and gives it up. */
  forget(stream: string): Promise<void>;
  /** Looks for streams whose owners are gone, where nobody tells of that. */
  scan?(): Promise<void>;
  /** Ends; what is kept stays. */
  close(): Promise<void>;
}

/** What an outbox can be told. Times are milliseconds. */
export interface OutboxOptions {
  /** Where messages are kept: `memoryStore()`, `indexedDBStore()`, or `fileStore()` of `wse-client/outbox/file`. @default memoryStore() */
  readonly store?: OutboxStore;
  /** Messages that are kept; one more is refused. @default 1000 */
  readonly maxSize?: number;
  /** What is older is given up, sent or not. @default 3600000 */
  readonly maxAge?: number;
  /** Bytes of JSON that are kept. @default 4194304 */
  readonly maxBytes?: number;
  /** Bytes of JSON of one message: what the server takes, less some for the envelope. @default 1000000 */
  readonly maxMessageBytes?: number;
  /** Messages of a stream that are sent and not acknowledged; the others wait here, where priority counts. @default 64 */
  readonly window?: number;
  /** Without an acknowledgement for so long, what waits for one in the same stream is sent again. @default 10000 */
  readonly ackTimeout?: number;
  /** Which of what `client.send()` is given the outbox takes. @default all of it */
  readonly takes?: (type: string, payload: unknown, options: SendOptions) => boolean;
}

/** A message as the outbox speaks of it. */
export interface OutboxMessage {
  readonly type: string;
  readonly payload: unknown;
  readonly id: string;
}

/** Why a message will not be delivered. */
export type OutboxLoss =
  /** It is older than `maxAge`; where it was sent, it may have arrived. */
  | 'expired'
  /** It cannot be sent: it is too large, or the server says `MALFORMED_OUTBOX`. */
  | 'refused'
  /** It was sent to a server that acknowledges nothing, and the connection broke before it had left: it may have arrived. */
  | 'unconfirmed';

/** What an outbox tells. */
export interface OutboxNotices {
  /** The server has it (`confirmed`), or, where servers acknowledge nothing, it has left the socket. */
  delivered: { readonly message: OutboxMessage; readonly confirmed: boolean };
  /** It was kept and is given up. */
  lost: { readonly message: OutboxMessage; readonly reason: OutboxLoss; readonly sent: boolean };
  /** The store has failed: new messages are kept in memory alone, `durable` is false. Or something in it could not be read, and is skipped. */
  storage: { readonly error: unknown };
  /** As many are kept as this says. */
  size: { readonly size: number; readonly bytes: number };
}

/** An outbox, for `connect(url, { extensions: [outbox] })`; it belongs to one client. */
export interface Outbox extends Extension {
  /** Messages that are kept. */
  readonly size: number;
  /** Bytes of JSON they take. */
  readonly bytes: number;
  /** Whether they would survive this page or process. */
  readonly durable: boolean;
  /** Hears of what becomes of messages. */
  on<K extends keyof OutboxNotices>(name: K, fn: (notice: OutboxNotices[K]) => void): Off;
}
