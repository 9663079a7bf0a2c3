/**
 * What one turn publishes and sends, collected here and handed to the engine in one crossing: strings in, bytes out.
 *
 * Everything is handed over when the running code gives way (a microtask), when {@link FLUSH_BYTES} or {@link SENDS} have come
 * together, before this facade commands the engine anything else, and before this thread blocks in `drainInbound()`: order is
 * that of the calls. Questions hand nothing over. How much room the engine has is asked once per turn, and again with each crossing;
 * who only sends to single connections does not ask while there was plenty.
 *
 * The layout of a crossing is told in `crates/engine/src/outbox.rs`; `spec/vectors/outbox.json` shows it to both sides.
 */

import { native, WSEOverloadedError, WSEStateError } from '../errors.js';
import type { NativeCalls } from '../native/binding.js';
import { describeThrown } from '../thrown.js';
import { Liveness } from './liveness.js';

const FLUSH_BYTES = 64 * 1024;
/** Messages to single connections that cross together at most: the shard writes the first while the next are made. */
const SENDS = 32;
/** A longer message, in bytes or UTF-16 units, is not copied once more: it crosses alone. */
const LARGE = 16 * 1024;
/** Follows each topic and text, so that the halves of two lone surrogates cannot meet. */
const SEPARATOR = '\n';
/** Stands in place of a topic's length: the topic of the publication before. */
const SAME_TOPIC = 0xffff_ffff;
/** Stands in place of a topic's length: a text for one connection. */
export const SEND_TEXT = 0xffff_fffe;
/** Stands in place of a topic's length: bytes for one connection. */
export const SEND_BYTES = 0xffff_fffd;
/** Stands before the notes of a publication: its payload is bytes. */
const PUBLISH_BYTES = 0xffff_fffc;
/** Stands before the notes of a publication, with a connection's id: that one does not get it. */
const EXCEPT = 0xffff_fffb;
/** What a message costs beside its payload, at most: the frame's header, the category, the engine's own note of it. */
const OVERHEAD_BYTES = 88;
/** A publication takes six notes at most, and one more may go beyond {@link FLUSH_BYTES}; a message to one connection takes four. */
const NOTES = 6 * (Math.ceil(FLUSH_BYTES / OVERHEAD_BYTES) + 1) + 4 * SENDS;
/** A microtask for a third of what `queueMicrotask()` costs in Node, which sees to an async context we have no use for. */
const endOfTurn = Promise.resolve();
/** The true length, whatever a subclass says of itself. */
const byteLengthOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'byteLength')?.get as (
  this: Uint8Array,
) => number;

/** Room that is plenty for what crosses together to single connections: an old answer will do. */
const PLENTY = 4 * FLUSH_BYTES;

/** Those of this thread that may hold something. */
const open = new Set<Outbox>();

/** Hands over what any facade of this thread has collected: the thread is about to block. */
export function settleAll(): void {
  for (const outbox of open) outbox.settleIfRunning();
}

/** The collector of one facade. */
export class Outbox {
  readonly #calls: NativeCalls;
  readonly #handle: number;
  readonly #liveness: Liveness;
  readonly #notes = new Uint32Array(NOTES);
  readonly #payloads = new Uint8Array(FLUSH_BYTES);
  #text = '';
  #topic = '';
  #noted = 0;
  #sends = 0;
  /** Bytes used of `#payloads`. */
  #filled = 0;
  /** What has been collected, in units of text and bytes. */
  #size = 0;
  /** The most bytes it can take in the engine: a unit of text is at most three. */
  #most = 0;
  /** Bytes the engine takes before there is pressure, or under pressure before its hard limit, as it said last. */
  #room = 0;
  #pressure = false;
  /** `#room` and `#pressure` are of this turn, and this facade has not commanded the engine anything else since. */
  #fresh = false;
  /** What is collected will be handed over. */
  #scheduled = false;
  /** Among those that may hold something. */
  #listed = false;

  constructor(calls: NativeCalls, handle: number) {
    this.#calls = calls;
    this.#handle = handle;
    this.#liveness = native(() => new Liveness(calls, handle));
  }

