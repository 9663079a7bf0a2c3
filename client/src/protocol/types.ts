/**
 * The words of the wire as this client's programs see them: events, outgoing messages, positions. Types alone; what reads and writes
 * them is in `decode.ts` and `encode.ts`.
 */

/** What a message belongs to: the protocol itself, a snapshot, or the application (`U`). */
export type Category = 'WSE' | 'S' | 'U';

/** A place in a topic's stream: the last message that counts. Offset 0 with an epoch: none of that epoch yet. */
export interface Position {
  /** The life of the server's memory of that topic, eight hexadecimal digits; offsets of two epochs cannot be compared. */
  readonly epoch: string;
  /** Counted without a gap within an epoch; 0 to 2^53 − 1. */
  readonly offset: number;
}

/** One message as it arrived. A member that was absent, or not of the type stated here, is absent. */
export interface WSEEvent<T extends string = string, P = unknown> {
  /** The name handlers are registered for; empty where the message had none. */
  readonly type: T;
  /** What was sent, falsy values too; undefined where nothing was. The whole object where it had neither a type nor a payload. */
  readonly payload: P;
  /** The sender's name for this message. */
  readonly id?: string;
  /** A counter of the sender, for diagnosis. */
  readonly sequence?: number;
  /** RFC 3339, by the sender's clock. */
  readonly timestamp?: string;
  /** The version of the envelope. */
  readonly version?: number;
  /** As the message says, or as its older prefix (`WSE{`, `S{`, `U{`) does. */
  readonly category?: Category;
  /** 1, 3, 5, 8 or 10; informational. */
  readonly priority?: number;
  /** Binds a reply to its request. */
  readonly correlationId?: string;
  /** Passed through, not verified. */
  readonly signature?: string;
  /** The topic it was published to, where the server says so. */
  readonly topic?: string;
  /** With `offset`: the message is part of a stream that can be recovered. There are both, and a topic, or neither. */
  readonly epoch?: string;
  /** Its number within the topic and the epoch. */
  readonly offset?: number;
}

/** One message to be sent. */
export interface Outgoing {
  /** The name the receiver tells messages apart by. */
  readonly type: string;
  /** Anything JSON can say. `{}` if absent. */
  readonly payload?: unknown;
  /** Derived from the type if absent. */
  readonly category?: Category;
  /** The receiver may drop a second message of the same id. */
  readonly id?: string;
  /** A counter of this client, for diagnosis. */
  readonly sequence?: number;
  /** RFC 3339. */
  readonly timestamp?: string;
  /** 1, 3, 5, 8 or 10. */
  readonly priority?: number;
  /** Binds a reply to its request. */
  readonly correlationId?: string;
  /** Passed through. */
  readonly signature?: string;
  /** Stream and number of a message that is delivered once; stands first in the text, as the server looks for it there. */
  readonly outbox?: readonly [stream: string, number: number];
  /** Asks for a reply; its deadline in milliseconds. */
  readonly request?: number;
  /** Why a request failed, in its reply. */
  readonly error?: { readonly code: string; readonly message: string };
}
