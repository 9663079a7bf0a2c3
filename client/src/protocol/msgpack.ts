/** MessagePack by an optional package, loaded when the first frame needs it. Nothing here reads MessagePack itself. */
import type { DecodeError } from './errors.js';

/** Reads one MessagePack value; throws if the bytes are not exactly one. */
export type Unpack = (bytes: Uint8Array) => unknown;

/** Loads `@msgpack/msgpack`. Rejects with `no_codec` where it is not installed. */
export const loadUnpack = async (Problem: typeof DecodeError): Promise<Unpack> => {
  try {
    // Inside of `try` by the letter: webpack builds without an optional package only there.
    const { decode } = await import('@msgpack/msgpack');
    return (bytes) => decode(bytes);
  } catch (cause) {
    throw new Problem('no_codec', 'MessagePack needs the package @msgpack/msgpack', cause);
  }
};
