/** A message that is parsed when somebody asks for it: for servers that look at few of the messages they get. */

import type { WSEMessage } from '../events.js';

/**
 * A JSON object as a client sent it, not parsed yet. The engine has validated it. Keeps the messages of its batch in memory
 * for as long as it is kept itself: keep `parse()`'s result or `text` instead.
 */
export class LazyMessage {
  readonly #region: Buffer;
  readonly #start: number;
  readonly #end: number;

  /** @internal */
  constructor(region: Buffer, start: number, end: number) {
    this.#region = region;
    this.#start = start;
    this.#end = end;
  }

  /** Its JSON. */
  get text(): string {
    return this.#region.toString('utf8', this.#start, this.#end);
  }

  /** Whether its JSON holds this text, which has no escapes; nothing is decoded. @internal */
  includes(text: string): boolean {
    return this.#region.subarray(this.#start, this.#end).includes(text);
  }

  /** Its size in bytes of JSON. */
  get byteLength(): number {
    return this.#end - this.#start;
  }

  /** The object, built anew by each call. */
  parse(): WSEMessage {
    return JSON.parse(this.text) as WSEMessage;
  }
}
