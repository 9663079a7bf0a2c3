/** What a server hears: batches for a loop, for a worker that blocks, and for callbacks. One reader per facade. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { toEventCount, toFlag, toOptions } from '../arguments.js';
import { native, WSEStateError } from '../errors.js';
import type { WSEBatch, WSEMessage } from '../events.js';
import { decodeBatch, decodeLazyBatch } from '../inbound/batch.js';
import { Inlet } from '../inbound/inlet.js';
import type { LazyMessage } from '../inbound/lazy.js';
import type { BatchMemory } from '../inbound/memory.js';
import { checkCallbacks, type PumpSource, pump, type WSECallbacks } from './callbacks.js';
import { type EngineHandle, stopped } from './engine-handle.js';
import { Hold } from './hold.js';
import { settleAll } from './outbox.js';
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

/** How messages cross and what is made of them. */
interface Reading<M> {
  columns: boolean;
  decode: (memory: BatchMemory, length: number) => WSEBatch<M>;
}

/** The events of one facade, while somebody reads them. */
interface Source {
  /** The engine runs on this thread: between two turns of JavaScript. */
  readonly runsHere: boolean;
  /** null: nothing there. Whoever takes again is done with what it took before. */
  take<M>(maxEvents: number, reading: Reading<M>): WSEBatch<M> | null;
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
  #pumping = false;

  constructor(engine: EngineHandle) {
    this.#engine = engine;
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
    const ended = engine.hasEnded();
    settleAll();
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      // In slices: a thread that waits in native code can neither be terminated nor see its process exit.
      const slice = Math.max(0, Math.min(DRAIN_SLICE_MS, deadline - performance.now()));
      const batch = engine.raw((native) => this.#inlet.take((out) => native.drainInbound(out, max, columns, slice), decode));
      if (batch !== null) return batch;
      if (ended || engine.hasEnded() || performance.now() >= deadline) break;
    }
    // A loop in a worker has no other way to learn that it may end.
    if (ended) throw stopped();
    return [];
  }

  setCallbacks(callbacks: WSECallbacks): void {
    const checked = checkCallbacks(callbacks);
    this.#engine.refuseStopped();
    if (!this.#pumping) this.#refuseSecondConsumer();
    this.#callbacks = checked;
    if (this.#engine.isRunning()) this.#pump();
  }

  /** Begins to call back, if there is anybody to call. */
  onStarted(): void {
    if (this.#callbacks !== undefined) this.#pump();
  }

  async *#read<M>(
    maxEvents: number,
    signal: AbortSignal | undefined,
    reading: Reading<M>,
  ): AsyncGenerator<WSEBatch<M>, void, undefined> {
    const wake = new Wake();
    const source = this.#open(wake.notify);
    try {
      let inARow = false;
      for (;;) {
        signal?.throwIfAborted();
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

  /** Begins to read: `notify` is called when there is something to take, and at the end. */
  #open(notify: () => void): Source {
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
      const number = engine.raw((native) => native.onBatch(notify));
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
  #take<M>(reader: number, maxEvents: number, { columns, decode }: Reading<M>): WSEBatch<M> | null {
    try {
      const { calls } = this.#engine;
      return native(() => this.#inlet.take((out) => calls.takeBatch(reader, out, maxEvents, columns), decode));
    } catch (error) {
      if (error instanceof WSEStateError && this.#engine.hasEnded()) return null;
      throw error;
    }
  }

  #forget(): void {
    try {
      this.#engine.raw((native) => native.onBatch(null));
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
    const over = (): void => {
      this.#pumping = false;
    };
    try {
      const settle = (): void => this.#engine.deliver();
      const open = (notify: () => void): PumpSource => {
        const { take, ...rest } = this.#open(notify);
        return { ...rest, take: () => take(BATCH_EVENTS, PARSED) };
      };
      pump({ open, settle, callbacks: () => this.#callbacks ?? {}, over });
    } catch (error) {
      over();
      throw error;
    }
  }
}
