/**
 * The border, declared once: what the addon offers, field by field.
 *
 * Nothing here is public. Every field of an object that crosses is always set, `null` for "none", so that a
 * missing one is a mistake on our side and never a default.
 */

/** Claims and keys the engine checks tokens with. Times in seconds. */
export interface NativeJwtOptions {
  secret: Uint8Array;
  algorithm: string;
  issuer: string | null;
  audience: string | null;
  cookieName: string;
  previousSecret: Uint8Array | null;
  keyId: string | null;
  leeway: number;
  allowMissingClaims: boolean;
  closeOnExpiry: boolean;
}

/** Everything an engine needs to know, checked and complete. Times in seconds, sizes in bytes. */
export interface NativeOptions {
  host: string;
  port: number;
  maxConnections: number;
  path: string | null;
  allowedOrigins: string[] | null;
  subscriptions: 'app' | 'acl';
  serverReady: boolean;
  jwt: NativeJwtOptions | null;
  tls: { cert: Uint8Array; key: Uint8Array } | null;
  rateLimit: { capacity: number; refill: number };
  maxMessageSize: number;
  maxInboundQueueSize: number;
  maxInboundQueueBytes: number;
  inboundOverflow: 'pause' | 'drop';
  inboundCodecs: boolean;
  maxJsonDepth: number;
  maxOutboundQueueBytes: number;
  slowConsumer: 'drop' | 'close';
  maxReassemblyBytes: number;
  maxSubscriptionsPerConnection: number;
  pingInterval: number;
  idleTimeout: number;
  shards: number;
  handshake: { timeout: number; maxPending: number; maxPendingPerAddress: number };
  publisher: { highWaterMark: number; hardLimit: number };
  closeTimeout: number;
}

/** What {@link NativeCalls.state} reports. */
export const NativeState = { created: 0, running: 1, draining: 2, stopped: 3 } as const;

/** Publisher pressure: below the high-water mark, above it, over the hard limit (nothing was taken). */
export const Pressure = { below: 0, above: 1, refused: -1 } as const;

/** One engine, as this thread sees it. */
export interface NativeServer {
  handle(): number;
  start(): Promise<{ host: string; port: number }>;
  /** true: every client left in time. */
  drain(closeCode: number, reason: string, timeoutMs: number): Promise<boolean>;
  stop(closeCode: number, reason: string, timeoutMs: number): Promise<void>;
  /** Payload bytes; 0 duplicate or rate limited; -1 unknown connection. */
  sendEvent(conn: number, json: string, compressionThreshold: number): number;
  highWaterMark(): number;
  broadcastAll(text: string): number;
  broadcastAllBytes(bytes: Uint8Array): number;
  pressure(): number;
  /** Called, unreferenced, each time the pressure falls below the mark. */
  onDrained(callback: (() => void) | null): void;
  /** Number accepted; -1 unknown connection; -2 no subscription budget left. */
  subscribe(conn: number, topics: string[], queueGroup: string | null): number;
  unsubscribe(conn: number, topics: string[] | null): boolean;
  setTopicAcl(conn: number, allow: string[] | null, deny: string[] | null): boolean;
  disconnect(conn: number, code: number, reason: string): boolean;
  connectionCount(): number;
  connections(): Float64Array;
  connectionId(conn: number): string | null;
  topicSubscriberCount(topic: string): number;
  queueGroupInfo(topic: string): { group: string; members: number }[];
  /**
   * Bytes written to `out`; 0: nothing there, and the next event wakes the `onBatch` callback once; below 0: the size
   * `out` must have, and nothing was taken. Never blocks. With `columns` messages of one shape cross as columns.
   */
  takeBatch(out: Uint8Array, max: number, columns: boolean): number;
  /** One unreferenced wake per batch that appears after `takeBatch` found nothing. Makes this thread a consumer; null ends that. */
  onBatch(callback: (() => void) | null): void;
  /** As `takeBatch`, but blocks up to `timeoutMs` for the first event. */
  drainInbound(out: Uint8Array, max: number, columns: boolean, timeoutMs: number): number;
  /** Whether any thread reads events. */
  isDrained(): boolean;
  inboundQueueDepth(): number;
  inboundDroppedCount(): number;
  healthSnapshot(): string;
  prometheusMetrics(): string;
  reloadTls(cert: Uint8Array, key: Uint8Array): void;
}

/** What is called per message or per batch, on an engine's `handle`: cheaper at the border than methods of a class. */
export interface NativeCalls {
  /** {@link NativeState}. */
  state(handle: number): number;
  /** false: unknown connection. */
  send(handle: number, conn: number, text: string): boolean;
  /** false: unknown connection. */
  sendBytes(handle: number, conn: number, bytes: Uint8Array): boolean;
  /**
   * Takes what was collected, in order. The first `noted` numbers of `notes` say what it is: for a publication the length of its
   * topic, or 2^32 - 1 for the topic before, and that of its text; for a message to one connection 2^32 - 2 (text) or 2^32 - 3
   * (bytes), the lower and upper 32 bits of the connection's id, and its length. Topics and texts stand in `text`, each followed
   * by one separating character and measured in UTF-16 units, bytes in `bytes`. `units` is the length of `text`. Returns `room()`.
   */
  handOver(handle: number, text: string, units: number, bytes: Uint8Array | null, notes: Uint32Array, noted: number): number;
  /**
   * The engine's own memory, kept up to date: one 32-bit word per slot, shard after shard, the generation of the connection that
   * is open there or 0. null: this runtime allows no such memory.
   */
  liveness(handle: number): ArrayBuffer | null;
  /** Words of one shard. */
  livenessPerShard(handle: number): number;
  /**
   * Bytes until the hard limit; `-1 - bytes` above the high-water mark. Less than `wanted` counts as a refusal. Throws
   * when the engine does not run.
   */
  room(handle: number, wanted: number): number;
}

/** How a token is checked by {@link NativeBinding.decodeJwt}. */
export interface NativeDecodeOptions {
  secret: Uint8Array;
  algorithm: string;
  issuer: string | null;
  audience: string | null;
  previousSecret: Uint8Array | null;
  keyId: string | null;
}

/** The exports of the addon. */
export interface NativeBinding extends NativeCalls {
  NativeServer: {
    new (options: NativeOptions): NativeServer;
    attach(handle: number): NativeServer;
  };
  encodeJwt(claimsJson: string, secret: Uint8Array, algorithm: string, keyId: string | null): string;
  decodeJwt(token: string, options: NativeDecodeOptions): string | null;
  version(): string;
  /** `BORDER` of the sources it was built from. */
  border(): number;
}
