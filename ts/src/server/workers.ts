/**
 * `server.workers()`: threads that read a server's events, started again when they crash, with growing pauses, and ended with it.
 * Who gets which connection is the engine's to decide.
 */

import { availableParallelism } from 'node:os';
import type { Worker, WorkerOptions } from 'node:worker_threads';
import { toOptions } from '../arguments.js';
import { describe } from '../describe.js';
import { WSEError } from '../errors.js';
import { toSeconds } from '../options/seconds.js';
import { describeThrown, nameThrown } from '../thrown.js';
import { SupervisedWorker, type ThreadEnd } from './supervised-worker.js';

const MAX_COUNT = 256;
const STOP_TIMEOUT = 5;
const START_TIMEOUT = 30;
const MIN_PAUSE_MS = 100;
const MAX_PAUSE_MS = 10_000;
/** A thread that has read for so long has not failed to start. */
const SOUND_MS = 10_000;

/** How a thread of {@link RustWSEServer.workers} has ended without having been asked to. */
export interface WorkerExit {
  /** Which of them, from 0; the one that takes its place has the same. */
  index: number;
  /** The number Node gave the thread. */
  threadId: number;
  /** Its exit code; 1 after an error nobody caught and after `terminate()`. */
  code: number;
  /** What it threw and nobody caught; undefined: it ended otherwise. */
  error: unknown;
  /** Seconds until another takes its place. */
  restartIn: number;
}

/** How {@link RustWSEServer.workers} starts threads and what it does when they end. */
export interface WorkersOptions {
  /** Threads; at most 256. @default one per core but one, at least 1 */
  count?: number;
  /** Members for the `workerData` of each; ours are `handle` and one that begins with `__`. Copied for each start. @default none */
  workerData?: object;
  /** What else `new Worker()` gets: `env`, `argv`, `resourceLimits` …; nothing can be transferred to each start. @default Node's own */
  worker?: Omit<WorkerOptions, 'workerData' | 'eval' | 'transferList'>;
  /** Called with each thread that is started, before it runs: the place to listen to its messages. @default nothing */
  onStart?: (worker: Worker, index: number) => void;
  /** Called when a thread ends without having been asked to. @default a process warning */
  onExit?: (exit: WorkerExit) => void;
  /** Seconds. Time a thread has to begin to read; at most 3600. @default 30 */
  startTimeout?: number;
  /** Seconds. Time a thread has to end once it was asked to; then it is terminated; at most 3600. @default 5 */
  stopTimeout?: number;
}

/** The threads of one call of {@link RustWSEServer.workers}. */
export interface WorkerPool extends AsyncDisposable {
  /** Threads that read now. */
  readonly size: number;
  /**
   * Asks the threads to end: `serve()` and loops end, `drainInbound()` throws `WSE_STOPPED`, and connections go to other readers.
   * Resolves when all have ended; those that have not in time are terminated. Calling it again waits for the same end.
   */
  stop(): Promise<void>;
}

/** What a pool works with. @internal */
export interface PoolServer {
  handle: number;
  hasEnded(): boolean;
  onEnd(listener: () => void): () => void;
}

/** @internal */
export class Pool implements WorkerPool {
  readonly #server: PoolServer;
  readonly #url: URL | string;
  readonly #count: number;
  readonly #data: object;
  readonly #options: WorkersOptions;
  readonly #startTimeoutMs: number;
  readonly #stopTimeoutMs: number;
  readonly #unlisten: () => void;
  readonly #running = new Map<number, SupervisedWorker>();
  readonly #reading = new Set<SupervisedWorker>();
  readonly #pauses = new Map<number, NodeJS.Timeout>();
  /** Starts that failed in a row, per place. */
  readonly #failures: number[] = [];
  #stopping: Promise<void> | undefined;

  /** @throws TypeError, RangeError for options that are none. */
  constructor(server: PoolServer, url: URL | string, options: WorkersOptions) {
    const { count = Math.max(1, availableParallelism() - 1), workerData = {}, startTimeout, stopTimeout } = options;
    if (typeof url !== 'string' && !(url instanceof URL))
      throw new TypeError(`url must be a URL or a path, not ${describe(url)}`);
    if (!Number.isInteger(count) || count < 1 || count > MAX_COUNT) {
      throw new TypeError(`count must be a whole number from 1 to ${MAX_COUNT}, not ${describe(count)}`);
    }
    this.#data = toOptions(workerData, 'workerData');
    for (const name of ['onStart', 'onExit'] as const) {
      const value: unknown = options[name];
      if (value !== undefined && typeof value !== 'function') throw new TypeError(`${name} must be a function`);
    }
    if (options.worker !== undefined && 'transferList' in toOptions(options.worker, 'worker')) {
      throw new TypeError('worker.transferList: what is transferred to a worker is gone when it is started again');
    }
    this.#server = server;
    this.#url = url;
    this.#count = count;
    this.#options = options;
    this.#startTimeoutMs = toSeconds(startTimeout ?? START_TIMEOUT, 'startTimeout', { max: 3600 }) * 1000;
    this.#stopTimeoutMs = toSeconds(stopTimeout ?? STOP_TIMEOUT, 'stopTimeout', { max: 3600, zero: true }) * 1000;
    // Also announced when a start has failed, and that may be tried again.
    this.#unlisten = server.onEnd(() => void (server.hasEnded() && this.stop()));
  }

