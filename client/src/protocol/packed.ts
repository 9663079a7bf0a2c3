/**
 * Frames that are not what nearly every frame is, a TEXT that begins with `{`: sealed, compressed, packed, any other BINARY, and what older
 * servers put in front of their texts or send as heartbeats. Loaded when the first one comes. Decides what a frame is by how it begins; keeps no
 * order, its caller does.
 */
import type { DecodeError } from './errors.js';
import type { isRaw } from './event.js';
import { inflate } from './inflate.js';
import { loadUnpack, type Unpack } from './msgpack.js';
import type { Category } from './types.js';

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
  /** The text of a message; `prefix`: the category that stood in front of it. */
  json(text: string, prefix?: Category): Done;
  /** A message that has been parsed, of a frame of `size` bytes. */
  message(value: unknown, size: number): Done;
  /** Bytes that are no message. */
  binary(bytes: Uint8Array): void;
  readonly isRaw: typeof isRaw;
  readonly Problem: typeof DecodeError;
}

/** Reads a frame, at once or later. */
export type Opener = (frame: string | Uint8Array) => Done | Promise<Done>;

// What does not begin like text: sealed, zlib, packed, and maps of MessagePack.
const isPacked = (a = 0, b = 0): boolean =>
  b === 0x3a
    ? a === 0x45 || a === 0x43 || a === 0x4d
    : (a === 0x78 && [0x01, 0x5e, 0x9c, 0xda].includes(b)) || (a & 0xf0) === 0x80 || a === 0xde || a === 0xdf;

/** `next` of a value, now if it is there and later if it is promised. */
export const chain = <T, R>(value: T | Promise<T>, next: (value: T) => R | Promise<R>): R | Promise<R> =>
  value instanceof Promise ? value.then(next) : next(value);

/** What opens such frames. */
export const createOpener = (codecs: Codecs, maxBytes: number, read: Readers): Opener => {
  const { isRaw, Problem } = read;
  const utf8 = new TextDecoder('utf-8', { fatal: true });
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

  /** The text of a message, behind the prefix of an older server perhaps. */
  const json = (text: string): Done => {
    const prefix = /^(WSE|S|U)(?={)/.exec(text)?.[0] as Category | undefined;
    return read.json(text.slice(prefix?.length), prefix);
  };

  const text = (data: string): Done => {
    // Older servers' heartbeat, a text of its own.
    const beat = /^(?:WSE:)?(P[IO]NG)(?::(\d+))?/i.exec(data);
    if (!beat) return json(data);
    const t = beat[1]?.toUpperCase() === 'PONG' ? 'PONG' : 'ping';
    return read.message({ c: 'WSE', t, p: beat[2] ? { timestamp: Number(beat[2]) } : {} }, data.length);
  };

  /** `opened`: they come out of a sealed frame, and are not sealed again. */
  const bytes = (frame: Uint8Array, opened: boolean): Done | Promise<Done> => {
    if (frame.length > maxBytes) throw new Problem('too_large');
    const [a, b] = frame;
    const binary = (): void => read.binary(frame);
    if (!isPacked(a, b)) {
      try {
        // `{`, a prefix or white space: may be a message. Everything else is bytes.
        if ('{WSU \n\r\t'.includes(String.fromCharCode(a ?? 0))) return json(utf8.decode(frame));
      } catch (error) {
        if ((error as DecodeError).code === 'too_deep') throw error;
      }
      return binary;
    }
    const body = frame.subarray(2);
    if (a === 0x45 && b === 0x3a) {
      if (opened) return binary;
      if (!codecs.sealed) throw new Problem('no_codec', 'sealed, and no key');
      return chain(codecs.sealed(body), (clear) => bytes(clear, true));
    }
    if (a === 0x43) return inflate(body, maxBytes, Problem).then(json);
    if (a === 0x4d) return chain(unpacked(body), (value) => read.message(value, frame.length));
    // Without a prefix both are guesses: bytes that begin so by chance are bytes.
    if (a === 0x78) {
      return inflate(frame, maxBytes, Problem).then(json, (error: DecodeError) => {
        if (error.code === 'too_large') throw error;
        return binary;
      });
    }
    const guess = (value: unknown): Done =>
      isRaw(value) && typeof (value['t'] ?? value['type']) === 'string' ? read.message(value, frame.length) : binary;
    try {
      const value = unpacked(frame);
      return value instanceof Promise ? value.then(guess, () => binary) : guess(value);
    } catch {
      return binary;
    }
  };

  return (frame) => (typeof frame === 'string' ? text(frame) : bytes(frame, false));
};
