/** How a program of this folder talks to its test. */

import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Task } from './worker.js';

/** Reports to the test, at once: a line that is still buffered when the process dies would be lost. */
export function report(values: Record<string, unknown>): void {
  writeSync(1, `${JSON.stringify(values)}\n`);
}

/** Waits for the test's word. Its pipe does not keep the process alive before and afterwards. */
export async function word(): Promise<void> {
  process.stdin.ref();
  process.stdin.resume();
  await once(process.stdin, 'data');
  process.stdin.pause();
  process.stdin.unref();
}

/** Resolves once `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** The next message of a worker. */
export async function next<T>(from: Worker): Promise<T> {
  const [message] = (await once(from, 'message')) as [T];
  return message;
}

const exits = new WeakMap<Worker, Promise<number>>();

/** Starts a worker. */
export function launch(task: Task): Worker {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: task });
  exits.set(worker, new Promise((resolve) => worker.once('exit', resolve)));
  return worker;
}

/** The exit code of a launched worker, also when it has ended already. */
export async function exited(worker: Worker): Promise<number> {
  return (await exits.get(worker)) ?? -1;
}
