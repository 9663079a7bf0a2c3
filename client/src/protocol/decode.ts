/**
 * Frames to events, in the order in which they arrived, whatever has to be waited for in between. Owns the queue behind an asynchronous
 * codec; never throws at its caller, never answers, knows nothing of topics.
 */
import type { DecodeError } from './errors.js';
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
  /** What is thrown about a frame. It comes along: programs import it from what a page loads first. */
  readonly Problem: typeof DecodeError;
  /** What reads packed frames, where it is there already. @default loaded with the first of them */
  readonly opener?: typeof createOpener | undefined;
  /** Codecs that are not part of the client. */
  readonly codecs?: Codecs;
  /** Makes what loads a part once, and again where that fails; frames wait as long. */
  readonly lazily: <T>(load: () => Promise<T>) => () => Promise<T>;
}

/** Reads the frames of one connection after another. */
export interface Decoder {
  /** A TEXT frame, a BINARY one, whose bytes are kept until it is read, or what is to be called when everything that came before has been read. */
  take(frame: string | Uint8Array | (() => void)): void;
  /** Forgets what waits: those frames were of a connection that is gone. */
  reset(): void;
}

type Frame = string | Uint8Array | Done;

const MAX_DEPTH = 64;

/** Frames that wait, beside `maxPending`. */
const MAX_FRAMES = 100_000;

// Bounded itself: it goes one level beyond the limit and no further.
const tooDeep = (value: unknown, left = MAX_DEPTH): boolean =>
  typeof value === 'object' && value !== null && (left === 0 || Object.values(value).some((part) => tooDeep(part, left - 1)));

/** A decoder; it tells `handlers` synchronously as long as no frame before has to be waited for. */
export const createDecoder = (handlers: DecodeHandlers, options: DecodeOptions): Decoder => {
  const { maxBytes = 1 << 20, maxPending = 8 * maxBytes, codecs = {}, lazily, Problem } = options;
  let open: ReturnType<typeof createOpener> | undefined;
  // There as long as something asynchronous is pending; its identity tells one connection from the next.
  let queue: Frame[] | undefined;
  let queued = 0;

  const fail = (error: unknown): void => handlers.error(error instanceof Error ? error : new Error(String(error)));

  const emit = (value: unknown, size: number, prefix?: Category): void => {
    if (!isRaw(value)) throw new Problem('not_a_message');
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
    if (size > MAX_DEPTH && tooDeep(value)) throw new Problem('too_deep');
    return () => emit(value, size, prefix);
  };

  const json = (text: string, prefix?: Category): Done => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new Problem('not_a_message', 'not JSON', cause);
    }
    return message(value, text.length, prefix);
  };

  const load = lazily(async (): Promise<NonNullable<typeof open>> => {
    const create = options.opener ?? (await import('./packed.js')).createOpener;
    open = create(codecs, maxBytes, { json, message, binary: handlers.binary, isRaw, Problem });
    return open;
  });

  const read = (frame: Frame | Promise<Done>): Done | Promise<Done> => {
    if (typeof frame === 'function' || frame instanceof Promise) return frame;
    if (frame.length > maxBytes) throw new Problem('too_large');
    // What nearly every frame is; the others are read by what is loaded when the first of them comes.
    if (frame[0] === '{') return json(frame as string);
    return open ? open(frame) : load().then((loaded) => loaded(frame));
  };

  /** Waits for a frame, and reads those that come meanwhile behind it. */
  const wait = async (first: Promise<Done>): Promise<void> => {
    const mine: Frame[] = [];
    // Not by `shift()`, which moves all that wait each time.
    let at = 0;
    queue = mine;
    for (let next: Frame | Promise<Done> = first; ; ) {
      try {
        const done = await read(next);
        if (mine === queue) done();
      } catch (error) {
        if (mine === queue) fail(error);
      }
      if (mine !== queue) return;
      const frame = mine[at];
      if (frame === undefined) {
        queue = undefined;
        return;
      }
      queued -= frame.length;
      next = frame;
      mine[at++] = '';
      if (at === 1_000) at -= mine.splice(0, at).length;
    }
  };

  const take = (frame: Frame): void => {
    try {
      if (!queue) {
        const done = read(frame);
        if (done instanceof Promise) void wait(done);
        else done();
        return;
      }
      // Frames without a character cost something, too. The end of a connection costs nothing and is never skipped.
      if (typeof frame !== 'function' && (queued + frame.length > maxPending || queue.length > MAX_FRAMES))
        throw new Problem('overflow');
      queued += frame.length;
      queue.push(frame);
    } catch (error) {
      fail(error);
    }
  };

  return {
    take,
    reset() {
      queue = undefined;
      queued = 0;
    },
  };
};
