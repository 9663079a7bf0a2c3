/** MessagePack by an optional package, loaded when the first frame needs it. Nothing here reads MessagePack itself. */
import { DecodeError } from './errors.js';

/** Reads one MessagePack value; throws if the bytes are not exactly one. */
export type Unpack = (bytes: Uint8Array) => unknown;

/** Loads `@msgpack/msgpack`. Rejects with `no_codec` where it is not installed. */
export const loadUnpack = (): Promise<Unpack> =>
  import('@msgpack/msgpack').then(
    ({ decode }) =>
      (bytes) =>
        decode(bytes),
    (cause: unknown) => {
      throw new DecodeError('no_codec', 'MessagePack needs the package @msgpack/msgpack', cause);
    },
  );
