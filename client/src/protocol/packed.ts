/**
 * BINARY frames that are no plain JSON: sealed, compressed, packed. Loaded when the first one comes. Decides what a frame is by its first
 * bytes; keeps no order, its caller does.
 */
import type { DecodeError } from './errors.js';
import type { isRaw } from './event.js';
import { inflate } from './inflate.js';
import { loadUnpack, type Unpack } from './msgpack.js';

/** What tells the result, later. */
export type Done = () => void;

/** Codecs that are not part of the client. */
export interface Codecs {
  /** Opens what follows `E:`; what it holds is read as a frame of its own, `C:` and `M:` included. Without it such frames are errors. */
  readonly sealed?: (body: Uint8Array) => Uint8Array | Promise<Uint8Array>;
  /** Reads MessagePack instead of `@msgpack/msgpack`. */
  readonly msgpack?: Unpack;
}

/**
 * What reads a frame once it is opened; all of them throw `DecodeError`. What is shared comes along: a chunk that imports it would have it split off
 * from what a page loads first.
 */
export interface Readers {
  /** Any frame's bytes. */
  frame(bytes: Uint8Array, opened: boolean): Done | Promise<Done>;
  /** The text of a message. */
  json(text: string): Done;
  /** A message that has been parsed, of a frame of `size` bytes. */
  message(value: unknown, size: number): Done;
  /** Bytes that are no message. */
  binary(bytes: Uint8Array): Done;
  readonly isRaw: typeof isRaw;
  readonly Problem: typeof DecodeError;
}

/** `next` of a value, now if it is there and later if it is promised. */
export const chain = <T, R>(value: T | Promise<T>, next: (value: T) => R | Promise<R>): R | Promise<R> =>
  value instanceof Promise ? value.then(next) : next(value);

/** What opens such frames; `opened`: they come out of a sealed one, and are not sealed again. */
export const createOpener = (codecs: Codecs, maxBytes: number, read: Readers) => {
  const { isRaw, Problem } = read;
  let unpack = codecs.msgpack;

  const unpacked = (bytes: Uint8Array): unknown =>
    chain(unpack ?? loadUnpack(Problem), (loaded) => {
      unpack = loaded;
      try {
        return loaded(bytes);
      } catch (cause) {
        throw new Problem('corrupt', 'not MessagePack', cause);
      }
    });

  return (bytes: Uint8Array, opened: boolean): Done | Promise<Done> => {
    const [a, b] = bytes;
    const binary = (): Done => read.binary(bytes);
    const body = bytes.subarray(2);
    if (a === 0x45 && b === 0x3a) {
      if (opened) return binary();
      if (!codecs.sealed) throw new Problem('no_codec', 'sealed, and no key');
      return chain(codecs.sealed(body), (clear) => read.frame(clear, true));
    }
    if (a === 0x43) return inflate(body, maxBytes, Problem).then(read.json);
    if (a === 0x4d) return chain(unpacked(body), (value) => read.message(value, bytes.length));
    // Without a prefix both are guesses: bytes that begin so by chance are bytes.
    if (a === 0x78) {
      return inflate(bytes, maxBytes, Problem).then(read.json, (error: DecodeError) => {
        if (error.code === 'too_large') throw error;
        return binary();
      });
    }
    const guess = (value: unknown): Done =>
      isRaw(value) && typeof (value['t'] ?? value['type']) === 'string' ? read.message(value, bytes.length) : binary();
    try {
      const value = unpacked(bytes);
      return value instanceof Promise ? value.then(guess, binary) : guess(value);
    } catch {
      return binary();
    }
  };
};
