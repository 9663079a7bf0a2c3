// Generated from crates/napi by `npm run build`. Not for editing.

/** One engine, as this thread sees it. */
export declare class NativeServer {
  /**
   * One unreferenced wake per batch of questions about handshakes that appears after `takeQuestions` found none; null: this
   * thread answers none any more.
   */
  onQuestions(callback?: (() => void) | null): void
  /** Some of the questions that wait, as JSON: `{ asked: […], gone: […] }`; null: there are none, and the next wakes. */
  takeQuestions(): string | null
  /** Answers questions, as a JSON array. Returns what is wrong with some of the answers. */
  answerQuestions(answers: string): Array<NativeFault>
  /**
   * How many of the topics were accepted; null: nobody has this id. Throws `WSE_SUBSCRIPTION_LIMIT` when the connection
   * has no subscription left.
   */
  subscribe(conn: number, topics: Array<string>, queueGroup?: string | null): number | null
  /** Ends subscriptions, all of them with null; false: nobody has this id. */
  unsubscribe(conn: number, topics?: string[] | null): boolean
  /** Replaces the ACL of a connection; null allows everything, and denies nothing; false: nobody has this id. */
  setTopicAcl(conn: number, allow?: string[] | null, deny?: string[] | null): boolean
  /** Closes a connection; false: nobody has this id. */
  disconnect(conn: number, code: number, reason: string): boolean
  /** How many connections are open. */
  connectionCount(): number
  /** The ids of all open connections. */
  connections(): Float64Array
  /** The UUID a client knows its connection by; null: nobody has this id. */
  connectionId(conn: number): string | null
  /** The subprotocol a connection has agreed on; null: none, or nobody has this id. */
  connectionProtocol(conn: number): string | null
  /** What is known of a connection; null: nobody has this id. */
  connectionInfo(conn: number): NativeConnectionInfo | null
  /** The ids of the connections of the user a verified token names. */
  userConnections(user: string): Float64Array
  /** How many connections are subscribed to exactly this name. */
  topicSubscriberCount(topic: string): number
  /** The queue groups of a topic. */
  queueGroupInfo(topic: string): Array<NativeQueueGroup>
  /**
   * As `subscribe()`, and makes the user of the connection present on the topics. `data`: JSON text of an object; null: it was
   * too large to be handed over.
   */
  subscribePresent(conn: number, topics: Array<string>, data?: string | null): NativePresent | null
  /**
   * Other data wherever a connection is present; on how many topics. null: nobody has this id. `data`: as with
   * `subscribePresent()`. Throws `WSE_PRESENCE_OFF`, `WSE_PRESENCE_NONE`, `WSE_PRESENCE_TOO_LARGE` or `WSE_OVERLOADED`.
   */
  updatePresence(conn: number, data?: string | null): number | null
  /** Who is present on a topic, as the text of a JSON object: user -> data and connections. */
  presence(topic: string): string
  /** How many users are present on a topic, and by how many connections. */
  presenceStats(topic: string): NativePresenceStats
  /** Bytes of a member's data at most; null: there is no presence. */
  maxPresenceData(): number | null
  /** Whether the engine runs on the event loop of this thread. */
  runsHere(): boolean
  /** The number of this thread, where readers that stand still are reported. */
  setThread(thread: number): void
  /** Whether events are thrown away, so that nobody may read. */
  discardsEvents(): boolean
  /** Readers that have stopped reading while events waited, each once. */
  takeStalls(): Array<NativeStall>
  /** This thread's reader is busy with what it took, and will come for more. */
  excuseReader(): void
  /** Stops being a reader, if this thread is one: its connections go to others. */
  leave(): void
  /**
   * One unreferenced wake per batch that appears after `takeBatch` found nothing. Makes this thread a consumer, and returns
   * its number for `takeBatch`; null ends that. Where the engine runs on this thread, `true` says that the function is done with all it
   * took: the engine looks itself whether there is more, and calls again when there is.
   */
  onBatch(callback?: (() => unknown) | null): number
  /** As `takeBatch`, but blocks up to `timeoutMs` milliseconds for the first event. */
  drainInbound(out: Uint8Array, max: number, columns: boolean, timeoutMs: number): number
  /** Whether any thread reads events. */
  hasReader(): boolean
  /** Inbound events waiting to be read. */
  inboundQueueDepth(): number
  /** Inbound events dropped since the start. */
  inboundDroppedCount(): number
  /**
   * Subscribes a connection and has it replayed what it has missed; the outcome comes through `takeSettled` under this number.
   * `epochs` and `offsets` belong to `topics`; NaN: nothing is to be replayed.
   */
  subscribeWithRecovery(ticket: number, conn: number, topics: Array<string>, epochs: Float64Array, offsets: Float64Array): NativeRecoveryBegun
  /** One unreferenced wake per batch of outcomes that appears after `takeSettled` has taken all; null: not any more. */
  onSettled(callback?: (() => void) | null): void
  /**
   * The outcomes there are, as a JSON array of `{ ticket, outcome }`: an object, null where the connection is gone, `"busy"` where as
   * many requests wait as may.
   */
  takeSettled(): string
  /** Where topics are; null for one that cannot be recovered, or of which nothing is known. */
  topicPositions(topics: Array<string>): Array<NativePosition | null>
  /** The same where offsets begin now if nothing is known of a topic; null: it cannot be recovered, or memory is scarce. */
  beginTopics(topics: Array<string>): Array<NativePosition | null>
  /** What is kept of a topic after an offset; null: as `topicPositions`. */
  history(topic: string, since: number, limit: number, reverse: boolean): NativeHistory | null
  /** Makes an engine that is not running yet. */
  constructor(options: NativeOptions)
  /** Another view of a running engine, usually from a worker thread. */
  static attach(handle: number): NativeServer
  /** The engine's number, for the functions that take a `handle`. */
  handle(): number
  /** Binds the address, if there is one, and starts the threads, or serves on this thread's event loop; where it listens. */
  start(): Promise<NativeAddress>
  /** Sends every client a Close and waits until they have left; true: all of them left in time. */
  drain(code: number, reason: string, timeoutMs: number): Promise<boolean>
  /** Closes every connection and ends the threads. */
  stop(code: number, reason: string, timeoutMs: number): Promise<void>
  /**
   * Sends a JSON object as an envelope. Bytes of its payload on the wire; 0: a duplicate, or rate limited; null: nobody
   * has this id.
   */
  sendEvent(conn: number, json: string, compressionThreshold: number): number | null
  /** Sends a text to everybody; false: taken, but publishers should wait. */
  broadcastAll(text: string): boolean
  /** Sends bytes to everybody; false: taken, but publishers should wait. */
  broadcastAllBytes(bytes: Uint8Array): boolean
  /** Whether publishing may go on. */
  isBelowMark(): boolean
  /** Called, unreferenced, each time publishing may go on again; null: not any more. */
  onDrained(callback?: (() => void) | null): void
  /** The state of the engine as the text of a JSON object. */
  healthSnapshot(): string
  /** The metrics in the Prometheus text format. */
  prometheusMetrics(): string
  /** Uses another certificate from now on; on an error the old one stays in use. PEM texts. */
  reloadTls(cert: Uint8Array, key: Uint8Array): void
  /**
   * Gives a connection another token of its user; null: nobody has this id. Rejects with `WSE_TOKEN_INVALID`,
   * `WSE_TOKEN_REVOKED`, `WSE_TOKEN_OTHER_USER`, `WSE_TOKEN_UNAVAILABLE`, `WSE_TOKEN_BUSY` or `WSE_NO_JWT`.
   */
  refreshToken(conn: number, token: string): Promise<NativeRefreshed | null>
  /**
   * Believes no token any more that matches, those issued after `before` (Unix seconds; null: none are) left out; how many
   * connections are closed for it.
   */
  revoke(sub?: string | null, jti?: string | null, before?: number | null): number
  /**
   * Serves an upgrade on a duplicate of `descriptor`, which belongs to a stream socket nobody reads from meanwhile, and stays
   * open: closing it is the caller's. `request`: all that was read from it, the head and what came behind. `source`: where it
   * comes from, if that is not what its ends say. false: it is not served, and nothing was written to it.
   */
  takeUpgrade(descriptor: number, request: Uint8Array, source?: NativeSource | undefined | null): boolean
  /**
   * Serves an upgrade of a peer whose bytes this process pumps to and from a connection the engine makes to `port` of this
   * machine; `key` is what it says first. false: it is not served.
   */
  pumpUpgrade(port: number, key: Uint8Array, request: Uint8Array, peer: NativePumpedPeer): boolean
}

