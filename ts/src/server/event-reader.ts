/** What a server hears: batches for a loop, for a worker that blocks, for callbacks and for handlers. One reader per facade. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { toEventCount, toFlag, toOptions } from '../arguments.js';
import { native, WSEStateError } from '../errors.js';
import type { WSEBatch, WSEMessage } from '../events.js';
import { decodeBatch, decodeLazyBatch } from '../inbound/batch.js';
import { Inlet } from '../inbound/inlet.js';
import type { LazyMessage } from '../inbound/lazy.js';
import type { BatchMemory } from '../inbound/memory.js';
import { describeThrown } from '../thrown.js';
import { call, checkCallbacks, hearsAnything, type WSECallbacks } from './callbacks.js';
import type { ClientRequests } from './client-requests.js';
import { type EngineHandle, stopped } from './engine-handle.js';
import type { WSEHandlers } from './handlers.js';
import { Hold } from './hold.js';
import { settleAll } from './outbox.js';
import { type Pump, type PumpSource, pump } from './pump.js';
import { type ServeOptions, serve } from './serve.js';
import { Wake } from './wake.js';

const BATCH_EVENTS = 1024;
const DRAIN_EVENTS = 256;
const DRAIN_TIMEOUT_MS = 50;
const DRAIN_SLICE_MS = 50;

/** How {@link RustWSEServer.batches} reads. */
export interface BatchesOptions {
  /** Events per batch at most. @default 1024 */
  maxEvents?: number;
  /** Hand out messages as `LazyMessage`, parsed only when asked for. @default false */
  lazy?: boolean;
  /** Ends the loop by making it throw the signal's reason. @default none */
  signal?: AbortSignal;
}

/** Who has started this thread to read, and may end that. @internal */
export interface Supervisor {
  /** This thread reads. */
  reading(): void;
  /** `dismiss` is called, between two turns of JavaScript, when it is to read no more. */
  onDismiss(dismiss: () => void): void;
  /** The same for a thread whose event loop has no turn: calls `dismiss` if it is due. */
  look(): void;
}

/** A message, parsed or not. */
type Message = WSEMessage | LazyMessage;

/** How messages cross and what is made of them. */
interface Reading<M extends Message> {
  columns: boolean;
  decode: (memory: BatchMemory, length: number) => WSEBatch<M>;
}

/** The events of one facade, while somebody reads them. */
interface Source {
  /** The engine runs on this thread: between two turns of JavaScript. */
  readonly runsHere: boolean;
  /** null: nothing there. Whoever takes again is done with what it took before. */
  take<M extends Message>(maxEvents: number, reading: Reading<M>): WSEBatch<M> | null;
  /** Whether nothing more comes; what came before may still be there. */
  isOver(): boolean;
  close(): void;
}

const PARSED: Reading<WSEMessage> = { columns: true, decode: decodeBatch };
const LAZY: Reading<LazyMessage> = { columns: false, decode: decodeLazyBatch };
const readingOf = (lazy: boolean): Reading<WSEMessage | LazyMessage> => (lazy ? LAZY : PARSED);

/** The incoming half of one facade. What each call promises is said at the methods of `RustWSEServer`. */
export class EventReader {
  readonly #engine: EngineHandle;
  readonly #inlet = new Inlet();
  #consuming = false;
  #callbacks: WSECallbacks | undefined;
  #pumping: Pump | undefined;
  /** Ends what `serve()` reads. */
  #endServing: (() => void) | undefined;
  /** Reads no more for good, and says so to a loop that waits. */
  #dismissed = false;
  readonly #wake = new Wake();
  readonly #supervisor: Supervisor | undefined;
  readonly #requests: ClientRequests;
  /** Whether there is nothing to read: asked once. */
  #discards: boolean | undefined;

  /**
   * @param requests of this facade, which replies settle
   * @param supervisor of this thread, if it is one of `server.workers()`
   */
  constructor(engine: EngineHandle, requests: ClientRequests, supervisor?: Supervisor) {
    this.#engine = engine;
    this.#requests = requests;
    this.#supervisor = supervisor;
    supervisor?.onDismiss(() => this.dismiss());
  }

