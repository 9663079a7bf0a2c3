/** The errors of this package, and the one place where the addon's errors become them. */

/**
 * The base of every error this package throws on purpose. `code` is stable, the text is not: compare codes.
 */
export class WSEError extends Error {
  /** A stable, machine-readable name such as `WSE_ADDR_IN_USE`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/** An option has a wrong type, a wrong value or a wrong name. */
export class WSEConfigError extends WSEError {
  /** Where the option is: `jwt.secret`. Empty when the options themselves are not an object. */
  readonly path: string;

  constructor(code: string, path: string, message: string, options?: ErrorOptions) {
    super(code, path === '' ? message : `${path}: ${message}`, options);
    this.path = path;
  }
}

/** The call does not fit the state of the server: not started, stopped, or a second consumer loop. */
export class WSEStateError extends WSEError {}

/** The hard limit on bytes accepted from publishers is reached: nothing was taken. Await `drained()`. */
export class WSEOverloadedError extends WSEError {}

const STATE_CODES: ReadonlySet<string> = new Set([
  'WSE_NOT_RUNNING',
  'WSE_STOPPED',
  'WSE_ALREADY_RUNNING',
  'WSE_DRAINING',
  'WSE_CONSUMER_BUSY',
  'WSE_UNKNOWN_HANDLE',
]);

/** `CODE|message|path`: the form in which the addon throws. The message may itself contain a bar. */
const NATIVE_MESSAGE = /^(WSE_[A-Z0-9_]+)\|([\s\S]*)\|([^|]*)$/;

/**
 * Turns what the addon threw into an error of this package. Anything else is handed back untouched.
 */
export function fromNative(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const match = NATIVE_MESSAGE.exec(thrown.message);
  if (match === null) return thrown;
  const [, code = '', message = '', path = ''] = match;
  if (code.startsWith('WSE_CONFIG')) return new WSEConfigError(code, path, message);
  // The facade checks shapes; what is left is JSON nested deeper than the engine reads.
  if (code === 'WSE_INVALID_EVENT') return new TypeError(`event: ${message}`);
  if (code === 'WSE_OVERLOADED') return new WSEOverloadedError(code, message);
  if (STATE_CODES.has(code)) return new WSEStateError(code, message);
  return new WSEError(code, message);
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