/**
 * A hash of the declaration this addon was built with. The loader refuses an addon whose hash is not that of its own
 * declaration (`ts/src/native/abi.ts`), before it calls anything else.
 */
export declare function abiVersion(): string

/** The claims of a valid token as JSON text, `null` for any other. */
export declare function decodeJwt(token: string, options: NativeDecodeOptions): string | null

/** Signs claims, given as JSON text. */
export declare function encodeJwt(claimsJson: string, secret: Uint8Array, algorithm: string, keyId?: string | null): string

/** The limits that turned somebody away; null: there is no such engine any more. */
export declare function limitsMet(handle: number): NativeLimitsMet | null

/**
 * The engine's own memory of who may be sent to, kept up to date: one 32-bit word per slot, shard after shard, the
 * generation of the connection that is open there or 0. null: this runtime allows no such memory.
 */
export declare function liveness(handle: number): ArrayBuffer | null

/** Words of one shard in `liveness()`. */
export declare function livenessPerShard(handle: number): number

/** Where a server listens; `null` for one without a port. */
export interface NativeAddress {
  host?: string | null
  port?: number | null
}

/** What is known of a connection. Bytes, and Unix milliseconds. */
export interface NativeConnectionInfo {
  id: string
  user?: string | null
  data?: string | null
  path: string
  address: string
  secure: boolean
  connectedAt: number
  protocol?: string | null
  queuedBytes: number
  topics: Array<string>
  queueGroups: Array<NativeMembership>
}

