/** The memory batches cross in, as bytes, words and floats: a view costs more to make than a small batch to read. */
export class BatchMemory {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly floats: Float64Array;

  /** @param size in bytes, a multiple of 8 */
  constructor(size: number) {
    const memory = new ArrayBuffer(size);
    this.bytes = Buffer.from(memory);
    this.words = new Uint32Array(memory);
    this.floats = new Float64Array(memory);
  }
}
