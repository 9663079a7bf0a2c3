/**
 * The long strings of a batch. The engine lets the string most of a large message is, and columns of long strings, cross beside the
 * JSON, so that they are neither searched nor copied by the parser: in a message's JSON a stand-in says how long its string is.
 */

import type { WSEMessage } from '../events.js';

/** What a stand-in begins with: no other string of its message does (`crates/protocol/src/json/long.rs`). */
const STAND_IN = '~wse~';

/** The long strings of one batch. */
export class LongStrings {
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #end: number;

  /** @param start where they begin in `bytes`, and `end` where they end; they are ASCII */
  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  /**
   * The message with its string; it is changed. Without its stand-in (a later member of the same name has replaced it) it is whole. A
   * message that could not be parsed is a text, and stays one.
   */
  restore(message: WSEMessage | string): WSEMessage | string {
    if (typeof message === 'string') return message.replace(/~wse~\d+\+\d+/, (standIn) => this.#find(standIn));
    this.#fill(message as Record<string, unknown>);
    return message;
  }

  /**
   * A column of strings, which stand one after the other.
   *
   * @throws RangeError when they do not fit
   */
  column(at: number, lengths: readonly number[]): string[] {
    let start = this.#start + at;
    return lengths.map((length) => {
      const end = start + length;
      if (!(start >= this.#start && end >= start && end <= this.#end)) throw new RangeError('batch: its long strings do not fit');
      const string = this.#bytes.toString('latin1', start, end);
      start = end;
      return string;
    });
  }

  /** Whether it was in there. The engine has bounded the depth. */
  #fill(values: Record<string, unknown>): boolean {
    for (const key of Object.keys(values)) if (this.#put(values, key)) return true;
    return false;
  }

  /** The same for an array, whose keys would be as many strings. */
  #fillArray(values: unknown[]): boolean {
    for (let i = 0; i < values.length; i += 1) if (this.#put(values as unknown as Record<number, unknown>, i)) return true;
    return false;
  }

  #put(values: Record<string | number, unknown>, key: string | number): boolean {
    const value = values[key];
    if (typeof value === 'string') {
      if (!value.startsWith(STAND_IN)) return false;
      values[key] = this.#find(value);
      return true;
    }
    if (typeof value !== 'object' || value === null) return false;
    return Array.isArray(value) ? this.#fillArray(value) : this.#fill(value as Record<string, unknown>);
  }

  #find(standIn: string): string {
    const [place, length] = standIn.slice(STAND_IN.length).split('+').map(Number) as [number, number];
    const start = this.#start + place;
    return this.#bytes.toString('latin1', start, start + length);
  }
}