/** How `decode_jwt` checks a token. */
export interface NativeDecodeOptions {
  secret: Uint8Array
  algorithm: string
  issuer: string | null
  audience: string | null
  previousSecret: Uint8Array | null
  keyId: string | null
}

/** A path that upgrades, `null` for any, and what is spoken there. */
export interface NativeEndpoint {
  path: string | null
  protocol: 'wse' | 'raw'
  protocols: Array<string>
  requireProtocol: boolean
}

/** What is wrong with an answer to the question `id`. */
export interface NativeFault {
  id: number
  path: string
  reason: string
}

/** Bounds of handshakes in progress. */
export interface NativeHandshake {
  timeout: number
  maxPending: number
  maxPendingPerAddress: number
  upgradeTimeout: number
  maxWaiting: number
}

/** What is kept of a topic: texts with their offsets. */
export interface NativeHistory {
  position: NativePosition
  complete: boolean
  offsets: Array<number>
  texts: Array<string>
}

/**
 * What happens to requests on the port that are no upgrades. Paths, `null` for none; addresses and networks, `null` for the
 * default.
 */
export interface NativeHttp {
  health: string | null
  ready: string | null
  metrics: string | null
  allow: Array<string> | null
  handsOver: boolean
}

/** Claims and keys the engine checks tokens with. Times in seconds. */
export interface NativeJwtOptions {
  secret: Uint8Array | null
  /** Instead of `secret`: keys are asked for, and kept for so long. */
  keysTtl: number | null
  algorithm: string
  issuer: string | null
  audience: string | null
  from: Array<'cookie' | 'header' | 'query' | 'subprotocol'>
  cookieName: string
  queryName: string
  previousSecret: Uint8Array | null
  keyId: string | null
  leeway: number
  allowMissingClaims: boolean
  closeOnExpiry: boolean
  expiryWarning: number
  maxLifetime: number | null
  maxRevocations: number
}

/** Limits because of which somebody was answered 503 since the start. */
export interface NativeLimitsMet {
  connections: boolean
  pending: boolean
  perAddress: boolean
}

/** A queue group of a topic a connection is a member of. */
export interface NativeMembership {
  topic: string
  group: string
}