  /**
   * Takes one publication.
   *
   * @param except a connection that does not get it
   * @returns false: taken, but the engine is behind
   * @throws WSEOverloadedError when nothing was taken; WSEStateError when the engine does not run.
   */
  publish(topic: string, text: string, except?: number): boolean {
    this.#begin();
    let most = 3 * text.length + OVERHEAD_BYTES;
    if (this.#most + most > this.#room) most = this.#makeRoom(Buffer.byteLength(text) + OVERHEAD_BYTES);
    if (except !== undefined) this.#leaveOut(except);
    const same = this.#topic === topic && this.#noted > 0;
    this.#text += same ? text + SEPARATOR : topic + SEPARATOR + text + SEPARATOR;
    this.#topic = topic;
    this.#note(same ? SAME_TOPIC : topic.length);
    this.#note(text.length);
    this.#added(text.length + (same ? 0 : topic.length), most);
    return !this.#pressure;
  }

  /**
   * Takes one publication of bytes. Copies them, or hands large ones over at once.
   *
   * @param except a connection that does not get it
   * @returns as {@link publish}
   * @throws as {@link publish}
   */
  publishBytes(topic: string, bytes: Uint8Array, except?: number): boolean {
    this.#begin();
    const length = byteLengthOf.call(bytes);
    const most = length + OVERHEAD_BYTES;
    if (this.#most + most > this.#room) this.#makeRoom(most);
    const large = length > LARGE;
    // It crosses alone, from where it is.
    if (large) this.#flush();
    if (except !== undefined) this.#leaveOut(except);
    const same = this.#topic === topic && this.#noted > 0;
    if (!same) this.#text += topic + SEPARATOR;
    this.#topic = topic;
    this.#note(PUBLISH_BYTES);
    this.#note(same ? SAME_TOPIC : topic.length);
    this.#note(length);
    if (large) {
      this.#flush(bytes);
      return !this.#pressure;
    }
    this.#payloads.set(bytes, this.#filled);
    this.#filled += length;
    this.#added(length + (same ? 0 : topic.length), most);
    this.#keepRoomForBytes();
    return !this.#pressure;
  }

  /**
   * Takes one text for one connection.
   *
   * @returns false: no such connection
   * @throws as {@link publish}
   */
  send(conn: number, text: string): boolean {
    const isOpen = this.#liveness.isOpen(conn);
    this.#beginTo(isOpen);
    if (isOpen === false) return this.#nobody();
    const most = 3 * text.length + OVERHEAD_BYTES;
    if (isOpen === undefined || text.length > LARGE || !this.#fits(most)) {
      return this.#directly(() => this.#calls.send(this.#handle, conn, text));
    }
    this.#text += text + SEPARATOR;
    this.#address(SEND_TEXT, conn, text.length);
    this.#added(text.length, most);
    return true;
  }

  /**
   * Takes bytes for one connection, and copies them.
   *
   * @returns false: no such connection
   * @throws as {@link publish}
   */
  sendBytes(conn: number, bytes: Uint8Array): boolean {
    const isOpen = this.#liveness.isOpen(conn);
    this.#beginTo(isOpen);
    if (isOpen === false) return this.#nobody();
    const length = byteLengthOf.call(bytes);
    if (isOpen === undefined || length > LARGE || !this.#fits(length + OVERHEAD_BYTES)) {
      return this.#directly(() => this.#calls.sendBytes(this.#handle, conn, bytes));
    }
    this.#payloads.set(bytes, this.#filled);
    this.#filled += length;
    this.#address(SEND_BYTES, conn, length);
    this.#added(length, length + OVERHEAD_BYTES);
    this.#keepRoomForBytes();
    return true;
  }

  /** Hands over what has been collected; what comes next asks the engine anew how it stands. */
  settle(): void {
    this.#fresh = false;
    this.#listed = false;
    open.delete(this);
    this.#flush();
  }

  /** From here on nothing is handed over at the end of the turn: whoever calls this calls {@link deliver} before it gives way. */
  hold(): void {
    this.#scheduled = true;
  }

  /** {@link settle}, unless another thread has stopped the engine: then nobody is left to deliver to. */
  settleIfRunning(): void {
    try {
      this.settle();
    } catch (error) {
      if (!(error instanceof WSEStateError)) throw error;
    }
  }

  #begin(): void {
    if (!this.#fresh) {
      this.#measure(native(() => this.#calls.room(this.#handle, 0)));
      this.#fresh = true;
    }
    this.#list();
  }

  /** The same for a message to one connection. While the table names it the engine runs, and there is no pressure to tell of. */
  #beginTo(isOpen: boolean | undefined): void {
    if (isOpen !== true || this.#room < PLENTY) this.#begin();
    else this.#list();
  }

  #list(): void {
    if (!this.#listed) {
      this.#listed = true;
      open.add(this);
    }
    if (!this.#scheduled) {
      this.#scheduled = true;
      endOfTurn.then(this.#endOfTurn);
    }
  }

  #note(value: number): void {
    this.#notes[this.#noted++] = value;
  }

