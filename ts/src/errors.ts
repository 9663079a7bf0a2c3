/** The errors of this package, and the one place where the addon's errors become them. */

import { ERROR_CODES, isErrorCode, type WSEErrorCode } from './error-codes.js';

/**
 * The base of every error this package throws on purpose. `code` is stable, the text is not: compare codes.
 */
export class WSEError extends Error {
  /** A stable, machine-readable name such as `WSE_ADDR_IN_USE`. */
  readonly code: WSEErrorCode;

  constructor(code: WSEErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/**
 * An argument has the right type and a value that cannot be meant. Both a `TypeError` and a {@link WSEError} (`instanceof` says
 * so of either); nothing was sent or changed.
 */
export class WSEArgumentError extends TypeError {
  /** A stable, machine-readable name such as `WSE_INVALID_TOPIC`. */
  readonly code: WSEErrorCode;
  /** Where the value is: `topics[0]`, `payload.members`. */
  readonly path: string;

  constructor(code: WSEErrorCode, path: string, message: string) {
    super(`${path}: ${message}`);
    this.code = code;
    this.path = path;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

// One class cannot extend two: an argument error is a TypeError by its prototype and a WSEError by this.
Object.defineProperty(WSEError, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    return (
      (this === WSEError && value instanceof WSEArgumentError) ||
      Function.prototype[Symbol.hasInstance].call(this as never, value)
    );
  },
});

/** An option has a wrong type, a wrong value or a wrong name. */
export class WSEConfigError extends WSEError {
  /** Where the option is: `jwt.secret`. Empty when the options themselves are not an object. */
  readonly path: string;

  constructor(code: WSEErrorCode, path: string, message: string, options?: ErrorOptions) {
    super(code, path === '' ? message : `${path}: ${message}`, options);
    this.path = path;
  }
}

/** The call does not fit the state of the server: not started, stopped, or a second consumer loop. */
export class WSEStateError extends WSEError {}

/**
 * A request was answered with a failure. Thrown by a handler of `serve()` it is what the client is told; `server.request()` rejects
 * with it when the client says so. Its `code` is the application's, so it is no {@link WSEError}.
 */
export class WSERequestError extends Error {
  /** A machine-readable name of the failure, the application's own: `NO_SUCH_SYMBOL`. */
  readonly code: string;

  /** @param message for people; the other side gets it as it is */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/** The hard limit on bytes accepted from publishers is reached: nothing was taken. Await `drained()`. */
export class WSEOverloadedError extends WSEError {}

/** The addon's name for an argument the facade let through: it becomes a `TypeError`, so it is no code of ours. */
const INVALID_EVENT = 'WSE_INVALID_EVENT';

/** Turns what the addon threw, an error with a `code` and a `path`, into an error of this package. */
export function fromNative(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { code, path } = thrown as { code?: unknown; path?: unknown };
  // The facade checks shapes; what is left is JSON nested deeper than the engine reads.
  if (code === INVALID_EVENT) return new TypeError(`event: ${thrown.message}`);
  if (typeof path !== 'string' || !isErrorCode(code)) return thrown;
  switch (ERROR_CODES[code][0]) {
    case 'WSEConfigError':
      return new WSEConfigError(code, path, thrown.message);
    case 'WSEStateError':
      return new WSEStateError(code, thrown.message);
    case 'WSEOverloadedError':
      return new WSEOverloadedError(code, thrown.message);
    case 'WSEArgumentError':
      return new WSEArgumentError(code, path, thrown.message);
    case 'WSEError':
      return new WSEError(code, thrown.message);
  }
}

/** Runs a call into the addon with its errors mapped. */
export function native<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}

/** The same for a call that returns a promise. */
export async function nativeAsync<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw fromNative(error);
  }
}
