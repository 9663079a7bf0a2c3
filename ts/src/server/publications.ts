/**
 * Publications of one turn, collected here and handed to the engine in one crossing: strings in, bytes out.
 *
 * Everything is handed over when the running code gives way (a microtask), when {@link FLUSH_BYTES} have come together, and
 * before any other call into the engine, so that order is that of the calls. Never holds anything across a turn.
 */

import { native, WSEOverloadedError, WSEStateError } from '../errors.js';
import type { NativeCalls } from '../native/binding.js';

const FLUSH_BYTES = 64 * 1024;
const MAX_COUNT = 4096;
/** Follows each topic and text, so that the halves of two lone surrogates cannot meet. */
const SEPARATOR = '\n';
/** In place of a topic's length: the topic of the publication before. */
const SAME_TOPIC = 0xffff_ffff;
/** What a publication costs beside its text, at most: the frame's header, the category, the engine's own note of it. */
const OVERHEAD_BYTES = 88;
/** Taken once: test runners replace the global one. */
const defer = queueMicrotask;

/** The collector of one facade. */
export class Publications {
  readonly #calls: NativeCalls;
  readonly #handle: number;
  readonly #lengths = new Uint32Array(2 * MAX_COUNT);
  readonly #flushBytes: number;
  #text = '';
  #topic = '';
  #count = 0;
  #bytes = 0;
  /** Bytes the engine takes before its hard limit, as of the last crossing. */
  #room = 0;
  #pressure = false;
  #scheduled = false;

  constructor(calls: NativeCalls, handle: number, highWaterMark: number) {
    this.#calls = calls;
    this.#handle = handle;
    this.#flushBytes = Math.min(FLUSH_BYTES, highWaterMark);
  }

  /**
   * Takes one publication.
   *
   * @returns false: taken, but the engine is behind
   * @throws WSEOverloadedError when nothing was taken; WSEStateError when the engine does not run.
   */
  add(topic: string, text: string): boolean {
    if (!this.#scheduled) {
      this.#measure(native(() => this.#calls.room(this.#handle, 0)));
      this.#scheduled = true;
      defer(this.#endOfTurn);
    }
    // A unit is at most three bytes. They are counted only where it could matter.
    let size = text.length + OVERHEAD_BYTES;
    if (this.#bytes + 3 * text.length + OVERHEAD_BYTES > this.#room) {
      size = Buffer.byteLength(text) + OVERHEAD_BYTES;
      if (this.#bytes + size > this.#room) this.#makeRoom(size);
    }
    const same = this.#count > 0 && topic === this.#topic;
    this.#text += same ? text + SEPARATOR : topic + SEPARATOR + text + SEPARATOR;
    this.#lengths[2 * this.#count] = same ? SAME_TOPIC : topic.length;
    this.#lengths[2 * this.#count + 1] = text.length;
    this.#topic = topic;
    this.#count += 1;
    this.#bytes += size;
    if (this.#bytes >= this.#flushBytes || this.#count === MAX_COUNT) this.flush();
    return !this.#pressure;
  }

  /** Hands over what has been collected. */
  flush(): void {
    if (this.#count === 0) return;
    const text = this.#text;
    const lengths = this.#lengths.subarray(0, 2 * this.#count);
    this.#text = '';
    this.#topic = '';
    this.#count = 0;
    this.#bytes = 0;
    this.#measure(native(() => this.#calls.publishBatch(this.#handle, text, lengths, text.length)));
  }

  #makeRoom(size: number): void {
    this.flush();
    this.#measure(native(() => this.#calls.room(this.#handle, size)));
    if (size > this.#room) {
      throw new WSEOverloadedError('WSE_OVERLOADED', 'the engine holds publisher.hardLimit bytes: nothing was taken');
    }
  }

  #measure(room: number): void {
    this.#pressure = room < 0;
    this.#room = room < 0 ? -1 - room : room;
  }

  readonly #endOfTurn = (): void => {
    this.#scheduled = false;
    try {
      this.flush();
    } catch (error) {
      // Another thread stopped the engine within this turn: nobody is left to deliver to.
      if (!(error instanceof WSEStateError)) throw error;
    }
  };
}