/**
 * Everything an engine needs to know, checked and complete. Times in seconds, sizes in bytes. Every field is always set,
 * `null` for "none": a missing one is a mistake of the facade, never a default.
 */
export interface NativeOptions {
  host: string
  port: number | null
  maxConnections: number
  endpoints: Array<NativeEndpoint>
  allowedOrigins: Array<string> | null
  trustProxy: NativeTrustProxy | null
  subscriptions: 'app' | 'acl'
  authorize: NativeQuestions | null
  snapshots: NativeSnapshots | null
  serverReady: boolean
  jwt: NativeJwtOptions | null
  tls: NativeTlsOptions | null
  http: NativeHttp | null
  recovery: NativeRecovery | null
  presence: NativePresence | null
  outbox: NativeOutbox | null
  rateLimit: NativeRateLimit
  maxMessageSize: number
  maxInboundQueueSize: number
  maxInboundQueueBytes: number
  inboundOverflow: 'pause' | 'drop'
  inbound: 'read' | 'discard'
  readerTimeout: number
  inboundCodecs: boolean
  maxJsonDepth: number
  maxOutboundQueueBytes: number
  slowConsumer: 'drop' | 'close'
  maxReassemblyBytes: number
  maxSubscriptionsPerConnection: number
  maxPatternsPerConnection: number
  maxSubscriptionBytes: number
  pingInterval: number
  idleTimeout: number
  driver: 'auto' | 'threads' | 'inline'
  shards: number
  reusePort: boolean
  unix: string | null
  backlog: number
  handshake: NativeHandshake
  askUpgrade: boolean
  publisher: NativePublisher
  closeTimeout: number
}

/** How much of clients' outboxes is remembered: streams, seconds. */
export interface NativeOutbox {
  maxStreams: number
  ttl: number
}

/** A topic's epoch, eight hexadecimal digits, and the offset of its last publication. */
export interface NativePosition {
  epoch: string
  offset: number
}

/** Limits of presence. Bytes, seconds. */
export interface NativePresence {
  maxDataSize: number
  maxMembers: number
  grace: number
}

/** Users on a topic, and connections by which they are there. */
export interface NativePresenceStats {
  numUsers: number
  numConnections: number
}

/** What has become of a subscription with presence. */
export interface NativePresent {
  /** Topics and patterns that were accepted. */
  accepted: number
  /** Topics the user is present on. */
  present: number
  /** Topics they are not. */
  refused: number
  /** Why, of the first of those. */
  code?: string | null
}

/**
 * A request that may be a question the engine answers: method and target, and what decides who may ask. `said`: the field in which
 * trusted proxies name the client, empty if there is none; `relayed`: there are others that only who hands requests on writes.
 */
export interface NativeProbe {
  line: string
  host: string | null
  said: string
  relayed: boolean
  source: NativeSource
}

/** Marks of publisher pressure: seconds, and bytes per shard. */
export interface NativePublisher {
  targetDelay: number
  highWaterMark: number
  hardLimit: number
}

/** Who is behind a socket that is pumped; `address` is `null` where nobody knows. */
export interface NativePumpedPeer {
  address: string | null
  loopback: boolean
  secure: boolean
}

/** The bounds of one kind of question: seconds, and how many wait. */
export interface NativeQuestions {
  timeout: number
  maxWaiting: number
}

/** Members of one queue group. */
export interface NativeQueueGroup {
  group: string
  members: number
}

/** Tokens and tokens per second. */
export interface NativeRateLimit {
  capacity: number
  refill: number
}

/** What can be recovered. Bytes, and bytes per second. */
export interface NativeRecovery {
  rules: Array<NativeRecoveryRule>
  bufferSize: number
  /** Seconds; null: as long as there is memory. */
  ttl: number | null
  maxMessages: number
  memoryBudget: number
  maxReplayRate: number
  maxConnectionReplayRate: number
  /** Patterns. */
  lastValues: Array<string>
}

/** What a call to recover has begun. */
export interface NativeRecoveryBegun {
  /** The topics that are not subscribed, and why. */
  refused: Array<NativeRefusedTopic>
  /** Nobody has this id: nothing was begun. */
  unknown: boolean
}