  get size(): number {
    return this.#reading.size;
  }

  /** Starts all; rejects, and ends them, when one of them does not come to read. */
  async start(): Promise<this> {
    const threads: SupervisedWorker[] = [];
    try {
      for (let index = 0; index < this.#count; index += 1) threads.push(this.#begin(index));
      await Promise.all(threads.map((thread, index) => this.#firstRead(thread, index)));
    } catch (error) {
      await this.stop();
      throw error;
    }
    threads.forEach((thread, index) => void this.#supervise(thread, index));
    return this;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    this.#unlisten();
    for (const pause of this.#pauses.values()) clearTimeout(pause);
    this.#pauses.clear();
    await Promise.all([...this.#running.values()].map((thread) => thread.end(this.#stopTimeoutMs)));
  }

  #begin(index: number): SupervisedWorker {
    const thread = new SupervisedWorker(this.#url, this.#server.handle, this.#data, this.#options.worker ?? {});
    this.#running.set(index, thread);
    void thread.reads.then((reads) => {
      if (reads) this.#reading.add(thread);
    });
    void thread.ended.then(() => {
      this.#reading.delete(thread);
      if (this.#running.get(index) === thread) this.#running.delete(index);
    });
    try {
      this.#options.onStart?.(thread.worker, index);
    } catch (error) {
      // Nobody would supervise it.
      this.#running.delete(index);
      void thread.worker.terminate();
      throw error;
    }
    return thread;
  }

  /** @throws WSEError when it does not come to read. */
  async #firstRead(thread: SupervisedWorker, index: number): Promise<void> {
    if (await within(thread.reads, this.#startTimeoutMs)) return;
    const end = await Promise.race([thread.ended, Promise.resolve(undefined)]);
    const why = end === undefined ? `has not begun to read in time` : `ended before it read: ${reason(end)}`;
    throw new WSEError('WSE_WORKER_FAILED', `worker ${index} ${why}`, end === undefined ? undefined : { cause: end.error });
  }

  /** From here on it is started again whenever it ends. */
  #supervise(thread: SupervisedWorker, index: number): void {
    const since = performance.now();
    const late = setTimeout(() => void thread.worker.terminate(), this.#startTimeoutMs);
    void thread.reads.then(() => clearTimeout(late));
    void thread.ended.then((end) => {
      clearTimeout(late);
      // The engine is over: whoever read it ends by itself.
      if (this.#stopping !== undefined || this.#server.hasEnded()) return;
      const sound = end.hadRead && performance.now() - since >= SOUND_MS;
      const failures = sound ? 1 : (this.#failures[index] ?? 0) + 1;
      this.#failures[index] = failures;
      this.#restart(index, end, Math.min(MIN_PAUSE_MS * 2 ** (failures - 1), MAX_PAUSE_MS));
    });
  }

  #restart(index: number, end: ThreadEnd, pauseMs: number): void {
    const again = (): void => {
      this.#pauses.delete(index);
      if (this.#server.hasEnded()) return;
      try {
        this.#supervise(this.#begin(index), index);
      } catch (error) {
        this.#failures[index] = (this.#failures[index] ?? 0) + 1;
        this.#restart(index, { ...end, error, threadId: -1 }, MAX_PAUSE_MS);
      }
    };
    this.#pauses.set(index, setTimeout(again, pauseMs));
    const { threadId, code, error } = end;
    this.#report({ index, threadId, code, error, restartIn: pauseMs / 1000 }, end);
  }

  #report(exit: WorkerExit, end: ThreadEnd): void {
    if (this.#options.onExit === undefined) {
      warn(`worker ${exit.index} ended: ${reason(end)}; another takes its place in ${exit.restartIn} s`, end.error);
      return;
    }
    try {
      this.#options.onExit(exit);
    } catch (error) {
      warn(`onExit of worker ${exit.index} failed: ${describeThrown(error).text}`, error);
    }
  }
}

function reason({ code, error }: ThreadEnd): string {
  if (error === undefined) return `exit code ${code}`;
  return nameThrown(error);
}

function warn(text: string, error: unknown): void {
  const { detail } = describeThrown(error);
  process.emitWarning(text, { type: 'WSEWorkerWarning', code: 'WSE_WORKER_EXITED', ...detail });
}

/** What `promise` resolves with; false when it takes longer. */
async function within(promise: Promise<boolean>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
