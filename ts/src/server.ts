/** `RustWSEServer`: a WebSocket server whose work is done in Rust. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { decodeBatch, decodeLazyBatch } from './batch.js';
import { describe, toOptions } from './bytes.js';
import { native, WSEStateError } from './errors.js';
import type { WSEBatch, WSEMessage } from './events.js';
import { Hold } from './hold.js';
import { Inlet } from './inlet.js';
import type { LazyMessage } from './lazy.js';
import type { BatchMemory } from './memory.js';
import type { NativeServer } from './native/binding.js';
import { loadNative } from './native/loader.js';
import { OptionReader } from './option-reader.js';
import type { TlsOptions, WSEServerOptions } from './option-types.js';
import { resolveOptions } from './options.js';
import { checkCallbacks, pump, type WSECallbacks } from './server/callbacks.js';
import { Connections } from './server/connections.js';
import { type HealthSnapshot, parseHealth } from './server/health.js';
import { type EngineSeat, stopped } from './server/lifecycle.js';
import { settleAll } from './server/outbox.js';
import { suggestOption } from './suggest.js';
import { Wake } from './wake.js';

const BATCH_EVENTS = 1024;
const DRAIN_EVENTS = 256;
const DRAIN_TIMEOUT_MS = 50;
const DRAIN_SLICE_MS = 50;
const MAX_EVENTS = 65_536;

/** How {@link RustWSEServer.batches} reads. */
export interface BatchesOptions {
  /** Events per batch at most. @default 1024 */
  maxEvents?: number;
  /** Hand out messages as `LazyMessage`, parsed only when asked for. @default false */
  lazy?: boolean;
  /** Ends the loop by making it throw the signal's reason. @default none */
  signal?: AbortSignal;
}

/**
 * A WebSocket server. All connections, topics and queues live in the engine; this object only talks to it.
 *
 * Inbound events come through exactly one of: a `batches()` loop, `setCallbacks()`, or `drainInbound()` in a worker.
 *
 * ```ts
 * await using server = new RustWSEServer({ port: 5007 })
 * await server.start()
 * for await (const batch of server.batches())
 *   for (const [type, conn, payload] of batch)
 *     if (type === 'msg') server.sendEvent(conn, { t: 'echo', p: payload.p })
 * ```
 */
export class RustWSEServer extends Connections {
  #consuming = false;
  #callbacks: WSECallbacks | undefined;
  #pumping = false;
  readonly #inlet = new Inlet();

