/**
 * `RustWSEServer`: a WebSocket server whose work is done in Rust. The public face; each call is done by the part it names. Longer
 * than other files, because what a call promises is said where it is declared.
 */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { threadId } from 'node:worker_threads';
import { toOptions } from '../arguments.js';
import type { BytesLike } from '../bytes.js';
import { describe } from '../describe.js';
import type { AudienceOptions, PublishBytesOptions, PublishOptions } from '../envelope.js';
import { native, WSEStateError } from '../errors.js';
import type { JsonValue, PresenceMember, PresenceStats, WSEBatch, WSEMessage } from '../events.js';
import type { LazyMessage } from '../inbound/lazy.js';
import { loadNative } from '../native/loader.js';
import { OptionReader } from '../options/reader.js';
import { MAX_PENDING_REQUESTS, readTls } from '../options/resolve.js';
import type { TlsOptions, WSEServerOptions } from '../options/types.js';
import type { AttachOptions, UpgradeSource } from '../upgrade/attachments.js';
import { Upgrades } from '../upgrade/upgrades.js';
import type { WSECallbacks } from './callbacks.js';
import { ClientRequests, type RequestOptions } from './client-requests.js';
import {
  ConnectionCalls,
  type ConnectionInfo,
  type PresenceSubscribeOptions,
  type PresenceSubscription,
  type SubscribeOptions,
  type TopicAcl,
} from './connection-calls.js';
import { createEngine, warnOfOrigin } from './create.js';
import { EngineHandle } from './engine-handle.js';
import { type BatchesOptions, EventReader } from './event-reader.js';
import type { WSEHandlers } from './handlers.js';
import { type HealthSnapshot, parseHealth } from './health.js';
import { HttpDoor } from './http-door.js';
import { type CloseOptions, Lifecycle, type StartedAt } from './lifecycle.js';
import { Publisher } from './publisher.js';
import {
  type HistoryOptions,
  type RecoverOptions,
  RecoveryCalls,
  type RecoveryResult,
  type TopicHistory,
  type TopicPosition,
} from './recovery-calls.js';
import type { ServeOptions } from './serve.js';
import { supervisedHandle, supervisorOf } from './supervised.js';
import { TokenCalls, type TokenRefreshed, type TokenRevocation } from './token-calls.js';
import { Pool, type WorkerPool, type WorkersOptions } from './workers.js';

/**
 * A WebSocket server. All connections, topics and queues live in the engine; this object only talks to it.
 *
 * Inbound events come through exactly one of: `serve()`, a `batches()` loop, `setCallbacks()`, or `drainInbound()` in a worker.
 *
 * ```ts
 * await using server = new RustWSEServer({ port: 5007 })
 * await server.start()
 * for await (const batch of server.batches())
 *   for (const [type, conn, payload] of batch)
 *     if (type === 'msg') server.sendEvent(conn, { t: 'echo', p: payload.p })
 * ```
 */
export class RustWSEServer<Port extends number | null | undefined = number | null | undefined> {
  readonly #engine: EngineHandle;
  readonly #life: Lifecycle;
  readonly #publisher: Publisher;
  readonly #connections: ConnectionCalls;
  readonly #recovery: RecoveryCalls;
  readonly #tokens: TokenCalls;
  readonly #requests: ClientRequests;
  readonly #reader: EventReader;
  readonly #upgrades: Upgrades;
  readonly #pools = new Set<Pool>();

