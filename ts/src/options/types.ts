/** The options of a server, as their user writes them. Defaults are set in `resolve.ts`. */

import type { Server } from 'node:http';
import type { BytesLike } from '../bytes.js';
import type { Authorize } from '../server/authorize.js';
import type { SnapshotsOptions } from '../server/snapshots.js';
import type { OnUpgrade } from '../server/upgrade-request.js';

/** Key material: text is taken as UTF-8. */
export type KeyMaterial = string | BytesLike;

/** Signature algorithms of tokens. */
export type JwtAlgorithm = 'HS256' | 'RS256' | 'ES256';

/** Finds the key of tokens by its name. */
export type JwtKeys = (kid: string | null) => KeyMaterial | null | undefined | PromiseLike<KeyMaterial | null | undefined>;

/** How clients prove who they are. Without it every client is let in and reported as `connect`. */
export interface JwtOptions {
  /** HS256: at least 32 bytes. RS256, ES256: the public key as PEM. Required, unless there is `keys`. */
  secret?: KeyMaterial;
  /**
   * Instead of `secret`: finds the key a token names (`kid`; null: it names none), as `secret` would be given; null: there is no such
   * key, and its tokens are refused. Called on the thread that called `start()`, once for all who wait for the same key; a key is kept
   * for `keysTtl`, an unknown name for 10 seconds. `algorithm` stays the only one, whatever a token says. A throw or rejection is a 503
   * for those who wait, and a process warning, at most one a second. See docs/upgrade.md. @default none
   */
  keys?: JwtKeys | null;
  /** Seconds. For how long a key of `keys` is used before it is asked for again; at most 86400. @default 600 */
  keysTtl?: number;
  /** The only algorithm accepted. @default 'HS256' */
  algorithm?: JwtAlgorithm;
  /** Required value of `iss`. @default none */
  issuer?: string | null;
  /** Required value of `aud`. @default none */
  audience?: string | null;
  /**
   * Where a token may be, in the order in which it is looked for; the first one that is there counts, valid or not. `'query'` is seen
   * by every log on its way; `'subprotocol'` is an offered subprotocol `bearer.<token>`, and `protocols` must name another one to agree
   * on: browsers, which can send no header, give up without. @default ['cookie', 'header']
   */
  from?: readonly ('cookie' | 'header' | 'query' | 'subprotocol')[];
  /** The cookie that carries the token. @default 'access_token' */
  cookieName?: string;
  /** The parameter of the query that carries the token, where `from` names `'query'`. @default 'access_token' */
  queryName?: string;
  /** The key before this one; still accepted, for rotation. @default none */
  previousSecret?: KeyMaterial | null;
  /** Required `kid` of the token's header. @default none */
  keyId?: string | null;
  /** Seconds. Clock difference tolerated for `exp` and `nbf`; whole, at most 3600. @default 30 */
  leeway?: number;
  /** Let a token pass that lacks `iss` or `aud` although one is configured. @default false */
  allowMissingClaims?: boolean;
  /** Close a connection with 4401 when its token expires. @default true */
  closeOnExpiry?: boolean;
  /**
   * Seconds. So long before its token expires a connection is told (`auth_expiring`), and the host hears the event of that name, once
   * per token; 0: nobody is. Whole, at most 3600. See docs/tokens.md. @default 60
   */
  expiryWarning?: number;
  /**
   * Seconds. The longest your issuer makes tokens valid for (`exp` less `iat`): one that is valid for longer, or has no `iat`, is
   * refused. With it, revocations are forgotten once nothing they match can be valid. Whole, at most 31536000. @default no limit
   */
  maxLifetime?: number | null;
  /** Users and tokens that may be revoked at once; a full list takes no further one (`WSE_REVOCATIONS_FULL`). @default 10000 */
  maxRevocations?: number;
}

