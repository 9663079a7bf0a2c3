/** The error of a frame that could not be read. What happens to it is its receiver's decision. */

/**
 * Why a frame was skipped. `too_large`: more bytes than allowed, before or after decoding. `too_deep`: nested more than 64 levels.
 * `corrupt`: not what its prefix says. `not_a_message`: text that is no JSON object. `no_codec`: nothing here can read it.
 * `overflow`: too much arrived while an asynchronous codec was at work.
 */
export type DecodeErrorCode = 'too_large' | 'too_deep' | 'corrupt' | 'not_a_message' | 'no_codec' | 'overflow';

/** A frame was skipped; the connection goes on. */
export class DecodeError extends Error {
  /** Why, for programs. */
  readonly code: DecodeErrorCode;

  /** `detail`: for people; `cause`: what the codec itself threw. */
  constructor(code: DecodeErrorCode, detail: string = code, cause?: unknown) {
    super(`Frame skipped: ${detail}`, { cause });
    this.code = code;
  }
}