  /**
   * Checks the options and creates an engine. Nothing is bound before `start()`.
   *
   * @throws WSEConfigError naming the option; WSEError `WSE_NATIVE_NOT_FOUND` when no addon fits this system.
   */
  constructor(options: WSEServerOptions) {
    super(takeSeat(options));
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
    const engine = native(() => loadNative().NativeServer.attach(handle));
    return new RustWSEServer(new Attached(engine) as unknown as WSEServerOptions);
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
    const { maxEvents = BATCH_EVENTS, signal, lazy = false } = toOptions(options, 'options');
    checkCount(maxEvents, 'maxEvents');
    checkFlag(lazy, 'lazy');
    this.running();
    this.#refuseSecondConsumer();
    const reading: Reading<WSEMessage | LazyMessage> = lazy ? LAZY : PARSED;
    return this.#read(maxEvents, signal, reading);
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
  drainInbound(
    max: number = DRAIN_EVENTS,
    timeoutMs: number = DRAIN_TIMEOUT_MS,
    options: { lazy?: boolean } = {},
  ): WSEBatch<WSEMessage | LazyMessage> {
    const { lazy = false } = toOptions(options, 'options');
    checkCount(max, 'max');
    checkFlag(lazy, 'lazy');
    if (!(typeof timeoutMs === 'number' && timeoutMs >= 0)) throw new TypeError('timeoutMs must be 0 or more');
    this.#refuseSecondConsumer();
    if (!this.started) this.running();
    const ended = this.hasEnded();
    settleAll();
    const { columns, decode }: Reading<WSEMessage | LazyMessage> = lazy ? LAZY : PARSED;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      // In slices: a thread that waits in native code can neither be terminated nor see its process exit.
      const slice = Math.max(0, Math.min(DRAIN_SLICE_MS, deadline - performance.now()));
      const batch = native(() => this.#inlet.take((out) => this.engine.drainInbound(out, max, columns, slice), decode));
      if (batch !== null) return batch;
      if (ended || this.hasEnded() || performance.now() >= deadline) break;
    }
    // A loop in a worker has no other way to learn that it may end.
    if (ended) throw stopped();
    return [];
  }

  /**
   * Calls functions for inbound events, from now or from `start()` on. Calling it again replaces them.
   *
   * @throws TypeError for what is not a function or has an unknown name; WSEStateError when a `batches()` loop of
   *   this facade reads, or the server is stopped.
   */
  setCallbacks(callbacks: WSECallbacks): void {
    const checked = checkCallbacks(callbacks);
    this.refuseStopped();
    if (!this.#pumping) this.#refuseSecondConsumer();
    this.#callbacks = checked;
    if (this.isRunning()) this.#pump();
  }

  /**
   * Does nothing but check that the server has not started: here every server queues its events, and `batches()` or
   * `drainInbound()` read them. Kept for programs that come from the Python server.
   *
   * @throws WSEStateError after `start()`.
   */
  enableDrainMode(): void {
    this.refuseStopped();
    if (this.started) throw new WSEStateError('WSE_ALREADY_RUNNING', 'enableDrainMode() must precede start()');
  }

  /** Inbound events waiting to be read. */
  inboundQueueDepth(): number {
    const engine = this.alive();
    return native(() => engine.inboundQueueDepth());
  }

  /** Inbound events dropped since the start; always 0 with `inboundOverflow: 'pause'`. */
  inboundDroppedCount(): number {
    const engine = this.alive();
    return native(() => engine.inboundDroppedCount());
  }

  /** The state of the server as plain values. */
  healthSnapshot(): HealthSnapshot {
    const engine = this.alive();
    return parseHealth(native(() => engine.healthSnapshot()));
  }

  /** The metrics of the server in the Prometheus text format. */
  prometheusMetrics(): string {
    const engine = this.alive();
    return native(() => engine.prometheusMetrics());
  }

  /**
   * Uses another certificate for connections from now on; existing ones stay.
   *
   * @throws WSEConfigError or WSEError `WSE_TLS_INVALID` when it is refused, and then the old one stays in use.
   */
  reloadTls(tls: TlsOptions): void {
    const reader = new OptionReader(tls, 'tls');
    const cert = reader.key('cert');
    const key = reader.key('key');
    reader.done(suggestOption);
    const engine = this.alive();
    native(() => engine.reloadTls(cert, key));
  }

  /** @internal */
  protected override onStarted(): void {
    super.onStarted();
    if (this.#callbacks !== undefined) this.#pump();
  }

  async *#read<M>(
    maxEvents: number,
    signal: AbortSignal | undefined,
    reading: Reading<M>,
  ): AsyncGenerator<WSEBatch<M>, void, undefined> {
    this.#refuseSecondConsumer();
    this.#consuming = true;
    const wake = new Wake();
    const hold = new Hold();
    const unlisten = this.onEnd(wake.notify);
    try {
      native(() => this.engine.onBatch(wake.notify));
      for (;;) {
        signal?.throwIfAborted();
        // Asked first: what comes between a look that finds nothing and the end would be lost.
        const ended = this.hasEnded();
        const batch = this.#take(maxEvents, reading);
        if (batch !== null) {
          yield batch;
          await nextTurn(); // sockets, timers and other people's promises have their turn, also under a flood
          continue;
        }
        if (ended || !this.started) return;
        if (this.hasEnded()) continue;
        hold.take(this.hasEnded, wake.notify);
        await wake.wait(signal);
      }
    } finally {
      hold.release();
      unlisten();
      this.#consuming = false;
      this.#forget();
    }
  }

  /** null: nothing there, or nothing there any more. */
  #take<M>(maxEvents: number, { columns, decode }: Reading<M>): WSEBatch<M> | null {
    try {
      return native(() => this.#inlet.take((out) => this.engine.takeBatch(out, maxEvents, columns), decode));
    } catch (error) {
      if (error instanceof WSEStateError && this.hasEnded()) return null;
      throw error;
    }
  }

  #forget(): void {
    try {
      this.engine.onBatch(null);
    } catch {
      // The engine has ended and forgot us first.
    }
  }

  #refuseSecondConsumer(): void {
    if (this.#consuming) {
      throw new WSEStateError('WSE_CONSUMER_BUSY', 'another loop (or setCallbacks) reads the events of this server');
    }
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    const batches = this.#read(BATCH_EVENTS, undefined, PARSED);
    pump(batches, () => this.#callbacks ?? {})
      .catch((error: unknown) => {
        process.emitWarning(error instanceof Error ? error : String(error));
      })
      .finally(() => {
        this.#pumping = false;
      });
  }
}

/** How messages cross and what is made of them. */
interface Reading<M> {
  columns: boolean;
  decode: (memory: BatchMemory, length: number) => WSEBatch<M>;
}

const PARSED: Reading<WSEMessage> = { columns: true, decode: decodeBatch };
const LAZY: Reading<LazyMessage> = { columns: false, decode: decodeLazyBatch };

/** Marks the private way of construction. @internal */
class Attached {
  readonly engine: NativeServer;

  constructor(engine: NativeServer) {
    this.engine = engine;
  }
}

function takeSeat(given: unknown): EngineSeat {
  const calls = loadNative();
  if (given instanceof Attached) return { engine: given.engine, calls, owner: false, warnOrigin: false };
  const options = resolveOptions(given as WSEServerOptions);
  return {
    engine: native(() => new calls.NativeServer(options)),
    calls,
    owner: true,
    warnOrigin: options.jwt !== null && options.allowedOrigins === null,
  };
}

function checkFlag(value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw new TypeError(`${name} must be true or false, not ${describe(value)}`);
}

function checkCount(value: unknown, name: string): void {
  if (!(Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_EVENTS)) {
    throw new TypeError(`${name} must be a whole number from 1 to ${MAX_EVENTS}`);
  }
}