  #noteConn(conn: number): void {
    this.#note(conn); // its lower 32 bits
    this.#note(Math.floor(conn / 2 ** 32));
  }

  #address(kind: number, conn: number, length: number): void {
    this.#note(kind);
    this.#noteConn(conn);
    this.#note(length);
    this.#sends += 1;
  }

  /** Notes who does not get the publication that is noted next. Who is not there gets nothing anyway. */
  #leaveOut(conn: number): void {
    if (this.#liveness.isOpen(conn) === false) return;
    this.#note(EXCEPT);
    this.#noteConn(conn);
  }

  /** The next bytes find room for the largest that are collected. */
  #keepRoomForBytes(): void {
    if (this.#filled > FLUSH_BYTES - LARGE) this.#flush();
  }

  #added(size: number, most: number): void {
    this.#size += size + OVERHEAD_BYTES;
    this.#most += most;
    if (this.#size >= FLUSH_BYTES || this.#most >= this.#room || this.#sends === SENDS) this.#flush();
  }

  /** @param alone bytes that cross in place of those that were collected, of which there are none then */
  #flush(alone?: Uint8Array): void {
    if (this.#noted === 0) return;
    const text = this.#text;
    const noted = this.#noted;
    const bytes = alone ?? (this.#filled > 0 ? this.#payloads : null);
    this.#text = '';
    this.#topic = '';
    this.#noted = 0;
    this.#sends = 0;
    this.#filled = 0;
    this.#size = 0;
    this.#most = 0;
    this.#measure(native(() => this.#calls.handOver(this.#handle, text, text.length, bytes, this.#notes, noted)));
  }

  /** Whether the engine has room for so much beside what has been collected. */
  #fits(most: number): boolean {
    if (this.#most + most <= this.#room) return true;
    this.#flush();
    this.#measure(native(() => this.#calls.room(this.#handle, 0)));
    return most <= this.#room;
  }

  /** `size`, the bytes a publication takes at most, for which there is room now. */
  #makeRoom(size: number): number {
    this.#flush();
    this.#measure(native(() => this.#calls.room(this.#handle, size)));
    // Below the mark whatever the hard limit allows is taken: it is what brings the pressure.
    if (this.#pressure && size > this.#room) {
      throw new WSEOverloadedError('WSE_OVERLOADED', 'the engine holds publisher.hardLimit bytes: nothing was taken');
    }
    return size;
  }

  /** Sends past the collector what is large, or what the engine might refuse: it knows best. */
  #directly(call: () => boolean): boolean {
    this.settle();
    return native(call);
  }

  /** The answer when the table names nobody: so it does when the engine has been stopped, and that is an error. */
  #nobody(): false {
    this.#measure(native(() => this.#calls.room(this.#handle, 0)));
    return false;
  }

  #measure(room: number): void {
    this.#pressure = room < 0;
    this.#room = room < 0 ? -1 - room : room;
  }

  readonly #endOfTurn = (): void => this.deliver();

  /** {@link settle} in nobody's call: what goes wrong becomes a process warning. */
  deliver(): void {
    this.#scheduled = false;
    try {
      this.settleIfRunning();
    } catch (error) {
      // Nobody's call: thrown from here it would be an unhandled rejection, the end of the process.
      const { text } = describeThrown(error);
      process.emitWarning(`what a turn published and sent could not be handed over: ${text}`, {
        type: 'WSEHandOverWarning',
        code: 'WSE_HAND_OVER_FAILED',
      });
    }
  }
}