/** A certificate chain and its key: the server then speaks wss:// only. */
export interface TlsOptions {
  /** PEM, leaf first. */
  cert: KeyMaterial;
  /** PEM. */
  key: KeyMaterial;
}

/** The token bucket of `sendEvent`, one per connection. */
export interface RateLimitOptions {
  /** Events at once. @default 100000 */
  capacity?: number;
  /** Events per second. @default 10000 */
  refill?: number;
}

/** Proxies in front of the server that say who is behind them. */
export interface TrustProxyOptions {
  /**
   * Addresses and networks of the proxies, such as `127.0.0.1` or `10.0.0.0/8`. The client is the last address in the header that
   * is not one of them; a header that somebody else sends is not looked at.
   */
  addresses: readonly string[];
  /**
   * The header the proxies write, or append to; the other ones are the client's own word. `'proxy-protocol'`: each of their sockets
   * begins, before TLS, with a header of the PROXY protocol, version 1 or 2, or is closed. @default 'x-forwarded-for'
   */
  header?: 'x-forwarded-for' | 'forwarded' | 'proxy-protocol';
}

/** Limits on clients that have not finished connecting. */
export interface HandshakeOptions {
  /** Seconds. Time until an unfinished handshake is dropped; at most 600. @default 10 */
  timeout?: number;
  /** Unfinished handshakes in total; one more takes the place of the oldest. @default 4096 */
  maxPending?: number;
  /** Unfinished handshakes per address, but for that of a proxy (`trustProxy`); one more is answered 503. @default 1024 */
  maxPendingPerAddress?: number;
  /**
   * Seconds. Time `onUpgrade` has for an answer, less than `timeout`, which bounds the whole handshake; then the client is answered
   * 503. @default 5, or half of `timeout` where that is less
   */
  upgradeTimeout?: number;
  /**
   * Handshakes that wait for `onUpgrade` or `jwt.keys`; one more is answered 503. One address may take a quarter of them, but for that
   * of a proxy (`trustProxy`) and, where `host` is a loopback address, for this machine's. @default 1024
   */
  maxWaiting?: number;
}

/**
 * How far publishers may be ahead of the engine. `broadcast()` returns false above `targetDelay` or `highWaterMark`, whichever
 * comes first; the message is still taken.
 */
export interface PublisherOptions {
  /**
   * Seconds. The delay publishers are held to, from the call to the last byte the system took for a subscriber that keeps up; at
   * most 1. Who stands still for two seconds, or is one of few that keep up with less than a quarter of the others' pace, holds
   * nobody back. @default 0.01
   */
  targetDelay?: number;
  /** Bytes that may wait for one of the engine's threads before `broadcast()` returns false in any case. @default 4194304 */
  highWaterMark?: number;
  /** Bytes above which `broadcast()` throws `WSEOverloadedError` and takes nothing. @default 67108864 */
  hardLimit?: number;
}

/** What is kept of topics for clients that come back, or that have lost something: docs/recovery.md. */
export interface RecoveryOptions {
  /** Messages kept per topic; up to a quarter more are. @default 128 */
  bufferSize?: number;
  /** Seconds after the last publication for which they are kept; 0: as long as there is memory. @default 300 */
  ttl?: number;
  /** Messages of one topic that are replayed at most; who has missed more is told so and gets none. @default 500 */
  maxMessages?: number;
  /**
   * Bytes that all of it may take. Beyond that the messages of the topics written longest ago are forgotten. @default 268435456
   */
  memoryBudget?: number;
  /** Bytes replayed per second, to all connections together; who comes when they are used up waits. @default 67108864 */
  maxReplayRate?: number;
  /** Bytes replayed per second to one connection. @default 16777216 */
  maxConnectionReplayRate?: number;
  /**
   * What else is kept of topics that match a pattern, or nothing (`false`); the first that matches counts:
   * `{ 'orders:*': { bufferSize: 1000, ttl: 60 }, 'cursor:*': false }`. What a rule leaves out is as above. @default none
   */
  topics?: Record<string, RecoveryRule | false>;
}

