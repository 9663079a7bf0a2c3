/**
 * What somebody else's code has thrown, in words. Anything can be thrown: an object without a prototype, a symbol, a revoked proxy, an
 * error whose getters throw. Whoever reports it must not fail at that. Throws nothing, reports nothing.
 */

import { WSERequestError, WSEStateError } from './errors.js';

/** A thrown value for a process warning. @internal */
export interface Thrown {
  /** The message of an error, another value's text. */
  text: string;
  /** What `process.emitWarning` takes for it: the stack of an error. */
  detail: { detail?: string };
}

const UNSHOWN = 'a value that cannot be shown';

/** A thrown value in words. @internal */
export function describeThrown(thrown: unknown): Thrown {
  const text = attempt(() => String(isError(thrown) ? thrown.message : thrown)) ?? attempt(() => nameOf(thrown)) ?? UNSHOWN;
  const stack = attempt(() => (isError(thrown) ? thrown.stack : undefined));
  return { text, detail: typeof stack === 'string' ? { detail: stack } : {} };
}

/** A thrown value in words, an error with its name: `TypeError: x is no function`. @internal */
export function nameThrown(thrown: unknown): string {
  const { text } = describeThrown(thrown);
  const name = attempt(() => (isError(thrown) ? String(thrown.name) : undefined));
  return name === undefined ? text : `${name}: ${text}`;
}

/**
 * Whether it says that the server has been stopped. What had arrived is handed out after `stop()` too; that nothing can be sent any
 * more then is no failure of whoever handles it.
 *
 * @internal
 */
export function isStopped(thrown: unknown): boolean {
  return attempt(() => thrown instanceof WSEStateError && thrown.code === 'WSE_STOPPED') ?? false;
}

/**
 * What the client is told by a {@link WSERequestError} that a handler has thrown; undefined for anything else, and for one that cannot
 * be read.
 *
 * @internal
 */
export function refusalOf(thrown: unknown): readonly [code: string, message: string] | undefined {
  return attempt(() =>
    thrown instanceof WSERequestError ? ([String(thrown.code), String(thrown.message)] as const) : undefined,
  );
}

function isError(value: unknown): value is Error {
  return attempt(() => value instanceof Error) ?? false;
}

/** For what has no text: `[object Object]`. */
function nameOf(value: unknown): string {
  return Object.prototype.toString.call(value);
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