/** What is kept of the topics a pattern matches; `bufferSize` null: nothing. Seconds. */
export interface NativeRecoveryRule {
  topics: string
  bufferSize: number | null
  ttl: number | null
}

/** A token that was exchanged. */
export interface NativeRefreshed {
  /** Unix seconds; null: the connection does not end with it. */
  expiresAt?: number | null
}

/** A topic that is not subscribed. */
export interface NativeRefusedTopic {
  topic: string
  reason: string
}

/** What the engine says about itself. */
export interface NativeReply {
  status: number
  kind: string
  body: string
}

/** A host that knows the state of the topics that one of these patterns matches. */
export interface NativeSnapshotProvider {
  topics: Array<string>
  timeout: number
  maxWaiting: number
}

/** Where the state of topics comes from; without a provider the last publication is it. */
export interface NativeSnapshots {
  provider: NativeSnapshotProvider | null
}

/**
 * A connection whose requests are Node's: its descriptor, which is JavaScript's to close, what was read of it, and where it comes
 * from.
 */
export interface NativeSocket {
  fd: number
  head: Uint8Array
  source: NativeSource
}

/**
 * Where a connection comes from, as the engine judges its requests: an address, `null` for a peer that came through a file, and
 * whether only requests for this machine, by a name of its own, are answered.
 */
export interface NativeSource {
  address: string | null
  loopback: boolean
}

/** A reader that has stopped reading while events waited. */
export interface NativeStall {
  thread: number
  events: number
  moved: boolean
}

/** PEM texts. */
export interface NativeTlsOptions {
  cert: Uint8Array
  key: Uint8Array
}

/** Proxies whose word for a client's address counts. */
export interface NativeTrustProxy {
  addresses: Array<string>
  header: 'x-forwarded-for' | 'forwarded' | 'proxy-protocol'
}

/** One unreferenced wake when sockets wait where none waited before, and one at once if some do. */
export declare function onSockets(handle: number, callback: () => void): void

/** What the engine says to a question that came behind other requests of a connection; null: it is no question. */
export declare function probe(handle: number, asked: NativeProbe): NativeReply | null

/** From here on whoever would be handed over is answered 503. */
export declare function refuseSockets(handle: number): void

/** Sends a text to one connection; false: nobody has this id. */
export declare function send(handle: number, conn: number, text: string): boolean

/** Sends bytes to one connection; false: nobody has this id. */
export declare function sendBytes(handle: number, conn: number, bytes: Uint8Array): boolean

/**
 * Takes the socket that waits longest; null: none does, and the next to come wakes. Its descriptor is the caller's from then on:
 * one at a time, because those of a thread that is terminated would be nobody's.
 */
export declare function takeSocket(handle: number): NativeSocket | null

/**
 * The calls of every turn, whose arguments nobody checks but the facade:
 *
 * - `takeBatch`: what `onBatch()` announced, for the reader it returned. Bytes written to `out`; 0: nothing there, and the next event
 *   wakes the `onBatch` callback once; below 0: the size in bytes `out` must have, and nothing was taken. Never blocks. With `columns`
 *   messages of one shape cross as columns.
 * - `state`: where the engine is in its life: 0 created, 1 running, 2 draining, 3 stopped; stopped when it is gone. Never fails.
 * - `room`: bytes that may be published before publishers should wait; below 0, as `-1 - bytes`, publishers should wait, and only so
 *   many bytes are taken before the hard limit. Less than `wanted` counts as a refusal.
 * - `handOver`: takes what was collected, in order: `text` of `units` UTF-16 units, `bytes`, and the first `noted` numbers of `notes`,
 *   which say what it is (`crates/engine/src/outbox.rs`). Returns what `room` does.
 */
export declare function turnCalls(): { takeBatch(reader: number, out: Uint8Array, max: number, columns: boolean): number; state(handle: number): 0 | 1 | 2 | 3; room(handle: number, wanted: number): number; handOver(handle: number, text: string, units: number, bytes: Uint8Array | null, notes: Uint32Array, noted: number): number }

/** The version of the addon, compared by the loader with the package's. */
export declare function version(): string