/** What is kept of the topics of one pattern. */
export interface RecoveryRule {
  /** @default as `recovery.bufferSize` */
  bufferSize?: number;
  /** @default as `recovery.ttl` */
  ttl?: number;
}

/** Limits of presence. */
export interface PresenceOptions {
  /** Bytes of a member's data, as JSON text; at most 1048576. @default 4096 */
  maxDataSize?: number;
  /** Members of one topic; 0 is no limit. @default 0 */
  maxMembers?: number;
  /**
   * Seconds. A user whose last connection has ended leaves only then; who is back by then has neither left nor joined. At most 3600.
   * @default 0: at once
   */
  grace?: number;
}

/** How much is remembered of what clients have sent out of their outboxes. */
export interface OutboxOptions {
  /** Streams, over all users: about one per open page. One more takes the place of the one used longest ago. @default 65536 */
  maxStreams?: number;
  /** Seconds a stream is remembered after its last message; whoever comes back later may be heard twice. At most 30 days. @default 86400 */
  ttl?: number;
}

/** What is spoken on a path, or on all of them. */
export interface EndpointOptions {
  /**
   * `'raw'`: nothing but RFC 6455. No greeting; nothing is parsed, decoded or answered; text arrives as `raw` events, bytes as
   * `bin`, as they came; a refused token is answered with 401. Where no path speaks WSE, what is published gets no category.
   * @default 'wse'
   */
  protocol?: 'wse' | 'raw';
  /**
   * Subprotocols (RFC 6455 §1.9), such as `chat.v1`: the first a client offers that is among them is agreed on, and
   * `getConnectionProtocol()` tells which. @default none
   */
  protocols?: readonly string[] | null;
  /** Answer 400 to a client that offers none of `protocols`; false lets it in without one. @default false */
  requireProtocol?: boolean;
}

/** What happens on the port to requests that are no upgrades. Paths are compared without the query. */
export interface HttpOptions {
  /**
   * Gets every request but those below and the upgrades to our paths, as it came: a server of `node:http` that does not `listen()`.
   * Not with `tls`, and not on Windows, Bun and Deno, where {@link RustWSEServer.attachTo} does it the other way round.
   * @default none: such a request is answered 426 or 400
   */
  server?: Server | null;
  /** Answered by the engine, 200 while a shard of it can: `/healthz`. @default none */
  health?: string | null;
  /** Answered by the engine, 200 while upgrades are let in; 503 from the beginning of `drain()` on, and when full: `/readyz`. @default none */
  ready?: string | null;
  /** Answered by the engine with the text of `prometheusMetrics()`, written anew once a second at most: `/metrics`. @default none */
  metrics?: string | null;
  /**
   * Addresses and networks that get these answers, such as `10.0.0.0/8`; others get 403. Behind a trusted proxy (`trustProxy`) the
   * client's address counts. @default health and ready: everybody; metrics: this machine,
   * unless a proxy of it hands the request on
   */
  allow?: readonly string[] | null;
}

