/**
 * The buffer batches cross in: filled by the engine, decoded at once, used again. Nothing that is handed out refers to it.
 */

const SMALL = 64 * 1024;
/** A larger buffer is given up after the batch that needed it. */
const KEEP = 1024 * 1024;

/** One thread's inlet. */
export class Inlet {
  #buffer = new Uint8Array(SMALL);

  /**
   * Decodes what `fill` writes into the buffer it is given.
   *
   * @param fill returns bytes written, 0 for nothing, or below 0 the size it needs: it is then called again
   * @param decode must not keep the bytes
   */
  take<B>(fill: (buffer: Uint8Array) => number, decode: (bytes: Uint8Array) => B): B | null {
    let written = fill(this.#buffer);
    while (written < 0) {
      this.#buffer = new Uint8Array(2 ** Math.ceil(Math.log2(-written)));
      written = fill(this.#buffer);
    }
    if (written === 0) return null;
    const batch = decode(this.#buffer.subarray(0, written));
    if (this.#buffer.length > KEEP) this.#buffer = new Uint8Array(SMALL);
    return batch;
  }
}
