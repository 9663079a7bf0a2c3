/** One thread of `server.workers()` from its start to its exit. Starts nothing again: that is the pool's. */

import { MessageChannel, Worker, type WorkerOptions } from 'node:worker_threads';
import { END, READING, SUPERVISION, type WorkerData } from './supervised.js';

/** How a thread has ended. */
export interface ThreadEnd {
  threadId: number;
  /** Its exit code; 1 after an error nobody caught and after `terminate()`. */
  code: number;
  /** What it threw and nobody caught. */
  error: unknown;
  /** It had begun to read. */
  hadRead: boolean;
}

/** A thread that reads events for a server. */
export class SupervisedWorker {
  readonly worker: Worker;
  /** Resolves with true once it reads, with false when it ends before. */
  readonly reads: Promise<boolean>;
  /** Resolves when it has ended; rejects never. */
  readonly ended: Promise<ThreadEnd>;
  readonly #tellEnd: () => void;

  /** @throws what `new Worker` does, for a path that is none. */
  constructor(url: URL | string, handle: number, data: object, options: WorkerOptions) {
    const { port1, port2 } = new MessageChannel();
    const workerData: WorkerData = { ...data, handle, [SUPERVISION]: port2 };
    const transferList = [...(options.transferList ?? []), port2];
    try {
      this.worker = new Worker(url, { ...options, workerData, transferList });
    } catch (error) {
      port1.close();
      throw error;
    }
    const { worker } = this;
    // The number is -1 once it has ended.
    const { threadId } = worker;
    let hadRead = false;
    let error: unknown;
    let settle: (reads: boolean) => void = () => {};
    this.reads = new Promise((resolve) => {
      settle = resolve;
    });
    port1.on('message', (word) => {
      if (word !== READING) return;
      hadRead = true;
      settle(true);
    });
    // The worker itself keeps the process alive, as long as it should.
    port1.unref();
    this.#tellEnd = () => port1.postMessage(END);
    worker.on('error', (thrown) => {
      error = thrown;
    });
    this.ended = new Promise((resolve) => {
      worker.once('exit', (code) => {
        settle(false);
        port1.close();
        resolve({ threadId, code, error, hadRead });
      });
    });
  }

  /** Asks it to read no more and to end; terminates it unless it has in time. */
  async end(timeoutMs: number): Promise<void> {
    this.#tellEnd();
    const timer = setTimeout(() => void this.worker.terminate(), timeoutMs);
    await this.ended;
    clearTimeout(timer);
  }
}