  batches(options: BatchesOptions): AsyncGenerator<WSEBatch<WSEMessage | LazyMessage>, void, undefined> {
    const { maxEvents = BATCH_EVENTS, signal, lazy = false } = toOptions(options, 'options');
    toEventCount(maxEvents, 'maxEvents');
    const reading = readingOf(toFlag(lazy, 'lazy'));
    this.#engine.refuseNotStarted();
    this.#refuseSecondConsumer();
    return this.#read(maxEvents, signal, reading);
  }

  drainInbound(
    max: number = DRAIN_EVENTS,
    timeoutMs: number = DRAIN_TIMEOUT_MS,
    options: { lazy?: boolean } = {},
  ): WSEBatch<WSEMessage | LazyMessage> {
    const engine = this.#engine;
    const { lazy = false } = toOptions(options, 'options');
    toEventCount(max, 'max');
    const { columns, decode } = readingOf(toFlag(lazy, 'lazy'));
    if (!(typeof timeoutMs === 'number' && timeoutMs >= 0)) throw new TypeError('timeoutMs must be 0 or more');
    this.#refuseSecondConsumer();
    if (engine.phase === 'created') engine.refuseNotStarted();
    this.#supervisor?.look();
    if (this.#dismissed) throw stopped();
    const ended = engine.hasEnded();
    settleAll();
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      // In slices: a thread that waits in native code can neither be terminated nor see its process exit.
      const slice = Math.max(0, Math.min(DRAIN_SLICE_MS, deadline - performance.now()));
      const batch = engine.raw((native) => this.#inlet.take((out) => native.drainInbound(out, max, columns, slice), decode));
      this.#supervisor?.reading();
      if (batch !== null) return this.#requests.sift(batch);
      if (ended || engine.hasEnded() || performance.now() >= deadline) break;
    }
    // A loop in a worker has no other way to learn that it may end.
    if (ended) throw stopped();
    return [];
  }

  setCallbacks(callbacks: WSECallbacks): void {
    const checked = checkCallbacks(callbacks);
    this.#engine.refuseStopped();
    if (this.#pumping === undefined) this.#refuseSecondConsumer();
    this.#callbacks = hearsAnything(checked) ? checked : undefined;
    if (this.#callbacks === undefined) this.#pumping?.stop();
    else if (this.#engine.isRunning()) this.#pump();
  }

  serve(handlers: WSEHandlers, options: ServeOptions): Promise<void> {
    this.#engine.refuseNotStarted();
    this.#refuseSecondConsumer();
    const closing = (conn: number, code: number): void => {
      // Its end is not the failure's: it may be gone, or the server stopped.
      if (this.#engine.isRunning()) this.#engine.command((engine) => engine.disconnect(conn, code, ''));
    };
    return serve(handlers, options, {
      open: (notify, ring) => this.#openPlain(notify, ring),
      hold: () => this.#engine.hold(),
      settle: () => this.#engine.deliver(),
      close: closing,
      send: (conn, text) => void this.#engine.outbox.send(conn, text),
      isOpen: (conn) => this.#engine.raw((native) => native.connectionInfo(conn)) !== null,
      excuse: () => this.#engine.raw((native) => native.excuseReader()),
      onReading: (stop) => {
        this.#endServing = stop;
      },
    });
  }

  stopReading(): void {
    if (this.#endServing !== undefined) this.#endServing();
    else if (this.#pumping !== undefined) {
      this.#callbacks = undefined;
      this.#pumping.stop();
    } else {
      this.#refuseSecondConsumer();
      this.#forget();
    }
  }

  /** Reads no more for good: loops and `serve()` end, `drainInbound()` says that the server is stopped. */
  dismiss(): void {
    this.#dismissed = true;
    if (this.#endServing !== undefined || this.#pumping !== undefined) this.stopReading();
    else if (!this.#consuming) this.#forget();
    this.#wake.notify();
  }

  /** Begins to call back, if there is anybody to call. */
  onStarted(): void {
    if (this.#callbacks !== undefined) this.#pump();
  }

  async *#read<M extends Message>(
    maxEvents: number,
    signal: AbortSignal | undefined,
    reading: Reading<M>,
  ): AsyncGenerator<WSEBatch<M>, void, undefined> {
    const wake = this.#wake;
    const source = this.#open(wake.notify);
    try {
      let inARow = false;
      for (;;) {
        signal?.throwIfAborted();
        if (this.#dismissed) return;
        const batch = source.take(maxEvents, reading);
        if (batch !== null) {
          if (inARow && source.runsHere) await nextTurn();
          inARow = true;
          yield batch;
          // Sockets, timers and other people's promises have their turn, also under a flood, and so has whoever answers later. An
          // engine on this thread waits for the end of the turn anyway: it gives way only where a batch follows the other.
          if (!source.runsHere) await nextTurn();
          continue;
        }
        inARow = false;
        if (source.isOver()) {
          // What came between the look that found nothing and the end.
          const rest = source.take(maxEvents, reading);
          if (rest === null) return;
          yield rest;
          continue;
        }
        await wake.wait(signal);
      }
    } finally {
      source.close();
    }
  }

  /** Begins to read: `notify` is called when there is something to take, by the engine as `ring`, and at the end. */
  #open(notify: () => void, ring: () => unknown = notify): Source {
    this.#refuseSecondConsumer();
    this.#consuming = true;
    const engine = this.#engine;
    const hold = new Hold();
    const unlisten = engine.onEnd(notify);
    const close = (): void => {
      hold.release();
      unlisten();
      this.#consuming = false;
      this.#forget();
    };
    try {
      const number = engine.raw((native) => native.onBatch(ring));
      this.#supervisor?.reading();
      hold.take(engine.hasEnded, notify);
      const isOver = (): boolean => engine.hasEnded() || engine.phase === 'created';
      const runsHere = engine.raw((native) => native.runsHere());
      return { runsHere, take: (max, reading) => this.#take(number, max, reading), isOver, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** null: nothing there, or nothing there any more. */
  #take<M extends Message>(reader: number, maxEvents: number, { columns, decode }: Reading<M>): WSEBatch<M> | null {
    try {
      const { calls } = this.#engine;
      const batch = native(() => this.#inlet.take((out) => calls.takeBatch(reader, out, maxEvents, columns), decode));
      return batch && this.#requests.sift(batch);
    } catch (error) {
      if (error instanceof WSEStateError && this.#engine.hasEnded()) return null;
      throw error;
    }
  }

  #forget(): void {
    try {
      this.#engine.raw((native) => native.leave());
    } catch {
      // The engine has ended and forgot us first.
    }
  }

  /** @throws WSEStateError while somebody else of this facade reads, or when there is nothing to read at all. */
  #refuseSecondConsumer(): void {
    this.#discards ??= this.#engine.raw((native) => native.discardsEvents());
    if (this.#discards) {
      throw new WSEStateError('WSE_INBOUND_DISCARDED', "this server throws events away (inbound: 'discard')");
    }
    if (this.#consuming) {
      throw new WSEStateError('WSE_CONSUMER_BUSY', 'another loop (or serve(), or callbacks) reads the events of this server');
    }
  }

  #openPlain(notify: () => void, ring: () => boolean): PumpSource {
    const { take, ...rest } = this.#open(notify, ring);
    return { ...rest, take: () => take(BATCH_EVENTS, PARSED) };
  }

  #pump(): void {
    if (this.#pumping !== undefined) return;
    let over = false;
    const pumping = pump({
      open: (notify, ring) => this.#openPlain(notify, ring),
      hold: () => this.#engine.hold(),
      settle: () => this.#engine.deliver(),
      handle: (event) => call(this.#callbacks ?? {}, event),
      over: (error) => {
        over = true;
        this.#pumping = undefined;
        if (error !== undefined) process.emitWarning(error instanceof Error ? error : describeThrown(error).text);
        // Others were set in the turn in which it ended.
        else if (this.#callbacks !== undefined && this.#engine.isRunning()) this.#pump();
      },
    });
    if (!over) this.#pumping = pumping;
  }
}
