/** Errors a caller can meet. Each has a `code` that is stable; the text is for people. Nothing here decides what is an error. */

/** Every code of a {@link WSEError}. */
export type WSEErrorCode =
  /** An argument or option that cannot be meant. */
  | 'WSE_ARGUMENT'
  /** The caller's `AbortSignal` fired. */
  | 'WSE_ABORTED'
  /** `close()` was called, or the client has ended. */
  | 'WSE_CLOSED'
  /** The connection ended before an answer came; whether the server acted is not known. */
  | 'WSE_CONNECTION_LOST'
  /** A connection could not be made in time. */
  | 'WSE_CONNECT_FAILED'
  /** The server refused the token, or the token function failed for good. */
  | 'WSE_AUTH_FAILED'
  /** A server closed with a code that means "stay away". */
  | 'WSE_STOPPED'
  /** Something did not happen within its time. */
  | 'WSE_TIMEOUT'
  /** Too many messages wait to be sent, or too many requests for their replies. */
  | 'WSE_QUEUE_FULL'
  /** Events came faster than they were read, with `overflow: 'error'`. */
  | 'WSE_OVERFLOW'
  /** A message is larger than the server takes. */
  | 'WSE_TOO_LARGE'
  /** The other side answered a request with an error; `remote` says which. */
  | 'WSE_REPLY_ERROR'
  /** A frame that cannot be read. */
  | 'WSE_PROTOCOL'
  /** A handler threw; `cause` is what. */
  | 'WSE_HANDLER';

/** What the other side of a request said is wrong. */
export interface RemoteError {
  /** The other side's own name for it. */
  readonly code: string;
  /** Its words. */
  readonly message: string;
}

/** What else an error knows. */
export interface WSEErrorDetails {
  /** What led to it. */
  cause?: unknown;
  /** Of a closed connection: its close code (RFC 6455 §7.4). */
  closeCode?: number;
  /** Of `WSE_REPLY_ERROR`: what the other side said. */
  remote?: RemoteError;
}

/** The one class of this package's errors: compare `code`. */
export class WSEError extends Error {
  /** A stable name, such as `WSE_TIMEOUT`. */
  readonly code: WSEErrorCode;
  /** The close code of the connection (RFC 6455 §7.4), where one led to this error. */
  readonly closeCode: number | undefined;
  /** What the other side of a request said, where it did. */
  readonly remote: RemoteError | undefined;

  /** Made by this package; public so that `instanceof` and tests can use it. */
  constructor(code: WSEErrorCode, message: string, { cause, closeCode, remote }: WSEErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'WSEError';
    this.code = code;
    this.closeCode = closeCode;
    this.remote = remote;
  }
}