  /**
   * Checks the options and creates an engine. Nothing is bound before `start()`.
   *
   * @throws WSEConfigError naming the option; WSEError `WSE_NATIVE_NOT_FOUND` when no addon fits this system.
   */
  constructor(options?: WSEServerOptions & { port?: Port });
  /** Of a running engine. @internal */
  constructor(engine: EngineHandle);
  constructor(given: WSEServerOptions | EngineHandle = {}) {
    const created = given instanceof EngineHandle ? null : createEngine(given);
    const engine = created?.engine ?? (given as EngineHandle);
    const { paths = null, warnOrigin = false, questions } = created ?? {};
    this.#engine = engine;
    this.#publisher = new Publisher(engine);
    this.#connections = new ConnectionCalls(engine);
    this.#recovery = new RecoveryCalls(engine);
    this.#tokens = new TokenCalls(engine);
    this.#requests = new ClientRequests(engine, created?.maxPendingRequests ?? MAX_PENDING_REQUESTS);
    this.#reader = new EventReader(engine, this.#requests, given instanceof EngineHandle ? supervisorOf(engine.id) : undefined);
    this.#upgrades = new Upgrades(engine, paths);
    const door = created?.httpServer ? new HttpDoor(engine, created.httpServer, this.#upgrades, created.probes) : null;
    this.#life = new Lifecycle(engine, () => {
      if (warnOrigin) warnOfOrigin();
      questions?.begin();
      this.#reader.onStarted();
      door?.open();
    });
  }

  /**
   * A second facade on a running engine, usually in a worker thread. It does not keep the process alive, except
   * while a `batches()` loop of it waits.
   *
   * @param handle the `handle` of the server
   * @throws WSEStateError when there is no such engine in this process.
   */
  static attach(handle: number): RustWSEServer {
    if (typeof handle !== 'number') throw new TypeError(`handle must be a number, not ${describe(handle)}`);
    // The border would cut a fraction off and find somebody else's engine.
    if (!(Number.isInteger(handle) && handle >= 0 && handle < 2 ** 32)) {
      throw new WSEStateError('WSE_UNKNOWN_HANDLE', 'no server of this process has this handle');
    }
    const binding = loadNative();
    const engine = native(() => binding.NativeServer.attach(handle));
    engine.setThread(threadId);
    return new RustWSEServer(new EngineHandle(binding, engine, 'started'));
  }

  /**
   * The facade of a thread that `server.workers()` has started, on the server that started it.
   *
   * @throws WSEStateError `WSE_NO_WORKER` in any other thread; otherwise as `attach()`.
   */
  static fromWorker(): RustWSEServer {
    const handle = supervisedHandle();
    if (handle === undefined) throw new WSEStateError('WSE_NO_WORKER', 'this thread was not started by server.workers()');
    return RustWSEServer.attach(handle);
  }

  /**
   * Binds the address, if there is a `port`, and starts the engine's threads. From here until `stop()` the process stays alive.
   *
   * @returns where it listens; both members are null without `port`
   * @throws {@link WSEError} `WSE_ADDR_IN_USE`, `WSE_ADDR_NOT_AVAILABLE`, `WSE_PERMISSION` or `WSE_START_FAILED`;
   *   {@link WSEStateError} when it runs already or is stopped.
   */
  start(): Promise<StartedAt<Port>> {
    // Which of the two it is was decided with the options; the type parameter says no more than they do.
    return this.#life.start() as Promise<StartedAt<Port>>;
  }

  /**
   * Closes every connection, ends the engine's threads and lets the process exit. What has already arrived can
   * still be read from a running `batches()` loop, which then ends. Waits for the threads of `workers()`. Calling it again waits
   * for the same end.
   *
   * @param options `closeCode` @default 1012, `timeout` in seconds @default 2
   */
  async stop(options: CloseOptions = {}): Promise<void> {
    await this.#life.stop(options);
    await Promise.all([...this.#pools].map((pool) => pool.stop()));
  }

  /**
   * Accepts nobody any more, sends every client a Close and waits until they have left. Follow it with `stop()`.
   *
   * @param options `closeCode` @default 4300, `timeout` in seconds @default 30
   * @returns true when every client left in time
   * @throws {@link WSEStateError} when the server does not run.
   */
  drain(options: CloseOptions = {}): Promise<boolean> {
    return this.#life.drain(options);
  }

  /**
   * Takes the upgrades that come to an HTTP server, of which everything else stays as it is. A plain socket leaves Node and is served
   * like one of the engine's own port; TLS, and everything on Windows, Bun and Deno, is pumped through (docs/http.md). An upgrade to
   * a path that is not ours is left to whoever else listens for `'upgrade'`, and answered 404 where nobody does; one to something else
   * than a WebSocket is a plain request then. Several servers may be attached, before or after `start()`; `stop()` detaches them all.
   *
   * @param options `path`: take upgrades to this path only @default the `path` or `paths` of this server, or any
   * @returns what detaches it; connections stay
   * @throws TypeError for what is no HTTP server; WSEConfigError for an option that is wrong; WSEStateError once it is stopped.
   */
  attachTo(httpServer: UpgradeSource, options: AttachOptions = {}): () => void {
    return this.#upgrades.attachTo(httpServer, options);
  }

  /**
   * Serves what came with an `'upgrade'` event of an HTTP server. From here on the socket is the engine's: for Node it is destroyed,
   * or pumped through. What the client can get wrong is answered (400, 403, 404, 426, 431), and 503 while the engine does not run or
   * is full; nothing a client sends throws.
   *
   * @param head what came behind the request @default nothing
   * @returns false: the socket is closed, or was handed over before, and nothing was done
   * @throws TypeError for what is no request, stream or bytes; WSEArgumentError `WSE_NO_UPGRADE` for a request without an `Upgrade`
   *   header, which comes with no such event.
   */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head?: BytesLike): boolean {
    return this.#upgrades.handle(request, socket, head);
  }

  /** Whether clients are being served; also true while draining. */
  isRunning(): boolean {
    return this.#engine.isRunning();
  }

  /** A number that names this engine in the whole process: give it to a worker, which calls `RustWSEServer.attach`. */
  get handle(): number {
    return this.#engine.id;
  }

  /** `stop()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /**
   * Inbound events in batches, as they come. Never blocks, and lets the event loop turn between batches. Ends after
   * `stop()`, once everything that had arrived was handed out: by then calls on the server throw, so ask `isRunning()`
   * before you answer. Leaving the loop gives this thread's connections to the next one that reads; a loop that waits is
   * ended by `signal`, not by `return()`.
   *
   * @throws WSEStateError when another loop of this facade reads already, or the server does not run; the reason of
   *   `signal` when it is aborted.
   */
  batches(options: BatchesOptions & { lazy: true }): AsyncGenerator<WSEBatch<LazyMessage>, void, undefined>;
  batches(options?: BatchesOptions & { lazy?: false }): AsyncGenerator<WSEBatch, void, undefined>;
  batches(options: BatchesOptions): AsyncGenerator<WSEBatch<WSEMessage | LazyMessage>, void, undefined>;
  batches(options: BatchesOptions = {}): AsyncGenerator<WSEBatch<WSEMessage | LazyMessage>, void, undefined> {
    return this.#reader.batches(options);
  }

  /**
   * Inbound events for a worker thread: blocks this thread up to `timeoutMs` for the first one. What any server of this thread
   * was given to send goes out before.
   *
   * @param max events at most @default 256
   * @param timeoutMs @default 50
   * @param options `lazy`: messages as `LazyMessage` @default false
   * @returns an empty array when nothing came in time
   * @throws WSEStateError `WSE_STOPPED` once the server is stopped and everything that had arrived was handed out; also
   *   when a `batches()` loop of this facade reads, or the server was not started.
   */
  drainInbound(max: number | undefined, timeoutMs: number | undefined, options: { lazy: true }): WSEBatch<LazyMessage>;
  drainInbound(max?: number, timeoutMs?: number, options?: { lazy?: false }): WSEBatch;
  drainInbound(max?: number, timeoutMs?: number, options?: { lazy?: boolean }): WSEBatch<WSEMessage | LazyMessage>;
  drainInbound(max?: number, timeoutMs?: number, options?: { lazy?: boolean }): WSEBatch<WSEMessage | LazyMessage> {
    return this.#reader.drainInbound(max, timeoutMs, options);
  }

  /**
   * Calls functions for inbound events, from now or from `start()` on. Calling it again replaces them; without any (`{}`) this thread
   * reads no more.
   *
   * @throws TypeError for what is not a function or has an unknown name; WSEStateError when a `batches()` loop of
   *   this facade reads, or the server is stopped.
   */
  setCallbacks(callbacks: WSECallbacks): void {
    this.#reader.setCallbacks(callbacks);
  }

  /**
   * Calls asynchronous handlers for inbound events. The next event of a connection waits for the promise of the one before it,
   * other connections do not; a handler that returns no promise costs none. A throw or rejection goes to `handlers.error` with its
   * connection (without it: a process warning) and ends nothing. What `handlers.message` returns answers a client's request.
   *
   * @param options `concurrency`: handlers in progress at most @default 1024, `maxWaiting` events @default 4096, `onError`
   * @returns resolves when the server has stopped, or `signal` was aborted, and all handlers are done
   * @throws TypeError, as a rejection, for what is no handler; WSEStateError when somebody else of this facade reads, or the server does not run.
   */
  async serve(handlers: WSEHandlers, options: ServeOptions = {}): Promise<void> {
    await this.#reader.serve(handlers, options);
  }

  /**
   * This thread reads events no more, whether by `serve()`, callbacks or `drainInbound()`; its connections go to other readers.
   * Whoever reads again begins anew.
   *
   * @throws WSEStateError `WSE_CONSUMER_BUSY` while a `batches()` loop reads: that is left by `break` or `signal`.
   */
  stopReading(): void {
    this.#reader.stopReading();
  }

  /**
   * Starts threads that read this server's events, best before `start()`: then connections are spread evenly from the first on. In
   * them `RustWSEServer.fromWorker()` is the server. One that ends without having been asked to is replaced, after 0.1 to 10
   * seconds; its connections go to the others meanwhile (`adopt`). `stop()` ends them all.
   *
   * @param url of the module each of them runs
   * @param options `count` @default one per core but one, `workerData`, `onExit`, `stopTimeout` and others
   * @returns the threads, once all of them read
   * @throws WSEError `WSE_WORKER_FAILED` when one of them ends before it reads, and then none is left; TypeError for options that
   *   are none; WSEStateError when the server is stopped.
   */
  async workers(url: URL | string, options: WorkersOptions = {}): Promise<WorkerPool> {
    const engine = this.#engine;
    engine.refuseStopped();
    const server = { handle: engine.id, hasEnded: engine.hasEnded, onEnd: (listener: () => void) => engine.onEnd(listener) };
    const pool = new Pool(server, url, toOptions(options, 'options'));
    this.#pools.add(pool);
    return pool.start();
  }

  /**
   * Does nothing but check that the server has not started: here every server queues its events, and `batches()` or
   * `drainInbound()` read them. Kept for programs that come from the Python server.
   *
   * @throws WSEStateError after `start()`.
   */
  enableDrainMode(): void {
    this.#engine.refuseStopped();
    if (this.#engine.phase === 'started')
      throw new WSEStateError('WSE_ALREADY_RUNNING', 'enableDrainMode() must precede start()');
  }

  /**
   * Sends text to one connection, exactly as given. What one turn of the event loop sends and publishes crosses to the engine
   * together, in the order of the calls, at the end of the turn at the latest: who then computes for long gives way first
   * (`await null`).
   *
   * @returns false: no such connection
   * @throws TypeError for anything but a string; WSEOverloadedError above `publisher.hardLimit`, and then nothing was
   *   taken; WSEStateError when the server does not run.
   */
  send(conn: number, text: string): boolean {
    return this.#publisher.send(conn, text);
  }

  /**
   * Asks a client, and waits for its answer, which must come among the events of this facade: ask from the thread that reads the
   * connection. A reader that is full (`serve`'s `maxWaiting`) or stands still takes no answers either.
   *
   * @param payload anything with a JSON form @default null
   * @param options `timeout` in seconds @default 10, `signal`
   * @returns what the client answers
   * @throws as a rejection: {@link WSERequestError} with what the client says of its failure; WSEError `WSE_REQUEST_TIMEOUT` or
   *   `WSE_REQUEST_DISCONNECTED`; the reason of `signal`; WSEOverloadedError `WSE_REQUESTS_FULL` while `maxPendingRequests` wait;
   *   otherwise as `send()`.
   */
  async request<T = JsonValue>(conn: number, type: string, payload?: unknown, options: RequestOptions = {}): Promise<T> {
    return (await this.#requests.request(conn, type, payload, options)) as T;
  }

  /** Requests of this facade that wait for their answers; at most `maxPendingRequests`. */
  get pendingRequests(): number {
    return this.#requests.pending;
  }

  /**
   * Sends bytes to one connection in a binary frame. They are copied before the call returns, and cross as with `send()`.
   *
   * @returns false: no such connection
   * @throws TypeError when `bytes` holds none or is detached; otherwise as `send()`.
   */
  sendBytes(conn: number, bytes: BytesLike): boolean {
    return this.#publisher.sendBytes(conn, bytes);
  }

  /**
   * Sends an object as an envelope: `c` and `v` are set, `id`, `ts` and `seq` when they are missing. Text; to clients that have
   * said `client_hello` bytes, compressed above the threshold; msgpack to those that asked for it.
   *
   * Bytes become hex, dates ISO text, NaN and infinities null, big integers beyond 64 bits and maps text.
   *
   * @param options `compressionThreshold` in bytes of JSON @default 1024
   * @returns bytes of payload sent; 0 for a duplicate `id` or an exhausted rate limit; false: no such connection
   * @throws TypeError when `event` is not an object with a JSON form, or is nested more than 127 deep;
   *   WSEOverloadedError above `publisher.hardLimit`, and then nothing was taken; WSEStateError when the server does not run.
   */
  sendEvent(conn: number, event: object, options: { compressionThreshold?: number } = {}): number | false {
    return this.#publisher.sendEvent(conn, event, options);
  }

  /**
   * Sends text to every subscriber of a topic. A JSON object without a category gets one. It crosses to the engine
   * as with `send()`.
   *
   * @param topic a name; in what a user typed `*` and `?` would be a pattern: `topicSegment()` encodes it
   * @param options `except`: a connection that does not get it @default nobody
   * @returns true: go on; false: taken, but the engine is behind (`publisher.targetDelay`): await `drained()`
   * @throws TypeError for anything but strings; WSEArgumentError `WSE_INVALID_TOPIC` for an empty topic or a pattern; WSEOverloadedError above `publisher.hardLimit`, and then nothing was
   *   taken; WSEStateError when the server does not run.
   */
  broadcast(topic: string, text: string, options?: AudienceOptions): boolean {
    return this.#publisher.broadcast(topic, text, options);
  }

  /** `broadcast()` that never leaves this process, also when the server is part of a cluster. */
  broadcastLocal(topic: string, text: string, options?: AudienceOptions): boolean {
    return this.#publisher.broadcast(topic, text, options);
  }

  /**
   * Sends text to every connection. A JSON object without a category gets one.
   *
   * @returns as `broadcast()`
   * @throws as `broadcast()`
   */
  broadcastAll(text: string): boolean {
    return this.#publisher.broadcastAll(text);
  }

  /**
   * Sends bytes to every connection, exactly as given.
   *
   * @returns as `broadcast()`
   * @throws TypeError when `bytes` holds none or is detached; otherwise as `broadcast()`.
   */
  broadcastAllBytes(bytes: BytesLike): boolean {
    return this.#publisher.broadcastAllBytes(bytes);
  }

  /**
   * `broadcast()` of the envelope `{c, t: type, p: payload, id?, ts?, topic?, v}`.
   *
   * @param options `except`: a connection that does not get it; `includeTopic`: the envelope names the topic; `id`, `ts`
   * @returns as `broadcast()`
   * @throws WSEArgumentError `WSE_NO_JSON_FORM` when something in `payload` has no JSON form; otherwise as `broadcast()`.
   */
  publish(topic: string, type: string, payload: unknown, options?: PublishOptions): boolean {
    return this.#publisher.publish(topic, type, payload, options);
  }

  /**
   * Sends bytes to every subscriber of a topic, as a binary frame and exactly as given. Pressure, order and crossing are those of
   * `broadcast()`; the bytes are copied before the call returns.
   *
   * @param options `except`: a connection that does not get it; `includeTopic`: `T:`, the name's length in two bytes (big
   *   endian) and the name stand before the bytes @default neither
   * @returns as `broadcast()`
   * @throws TypeError when `bytes` holds none or is detached; otherwise as `broadcast()`.
   */
  publishBytes(topic: string, bytes: BytesLike, options: PublishBytesOptions = {}): boolean {
    return this.#publisher.publishBytes(topic, bytes, options);
  }

  /**
   * Resolves once publishing may go on: at once without pressure, else when the engine has caught up.
   *
   * @throws the reason of `signal` when it is aborted; WSEStateError when the server does not run or stops meanwhile.
   */
  drained(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#publisher.drained(options);
  }

  /**
   * Subscribes a connection to topics and patterns. Topics its ACL does not allow are left out.
   *
   * @param options `queueGroup`: each publish reaches one member of the group instead of every subscriber; `exact`: each of
   *   `topics` must be a name, no pattern @default false; `presence`: a JSON object with which the user of the connection is present
   *   on those of `topics` that are no patterns (docs/presence.md)
   * @returns how many topics were accepted, with `presence` a {@link PresenceSubscription}: whatever is refused of that, the topics
   *   are subscribed; false: no such connection
   * @throws WSEError `WSE_SUBSCRIPTION_LIMIT` when `maxSubscriptionsPerConnection` leaves no room; WSEArgumentError
   *   `WSE_INVALID_TOPIC` for an empty topic or a pattern with `exact`; TypeError for anything but strings; WSEStateError when
   *   the server does not run.
   */
  subscribeConnection(conn: number, topics: readonly string[], options: PresenceSubscribeOptions): PresenceSubscription | false;
  subscribeConnection(conn: number, topics: readonly string[], options?: SubscribeOptions): number | false;
  subscribeConnection(
    conn: number,
    topics: readonly string[],
    options: SubscribeOptions | PresenceSubscribeOptions = {},
  ): PresenceSubscription | number | false {
    return toOptions(options, 'options').presence === undefined
      ? this.#connections.subscribe(conn, topics, options as SubscribeOptions)
      : this.#connections.subscribePresent(conn, topics, options as PresenceSubscribeOptions);
  }

  /**
   * Other presence data on every topic the connection is present on, for all connections of its user; subscribers are told
   * (`presence_update`).
   *
   * @param data a JSON object of at most `presence.maxDataSize` bytes
   * @returns on how many topics; false: no such connection
   * @throws WSEStateError `WSE_PRESENCE_OFF`, `WSE_PRESENCE_NONE` when it is present on none; WSEError `WSE_PRESENCE_TOO_LARGE`;
   *   WSEOverloadedError above `publisher.hardLimit`, and then nothing was changed; TypeError for what is no JSON object.
   */
  updatePresence(conn: number, data: object): number | false {
    return this.#connections.updatePresence(conn, data);
  }

  /**
   * Who is present on a topic, by user; empty without presence. It is as large as the topic: ask `presenceStats()` how large that is.
   *
   * @throws TypeError for anything but a string; WSEStateError when the server does not run.
   */
  presence(topic: string): Record<string, PresenceMember> {
    return this.#connections.presence(topic);
  }

  /**
   * How many users are present on a topic, and by how many connections, in constant time.
   *
   * @throws as `presence()`
   */
  presenceStats(topic: string): PresenceStats {
    return this.#connections.presenceStats(topic);
  }

  /**
   * Subscribes a connection and replays what it has missed (`recovery`, docs/recovery.md), as one sequence with what is published
   * meanwhile: no gap, no repetition. A topic it holds already, or through a pattern, is replayed and subscribed no second time: that
   * is how a client's request to fill a gap is answered. The engine's order is: what was missed, then whatever you send when this has
   * resolved, and live messages as they come.
   *
   * @returns what became of each topic; null: no such connection, or it has left meanwhile
   * @throws as `subscribeConnection()`; rejects with WSEOverloadedError when 65,536 requests of the connection's shard wait for their replay already.
   */
  subscribeWithRecovery(conn: number, topics: readonly string[], options: RecoverOptions = {}): Promise<RecoveryResult | null> {
    return this.#recovery.subscribe(conn, topics, options);
  }

  /**
   * Where a topic is: what was published before, by this thread, is counted in. Publications that are no JSON objects are not.
   *
   * @returns null: it cannot be recovered, or nobody has published or subscribed to it for as long as anything is kept
   */
  position(topic: string): TopicPosition | null {
    return this.#recovery.position(topic);
  }

  /**
   * What is kept of a topic.
   *
   * @returns null: as `position()`
   */
  history(topic: string, options: HistoryOptions = {}): TopicHistory | null {
    return this.#recovery.history(topic, options);
  }

  /**
   * Ends subscriptions of a connection, queue groups included.
   *
   * @param topics @default all of them
   * @returns false: no such connection
   */
  unsubscribeConnection(conn: number, topics?: readonly string[] | null): boolean {
    return this.#connections.unsubscribe(conn, topics);
  }

  /**
   * Replaces the ACL of a connection. It is asked at subscribe and again at delivery: subscriptions stay, and deliver what it allows.
   * From then on no token changes it: `refreshToken()` and `auth_refresh` keep what you have said.
   *
   * **An empty `allow` allows EVERYTHING** that `deny` does not forbid, as no `allow` does (the published rule): who computes that
   * nothing is allowed passes `{ deny: ['*'] }`, never `{ allow: [] }`.
   *
   * @returns false: no such connection
   */
  setTopicAcl(conn: number, acl: TopicAcl = {}): boolean {
    return this.#connections.setTopicAcl(conn, acl);
  }

  /**
   * Closes a connection.
   *
   * @param options `code` @default 4300, after which published clients reconnect; `reason` @default ''
   * @returns false: no such connection
   * @throws TypeError for a code that must not be sent; WSEStateError when the server does not run.
   */
  disconnect(conn: number, options: { code?: number; reason?: string } = {}): boolean {
    return this.#connections.disconnect(conn, options);
  }

  /**
   * Sends to every connection of the user a verified token names: text and bytes as `send()` and `sendBytes()` do, any other object
   * as `sendEvent()`.
   *
   * @returns how many connections it was taken for; 0: the user has none
   * @throws as those calls; above `publisher.hardLimit` some of the connections may have got it.
   */
  sendToUser(user: string, payload: string | BytesLike | object, options: { compressionThreshold?: number } = {}): number {
    return this.#publisher.sendToUser(this.#connections.ofUser(user), payload, options);
  }

  /**
   * Closes every connection of the user a verified token names. Published clients come back at once: who is not to needs a token that
   * is refused ({@link revoke}), and who is to ask for a new one is closed with 4401.
   *
   * @param options as of `disconnect()`
   * @returns how many connections were closed
   */
  disconnectUser(user: string, options: { code?: number; reason?: string } = {}): number {
    return this.#connections.disconnectUser(user, options);
  }

  /**
   * Gives a connection another token of the same user (`sub`), as its client does with `auth_refresh`: in one step its expiry, its
   * topics (`wse_topics`, unless `setTopicAcl()` or `onUpgrade` has said what it may have) and what it is revoked by. What it may not
   * have any more ends at that point of its stream, with an `unsubscribe` event; everything else goes on without a gap.
   *
   * @returns until when it lasts; false: no such connection, or one that closes
   * @throws WSEError `WSE_TOKEN_INVALID`, `WSE_TOKEN_REVOKED`, `WSE_TOKEN_OTHER_USER`, `WSE_TOKEN_UNAVAILABLE` or `WSE_TOKEN_BUSY`, and
   *   nothing has changed; WSEStateError `WSE_NO_JWT`, or when the server does not run.
   */
  refreshToken(conn: number, token: string): Promise<TokenRefreshed | false> {
    return this.#tokens.refresh(conn, token);
  }

  /**
   * Believes these tokens no more: they are refused in the handshake and at a refresh, and connections that are open with one are
   * closed with 4401. It holds in this process, until it ends or, with `jwt.maxLifetime`, until none of the tokens can be valid.
   *
   * @returns how many connections were closed
   * @throws TypeError unless there is a `sub` or a `jti`; WSEError `WSE_REVOCATIONS_FULL`, and nothing was done; WSEStateError
   *   `WSE_NO_JWT`, or when the server does not run.
   */
  revoke(revocation: TokenRevocation): number {
    return this.#tokens.revoke(revocation);
  }

  /** The connections of the user a verified token names; a snapshot. */
  getUserConnections(user: string): number[] {
    return this.#connections.ofUser(user);
  }

  /**
   * What is known of a connection, at once and without asking its shard, or null: no such connection.
   *
   * @throws TypeError for anything but a number; WSEStateError when the server does not run.
   */
  getConnectionInfo(conn: number): ConnectionInfo | null {
    return this.#connections.info(conn);
  }

  /** How many connections are open. */
  getConnectionCount(): number {
    return this.#connections.count();
  }

  /** The ids of all open connections; a snapshot. */
  getConnections(): number[] {
    return this.#connections.ids();
  }

  /** The connection id clients know (a UUID), or null: no such connection. */
  getConnectionId(conn: number): string | null {
    return this.#connections.uuid(conn);
  }

  /** The subprotocol a connection has agreed on (`protocols`), or null: none, or no such connection. */
  getConnectionProtocol(conn: number): string | null {
    return this.#connections.protocol(conn);
  }

  /** How many connections are subscribed to exactly this name; patterns and queue groups do not count. */
  getTopicSubscriberCount(topic: string): number {
    return this.#connections.subscriberCount(topic);
  }

  /** Members per queue group of a topic. */
  getQueueGroupInfo(topic: string): Record<string, number> {
    return this.#connections.queueGroups(topic);
  }

  /** Inbound events waiting to be read. */
  inboundQueueDepth(): number {
    return this.#engine.ask((engine) => engine.inboundQueueDepth());
  }

  /** Inbound events dropped since the start; always 0 with `inboundOverflow: 'pause'`. */
  inboundDroppedCount(): number {
    return this.#engine.ask((engine) => engine.inboundDroppedCount());
  }

  /** The state of the server as plain values. */
  healthSnapshot(): HealthSnapshot {
    return parseHealth(this.#engine.ask((engine) => engine.healthSnapshot()));
  }

  /** The metrics of the server in the Prometheus text format. */
  prometheusMetrics(): string {
    return this.#engine.ask((engine) => engine.prometheusMetrics());
  }

  /**
   * Uses another certificate for connections from now on; existing ones stay.
   *
   * @throws WSEConfigError or WSEError `WSE_TLS_INVALID` when it is refused, and then the old one stays in use.
   */
  reloadTls(tls: TlsOptions): void {
    const { cert, key } = readTls(new OptionReader(tls, 'tls'));
    this.#engine.ask((engine) => engine.reloadTls(cert, key)); // no message before or after it depends on it
  }
}
