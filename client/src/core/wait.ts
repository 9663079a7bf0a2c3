/** One promise of something that may come too late or be given up: the deadline and the signal that every waiting here has. */

import type { Clock, TimerHandle } from './clock.js';
import { WSEError, type WSEErrorCode } from './errors.js';

/** A promise and its end. What comes after the first end is ignored. */
export interface Wait<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
  /** Rejects with a new error. */
  fail(code: WSEErrorCode, message?: string): void;
  /** (Re)starts its time, ms; `Infinity` or undefined: none. */
  arm(timeout: number | undefined): void;
}

/**
 * Waits for `what`. Rejects with `WSE_TIMEOUT` or `WSE_ABORTED`.
 *
 * @param left called once when it ends, however; `true` if it was given up
 */
export function createWait<T>(
  clock: Clock,
  what: string,
  timeout?: number,
  signal?: AbortSignal,
  left?: (givenUp: boolean) => void,
): Wait<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  let timer: TimerHandle;
  let over = false;
  const end =
    <V>(fn: (value: V) => void, givenUp = false) =>
    (value: V): void => {
      if (over) return;
      over = true;
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      left?.(givenUp);
      fn(value);
    };
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  const abort = (): void => end(reject, true)(new WSEError('WSE_ABORTED', what, { cause: signal?.reason }));
  const wait: Wait<T> = {
    promise,
    resolve: end(resolve),
    reject: end(reject),
    fail: (code, message = what) => wait.reject(new WSEError(code, message)),
    arm(ms) {
      clock.clearTimeout(timer);
      if (!over && ms !== undefined && ms < Infinity) {
        timer = clock.setTimeout(() => end(reject, true)(new WSEError('WSE_TIMEOUT', `${what}: ${ms} ms`)), ms);
      }
    },
  };
  wait.arm(timeout);
  // Behind this turn: `left` may speak of what is made of this.
  if (signal?.aborted) queueMicrotask(abort);
  else signal?.addEventListener('abort', abort);
  return wait;
}
