/**
 * The memory of one thread's batches: filled by the engine, decoded at once, used again. Nothing that is handed out refers to
 * it.
 */

import { BatchMemory } from './memory.js';

const SMALL = 64 * 1024;
/** A larger buffer is given up after the batch that needed it. */
const KEEP = 1024 * 1024;

/** One thread's inlet. */
export class Inlet {
  #memory = new BatchMemory(SMALL);

  /**
   * Decodes what `fill` writes into the buffer it is given.
   *
   * @param fill returns bytes written, 0 for nothing, or below 0 the size it needs: it is then called again
   * @param decode must not keep the memory
   */
  take<B>(fill: (buffer: Uint8Array) => number, decode: (memory: BatchMemory, length: number) => B): B | null {
    let written = fill(this.#memory.bytes);
    while (written < 0) {
      this.#memory = new BatchMemory(2 ** Math.ceil(Math.log2(-written)));
      written = fill(this.#memory.bytes);
    }
    if (written === 0) return null;
    const batch = decode(this.#memory, written);
    if (this.#memory.bytes.length > KEEP) this.#memory = new BatchMemory(SMALL);
    return batch;
  }
}
