import { describe, expect, it } from 'vitest';
import type { NativeCalls } from '../../src/native/binding.js';
import { Liveness } from '../../src/server/liveness.js';

const id = (generation: number, shard: number, slot: number): number => generation * 2 ** 27 + shard * 2 ** 21 + slot;

/** Two shards with a table of three slots each; the last slot of the second holds its largest generation. */
function table(memory: ArrayBuffer | null): Liveness {
  return new Liveness({ liveness: () => memory, livenessPerShard: () => 3 } as unknown as NativeCalls, 1);
}

describe('the table of who may be sent to', () => {
  const words = new Uint32Array([7, 0, 0, 0, 0, 2 ** 26 - 1]);

  it.each([
    [id(7, 0, 0), true],
    [id(2 ** 26 - 1, 1, 2), true],
    [id(8, 0, 0), false],
    [id(7, 0, 1), false],
    [id(7, 1, 0), false],
    [id(7, 2, 0), false],
    [id(7, 63, 0), false],
    [id(0, 0, 1), false],
    [id(7, 0, 0) + 0.25, false],
    [-id(7, 0, 0), false],
    [Number.NaN, false],
    [Number.POSITIVE_INFINITY, false],
    [Number.NEGATIVE_INFINITY, false],
  ])('says of %d: %s', (conn, open) => {
    expect(table(words.buffer).isOpen(conn)).toBe(open);
  });

  it('sees what changes', () => {
    const own = words.slice();
    const liveness = table(own.buffer);
    own[0] = 0;
    expect(liveness.isOpen(id(7, 0, 0))).toBe(false);
    own[0] = 8;
    expect(liveness.isOpen(id(8, 0, 0))).toBe(true);
  });

  it('leaves slots beyond it to the engine, and everything where the runtime allows no such memory', () => {
    expect(table(words.buffer).isOpen(id(7, 0, 3))).toBeUndefined();
    expect(table(words.buffer).isOpen(id(7, 1, 2 ** 21 - 1))).toBeUndefined();
    expect(table(null).isOpen(id(7, 0, 0))).toBeUndefined();
  });
});
