/**
 * Frames to events, in the order in which they arrived, whatever has to be waited for in between. Owns the queue behind an asynchronous
 * codec; never throws at its caller, never answers, knows nothing of topics.
 */
import { DecodeError } from './errors.js';
import { batched, isRaw, type Raw, toEvent } from './event.js';
import type { Codecs, createOpener, Done } from './packed.js';
import type { Category, WSEEvent } from './types.js';

/** Who is told. What a handler throws is told to `error`. */
export interface DecodeHandlers {
  /** A message. `raw`: all its members; `size`: its share of the frame, in characters of text or bytes. */
  event(event: WSEEvent, raw: Raw, size: number): void;
  /** Bytes that are no message. */
  binary(bytes: Uint8Array): void;
  /** A frame, or a part of a batch, was skipped. Mostly a `DecodeError`. */
  error(error: Error): void;
}

/** What decoding may cost, and who helps. */
export interface DecodeOptions {
  /** The largest frame, before and after decoding: bytes, of text characters. Default 1 MiB. */
  readonly maxBytes?: number;
  /** What may wait behind an asynchronous codec, in bytes and characters; what arrives beyond is skipped. Default 8 times `maxBytes`. */
  readonly maxPending?: number;
  /** Codecs that are not part of the client. */
  readonly codecs?: Codecs;
  /** Makes what loads a part once, and again where that fails; frames wait as long. */
  readonly lazily: <T>(load: () => Promise<T>) => () => Promise<T>;
}

/** Reads the frames of one connection after another. */
export interface Decoder {
  /** A TEXT frame. */
  text(data: string): void;
  /** A BINARY frame. Its bytes are kept until it is read. */
  bytes(data: Uint8Array): void;
  /** Calls `fn` when everything that came before has been read. */
  after(fn: () => void): void;
  /** Forgets what waits: those frames were of a connection that is gone. */
  reset(): void;
}

type Frame = string | Uint8Array | Done;

const MAX_DEPTH = 64;

// Bounded itself: it goes one level beyond the limit and no further.
const tooDeep = (value: object, left = MAX_DEPTH): boolean => {
  for (const key in value) {
    const part = (value as Record<string, unknown>)[key];
    if (typeof part === 'object' && part !== null && (left === 1 || tooDeep(part, left - 1))) return true;
  }
  return false;
};

// What does not begin like text: sealed, zlib, packed, and maps of MessagePack.
const isPacked = (a = 0, b = 0): boolean =>
  b === 0x3a
    ? a === 0x45 || a === 0x43 || a === 0x4d
    : (a === 0x78 && [0x01, 0x5e, 0x9c, 0xda].includes(b)) || (a & 0xf0) === 0x80 || a === 0xde || a === 0xdf;

/** A decoder; it tells `handlers` synchronously as long as no frame before has to be waited for. */
export const createDecoder = (handlers: DecodeHandlers, options: DecodeOptions): Decoder => {
  const { maxBytes = 1 << 20, maxPending = 8 * maxBytes, codecs = {}, lazily } = options;
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  let open: ReturnType<typeof createOpener> | undefined;
  // There as long as something asynchronous is pending; its identity tells one connection from the next.
  let queue: Frame[] | undefined;
  let queued = 0;

  const fail = (error: unknown): void => handlers.error(error instanceof Error ? error : new Error(String(error)));

  const emit = (value: unknown, size: number, prefix?: Category): void => {
    if (!isRaw(value)) throw new DecodeError('not_a_message');
    const event = toEvent(value, prefix);
    const parts = event.epoch === undefined && batched(event);
    if (!parts) return void handlers.event(event, value, size);
    for (const part of parts) {
      try {
        emit(part, Math.ceil(size / parts.length), prefix);
      } catch (error) {
        fail(error);
      }
    }
  };

  const message = (value: unknown, size: number, prefix?: Category): Done => {
    if (size > MAX_DEPTH && typeof value === 'object' && value !== null && tooDeep(value)) throw new DecodeError('too_deep');
    return () => emit(value, size, prefix);
  };

  const json = (text: string): Done => {
    const prefix = /^(WSE|S|U)(?={)/.exec(text)?.[0] as Category | undefined;
    let value: unknown;
    try {
      value = JSON.parse(prefix ? text.slice(prefix.length) : text);
    } catch (cause) {
      throw new DecodeError('not_a_message', 'not JSON', cause);
    }
    return message(value, text.length, prefix);
  };

  const bytesAs =
    (bytes: Uint8Array): Done =>
    () =>
      handlers.binary(bytes);

  const load = lazily(async (): Promise<NonNullable<typeof open>> => {
    const { createOpener } = await import('./packed.js');
    open = createOpener(codecs, maxBytes, { frame: binary, json, message, binary: bytesAs, isRaw, Problem: DecodeError });
    return open;
  });

  const binary = (bytes: Uint8Array, opened = false): Done | Promise<Done> => {
    limit(bytes);
    if (isPacked(bytes[0], bytes[1])) return open ? open(bytes, opened) : load().then((loaded) => loaded(bytes, opened));
    try {
      // `{`, a prefix or white space: may be a message. Everything else is bytes.
      if ('{WSU \n\r\t'.includes(String.fromCharCode(bytes[0] ?? 0))) return json(utf8.decode(bytes));
    } catch (error) {
      if ((error as DecodeError).code === 'too_deep') throw error;
    }
    return bytesAs(bytes);
  };

  const text = (data: string): Done => {
    limit(data);
    // Older servers' heartbeat, a text of its own.
    const beat = /^(?:WSE:)?(P[IO]NG)(?::(\d+))?/i.exec(data);
    if (!beat) return json(data);
    const t = beat[1]?.toUpperCase() === 'PONG' ? 'PONG' : 'ping';
    return () => emit({ c: 'WSE', t, p: beat[2] ? { timestamp: Number(beat[2]) } : {} }, data.length);
  };

  const limit = (frame: string | Uint8Array): void => {
    if (frame.length > maxBytes) throw new DecodeError('too_large');
  };

  /** Reads a frame; true if those behind it have to wait. */
  const run = (frame: Frame): boolean => {
    try {
      const later = typeof frame === 'string' ? text(frame) : typeof frame === 'function' ? frame : binary(frame);
      if (later instanceof Promise) {
        wait(later);
        return true;
      }
      later();
    } catch (error) {
      fail(error);
    }
    return false;
  };

  const wait = (later: Promise<Done>): void => {
    queue ??= [];
    const mine = queue;
    later
      .then((done) => {
        if (mine === queue) done();
      })
      .catch((error) => {
        if (mine === queue) fail(error);
      })
      .finally(() => {
        while (mine === queue) {
          const frame = mine.shift();
          if (frame === undefined) {
            queue = undefined;
            return;
          }
          queued -= frame.length;
          if (run(frame)) return;
        }
      });
  };

  const take = (frame: Frame): void => {
    if (!queue) {
      run(frame);
    } else if (queued + frame.length > maxPending) {
      fail(new DecodeError('overflow'));
    } else {
      queued += frame.length;
      queue.push(frame);
    }
  };

  return {
    text: take,
    bytes: take,
    after: take,
    reset() {
      queue = undefined;
      queued = 0;
    },
  };
};
