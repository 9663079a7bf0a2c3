/** MessagePack by an optional package, loaded when the first frame needs it. Nothing here reads MessagePack itself. */
import type { DecodeError } from './errors.js';

/** Reads one MessagePack value; throws if the bytes are not exactly one. */
export type Unpack = (bytes: Uint8Array) => unknown;

/** Loads `@msgpack/msgpack`. Rejects with `no_codec` where it is not installed. */
export const loadUnpack = (Problem: typeof DecodeError): Promise<Unpack> =>
  import('@msgpack/msgpack').then(
    ({ decode }) =>
      (bytes) =>
        decode(bytes),
    (cause: unknown) => {
      throw new Problem('no_codec', 'MessagePack needs the package @msgpack/msgpack', cause);
    },
  );
