/**
 * The worker's side of `server.workers()`: tells whoever started this thread that it reads, and hears from it when it is to end.
 * Reads nothing itself.
 */

import { isMainThread, type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Supervisor } from './event-reader.js';

/** The member of `workerData` that is ours, besides `handle`. */
export const SUPERVISION = '__wse';

/** What a thread of `server.workers()` finds in its `workerData`. */
export interface WorkerData {
  /** The engine, for `RustWSEServer.attach()`. */
  handle: number;
  [SUPERVISION]: MessagePort;
}

/** What a thread says once it reads. */
export const READING = 'reading';
/** What it is told when it is to end. */
export const END = 'end';

let supervised: SupervisedThread | null | undefined;

/** The engine this thread was started for, if `server.workers()` started it. */
export function supervisedHandle(): number | undefined {
  return ownData()?.handle;
}

/** Who supervises this thread's reading of an engine. */
export function supervisorOf(handle: number): Supervisor | undefined {
  if (supervised === undefined) {
    const data = ownData();
    supervised = data === undefined ? null : new SupervisedThread(data);
  }
  return supervised?.handle === handle ? supervised : undefined;
}

function ownData(): WorkerData | undefined {
  if (isMainThread) return undefined;
  const data = workerData as Partial<WorkerData> | null | undefined;
  const ours = typeof data === 'object' && data !== null && typeof data.handle === 'number' && data[SUPERVISION] !== undefined;
  return ours ? (data as WorkerData) : undefined;
}

class SupervisedThread implements Supervisor {
  readonly handle: number;
  readonly #port: MessagePort;
  readonly #dismissals: (() => void)[] = [];
  #said = false;
  #ended = false;

  constructor(data: WorkerData) {
    this.handle = data.handle;
    this.#port = data[SUPERVISION];
    this.#port.on('message', () => this.#end());
    // It never keeps the thread alive.
    this.#port.unref();
  }

  reading(): void {
    if (this.#said) return;
    this.#said = true;
    this.#port.postMessage(READING);
  }

  onDismiss(dismiss: () => void): void {
    this.#dismissals.push(dismiss);
    if (this.#ended) dismiss();
  }

  look(): void {
    if (!this.#ended && receiveMessageOnPort(this.#port) !== undefined) this.#end();
  }

  #end(): void {
    this.#ended = true;
    for (const dismiss of this.#dismissals) dismiss();
  }
}
