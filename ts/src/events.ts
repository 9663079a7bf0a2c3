/** What a server hears: the types of inbound events and of the JSON they carry. */

/** Any JSON value. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;

/** A JSON object. A member that is absent reads as `undefined`. */
export interface JsonObject {
  [key: string]: JsonValue | undefined;
}

/**
 * A message as a client sent it. The engine has checked that it is a JSON object, not what is in it:
 * the types below say what published clients send, so check what matters before relying on it.
 */
export interface WSEMessage extends JsonObject {
  /** Category: `WSE`, `S` or `U`. */
  c?: string;
  /** Type. Set from `type` when the client used the long name. */
  t?: string;
  /** Payload. Set from `payload` when the client used the long name. */
  p?: JsonValue;
  /** Message id. */
  id?: string;
  /** Time of sending, RFC 3339. */
  ts?: string;
  /** The client's own counter. */
  seq?: number;
  /** Protocol version. */
  v?: number;
}

/** A user's first connection is on a topic, or their last one is there no more. */
export interface PresenceChange {
  topic: string;
  /** The user, as the token (`sub`) or `onUpgrade` names them. */
  user_id: string;
  /** What they are there with, or were. */
  data: JsonValue;
}

/** A user who is present on a topic. */
export interface PresenceMember {
  /** What was said last of them: when they subscribed, or by `updatePresence()`. */
  data: JsonObject;
  /** Connections by which they are there; 0: the last one has ended, and `presence.grace` is not over. */
  connections: number;
}

/** How many are present on a topic. */
export interface PresenceStats {
  numUsers: number;
  numConnections: number;
}

/** How a connection ended. */
export interface Disconnection {
  /**
   * The code of the first Close (RFC 6455 §7.4); 1005: it had none; 1006: there was no Close; 1011 without one: the server failed
   * while it served the connection.
   */
  code: number;
  /** The reason in that Close, possibly empty. */
  reason: string;
  /**
   * Who ended it: `'peer'`, whose Close came first; `'server'`, whose own did (`disconnect()`, `stop()`, an idle or slow
   * connection, an expired token, a breach of the protocol), answered or not; `'network'`: the stream ended without one.
   */
  by: 'peer' | 'server' | 'network';
}

/** Who a connection is, as a reader is told that gets it from another one. */
export interface Adoption {
  /** The id clients know it by, a UUID. */
  id: string;
  /** The user its verified token names (`sub`), or `onUpgrade`; null where neither does. */
  user: string | null;
  /** What `onUpgrade` has given it as `data`, a copy of its own; null without. */
  data: JsonValue;
  /** The path of its request, without the query. */
  path: string;
  /** The IP address it came from; behind a proxy that is the proxy's, unless `trustProxy` names that. */
  address: string;
  /** Whether it speaks TLS, with the engine or with the HTTP server it was handed over by; what a proxy in front does is not seen. */
  secure: boolean;
  /** When it was opened. */
  connectedAt: Date;
  /** The subprotocol agreed on (`protocols`), or null. */
  protocol: string | null;
}

/** What the engine has made of a client's `subscription_update` (`subscriptions: 'acl'`). */
export interface SubscriptionChange {
  /** Names and patterns it is subscribed to now and was not before; of `unsubscribe`, the other way round. */
  topics: string[];
  /** What failed, in the order in which the client named it. */
  refused: SubscriptionRefusal[];
  /** Why they ended, where the client has not asked for it: its new token does not allow them. */
  reason?: 'not_allowed';
}

/** A topic a client asked for in vain. */
export interface SubscriptionRefusal {
  /** As the client named it; it may be no valid name. */
  topic: string;
  /** What the client was told: `not_allowed` and others (docs/protocol.md, "Subscriptions"), or the reason `authorize` gave. */
  reason: string;
}

/** A connection fell behind its outbound budget. */
export interface SlowConsumer {
  /** What the engine did about it. */
  policy: 'drop' | 'close';
  /** Bytes waiting for this connection. */
  queuedBytes: number;
  /** Frames dropped for it since the last such event. */
  droppedMessages: number;
  /** Bytes dropped for it since the last such event. */
  droppedBytes: number;
}

/** The token of a connection expires soon. */
export interface TokenExpiring {
  /** When, without the leeway. */
  expiresAt: Date;
  /** Seconds until then, whole; 0 within the leeway. */
  expiresIn: number;
}

/**
 * One inbound event: `[type, conn, payload]`. The union narrows when it is destructured:
 *
 * ```ts
 * for (const [type, conn, payload] of batch) if (type === 'msg') console.log(conn, payload.t)
 * ```
 *
 * - `connect`: a client came (no JWT configured); payload is the raw `Cookie` header, possibly empty
 * - `auth_connect`: a client came with a valid token; payload is the user id
 * - `msg`: a JSON object
 * - `raw`: text that is not a JSON object
 * - `bin`: bytes, a copy of its own
 * - `disconnect`: exactly once per connection, with how it ended
 * - `adopt`: the connection's reader has left or stopped reading, and it is this one's from now on; the first that is heard of it here
 * - `presence_join`, `presence_leave`: belong to a topic, not to a connection
 * - `subscribe`, `unsubscribe`: the engine has answered a client that asked for topics, or to be rid of some (`subscriptions: 'acl'`);
 *   a request that changes nothing and of which nothing is refused makes none
 * - `slow_consumer`: frames were dropped for this connection, or it was closed
 * - `unsubscribe`: subscriptions ended because the connection's new token does not allow them
 * - `auth_expiring`: the connection's token expires soon (`jwt.expiryWarning`); once per token
 *
 * @typeParam M what a message is: `LazyMessage` in a loop that asked for it
 */
export type WSEEvent<M = WSEMessage> =
  | readonly [type: 'connect', conn: number, payload: string]
  | readonly [type: 'auth_connect', conn: number, payload: string]
  | readonly [type: 'msg', conn: number, payload: M]
  | readonly [type: 'raw', conn: number, payload: string]
  | readonly [type: 'bin', conn: number, payload: Uint8Array]
  | readonly [type: 'disconnect', conn: number, payload: Disconnection]
  | readonly [type: 'adopt', conn: number, payload: Adoption]
  | readonly [type: 'presence_join', conn: null, payload: PresenceChange]
  | readonly [type: 'presence_leave', conn: null, payload: PresenceChange]
  | readonly [type: 'subscribe', conn: number, payload: SubscriptionChange]
  | readonly [type: 'unsubscribe', conn: number, payload: SubscriptionChange]
  | readonly [type: 'slow_consumer', conn: number, payload: SlowConsumer]
  | readonly [type: 'auth_expiring', conn: number, payload: TokenExpiring];

/** Events in the order in which the engine saw them; the order of one connection's events is that of its wire. */
export type WSEBatch<M = WSEMessage> = readonly WSEEvent<M>[];
