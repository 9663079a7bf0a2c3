/**
 * Who may be sent to, read from the engine's own memory: one word per slot, the generation of the connection that is open there.
 * Never written here.
 */

import type { NativeCalls } from '../native/binding.js';

/** The layout of a connection id, as in `crates/engine/src/id.rs`: generation, 6 bits of shard, 21 bits of slot. */
const SLOT_MASK = 2 ** 21 - 1;
const SHARD_MASK = 2 ** 6 - 1;
const SHARD_SHIFT = 21;
const GENERATION = 2 ** 27;

/** The table of one engine. */
export class Liveness {
  readonly #words: Uint32Array;
  readonly #perShard: number;

  constructor(calls: NativeCalls, handle: number) {
    const memory = calls.liveness(handle);
    this.#words = new Uint32Array(memory ?? new ArrayBuffer(0));
    this.#perShard = memory === null ? 0 : calls.livenessPerShard(handle);
  }

  /** Whether `conn` is open and not closing; undefined: the table does not say, ask the engine. */
  isOpen(conn: number): boolean | undefined {
    const low = conn >>> 0;
    const slot = low & SLOT_MASK;
    if (slot >= this.#perShard) return undefined;
    const index = ((low >>> SHARD_SHIFT) & SHARD_MASK) * this.#perShard + slot;
    const generation = Math.floor(conn / GENERATION);
    return (
      index < this.#words.length &&
      generation > 0 && // 0 in the table stands for nobody
      Atomics.load(this.#words, index) === generation &&
      generation * GENERATION + (low & (GENERATION - 1)) === conn // fractions name nobody
    );
  }
}