/** The options of `new RustWSEServer()`. Each is checked; an error names the path of the option. */
export interface WSEServerOptions extends EndpointOptions {
  /** Address to listen on. @default '127.0.0.1' */
  host?: string;
  /**
   * Port to listen on; 0 lets the system choose, `start()` tells which. Without one nothing is listened on: connections come through
   * `attachTo()` and `handleUpgrade()`. @default none
   */
  port?: number | null;
  /**
   * File to listen in instead of a port, a Unix domain socket such as `/run/app.sock`; not on Windows. What a dead process has left
   * there is replaced; `stop()` removes it; its mode is what the process's umask leaves. Who comes through it is this machine
   * (`127.0.0.1`), to which no limit per address applies. @default none
   */
  unix?: string | null;
  /** Connects the system may queue before they are accepted; its own limit may be lower. @default 4096 */
  backlog?: number;
  /** Clients beyond this many are answered 503. @default 1000 */
  maxConnections?: number;
  /** The only path that upgrades, such as `/ws`; others are answered 404. @default any path */
  path?: string | null;
  /**
   * Several paths that upgrade, each with what is spoken there: `{ '/ws': {}, '/feed': { protocol: 'raw' } }`. What a path leaves
   * out is as for the whole server. Instead of `path`. @default any path
   */
  paths?: Readonly<Record<string, EndpointOptions>> | null;
  /**
   * Origins let in, such as `https://app.example.com`; checked when a request carries one. Without them a server bound to a
   * loopback address answers 403 to requests for any other host than this machine's names. @default not checked
   */
  allowedOrigins?: readonly string[] | null;
  /** Proxies whose word for a client's address `getConnectionInfo()` takes. @default none: the address of the socket */
  trustProxy?: TrustProxyOptions | null;
  /** Who answers `subscription_update`: the application (it arrives as `msg`) or the engine, which asks the ACL. @default 'app' */
  subscriptions?: 'app' | 'acl';
  /**
   * Decides which of the topics that the ACL lets a client have it may have, where claims cannot say; with `subscriptions: 'acl'`
   * only. Called once per request of a client, on the thread that called `start()`, with what it does not have yet. May be async,
   * within `authorizeTimeout`; later requests of the same client wait meanwhile. A throw, a rejection or an answer that is too late
   * refuses those topics, and is a process warning, at most one a second. See docs/subscriptions.md. @default none: the ACL alone
   */
  authorize?: Authorize | null;
  /** Seconds. Time `authorize` has for an answer; less than `idleTimeout`. @default 5, or half of `idleTimeout` where that is less */
  authorizeTimeout?: number;
  /** Connections that wait for `authorize` at the same time; the topics of one more are refused as `busy`. @default 1024 */
  maxAuthorizing?: number;
  /**
   * Tells subscribers the current state of topics, on subscribe and on `sync_request`; with `subscriptions: 'acl'` only. `'last'`: the
   * last publication is the state, which needs `recovery`. See docs/subscriptions.md.
   * @default none
   */
  snapshots?: SnapshotsOptions | 'last' | null;
  /** Send `server_ready` to clients without JWT; false leaves that to the application. @default true */
  serverReady?: boolean;
  /** @default none: every client is let in */
  jwt?: JwtOptions | null;
  /** @default none: ws:// */
  tls?: TlsOptions | null;
  /**
   * The HTTP server that shares the port, or {@link HttpOptions}. The engine accepts; upgrades never touch JavaScript; everything else
   * is handed on with the bytes already read. See docs/http.md. @default none
   */
  http?: Server | HttpOptions | null;
  /**
   * Keeps track of who is present on which topic (docs/presence.md); true: with the defaults of {@link PresenceOptions}. Needs users:
   * `jwt`, or an `onUpgrade` that names them. @default false
   */
  presence?: boolean | PresenceOptions | null;
  /**
   * Takes what a client sends out of its outbox once, however often it is sent again, and acknowledges it (docs/protocol.md §17). Concerns
   * clients that ask for it, and no others. @default true
   */
  outbox?: boolean | OutboxOptions | null;
  rateLimit?: RateLimitOptions;
  /**
   * Keep what is published for clients that missed it: each publication gets its topic, epoch and offset, `subscribeWithRecovery()`
   * replays. `true`: with the defaults. @default false
   */
  recovery?: RecoveryOptions | boolean | null;
  /** Bytes of one inbound message; a larger one closes with 1009. At most 2^28 (256 MiB). @default 1048576 */
  maxMessageSize?: number;
  /**
   * Requests of this server to its clients (`request()`) that may wait for their answers; one more rejects. A facade that was attached has
   * the default. @default 1024
   */
  maxPendingRequests?: number;
  /** Inbound events waiting for one reading thread. @default 131072 */
  maxInboundQueueSize?: number;
  /** Payload bytes waiting for one reading thread. @default 4194304 */
  maxInboundQueueBytes?: number;
  /** At either limit: stop reading sockets, or drop the new message and count it. @default 'pause' */
  inboundOverflow?: 'pause' | 'drop';
  /**
   * `'discard'`: this server only publishes. Events are counted and thrown away, sockets are read all the same, and whoever wants to
   * read events gets `WSE_INBOUND_DISCARDED`. @default 'read'
   */
  inbound?: 'read' | 'discard';
  /**
   * Seconds. A reading thread that leaves events waiting for so long is reported (`WSE_READER_STALLED`), and loses its connections
   * to the other ones until it reads again; above 0, at most 3600. @default 5
   */
  readerTimeout?: number;
  /** Decode inbound `C:` (zlib) and `M:` (msgpack) frames; false hands them on as `bin`. @default true */
  inboundCodecs?: boolean;
  /** Nesting of inbound JSON and msgpack; a deeper message arrives as `raw`. @default 64 */
  maxJsonDepth?: number;
  /** Bytes waiting for one connection. @default 16777216 */
  maxOutboundQueueBytes?: number;
  /**
   * At that limit: drop further frames for it, or close it with 4300. Both count and report `slow_consumer`. With `'drop'` a
   * connection is closed too once two pings in a row (`pingInterval` apart) find its queue full. @default 'drop'
   */
  slowConsumer?: 'drop' | 'close';
  /** Bytes of incomplete inbound messages one shard holds; beyond it a connection above its equal share is closed with 1013. @default 67108864 */
  maxReassemblyBytes?: number;
  /** Topics per connection; 0 is no limit. @default 0, with `subscriptions: 'acl'` 1024 */
  maxSubscriptionsPerConnection?: number;
  /** Patterns among them (`*`, `?`); 0 is no limit. @default 0, with `subscriptions: 'acl'` 128 */
  maxPatternsPerConnection?: number;
  /**
   * Bytes of memory that topics and subscriptions of all connections take, estimated; beyond it each connection may still have
   * its equal part (this divided by `maxConnections`). 0 is no limit. @default 0, with `subscriptions: 'acl'` 268435456
   */
  maxSubscriptionBytes?: number;
  /**
   * Seconds. Time between the pings (RFC 6455 §5.5.2) a connection gets; whoever talks WSE gets a `ping` message as well. Less
   * than `idleTimeout`, at most 3600. @default 25
   */
  pingInterval?: number;
  /** Seconds. Time without a frame, of any kind, after which a connection is closed; at most 7200. @default 60 */
  idleTimeout?: number;
  /**
   * Threads of the engine; 0 is one per core but one, which is left to JavaScript. `'inline'`: no thread, the engine runs on the
   * event loop of the JavaScript thread that calls `start()`; so it does by default where one core is all there is. Only Node on
   * POSIX systems has that. See docs/design/drivers.md. @default 0
   */
  shards?: number | 'inline';
  /** Lets several servers, of this process or of others, listen at the same port; the system spreads connections. @default false */
  reusePort?: boolean;
  /**
   * Decides about each request the engine itself has nothing against (path, origin, subprotocol, token): nothing, or `{}`, lets the
   * client in, `{ user, data, protocol, acl, topics }` does so on these terms, `{ status, headers, body }` sends it away. Called on
   * the thread that called `start()`; may be async, within `handshake.upgradeTimeout`. A throw or rejection is a 500 for this client
   * and a process warning, at most one a second. With `jwt` a request without a valid token is refused before: leave `jwt` out
   * where sessions or another provider decide. See docs/upgrade.md. @default none: nothing of a request is handed over
   */
  onUpgrade?: OnUpgrade | null;
  handshake?: HandshakeOptions;
  publisher?: PublisherOptions;
  /** Seconds. Time a peer has to answer our Close; at most 600. @default 5 */
  closeTimeout?: number;
}
