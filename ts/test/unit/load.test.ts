/** What the dashboard's load measures with: its frame reader and its histogram. */

import { describe, expect, it } from 'vitest';

interface Reader {
  push(chunk: Buffer): void;
}
interface Sink {
  message(stamp: number, bytes: number): void;
  control(opcode: number, payload: Buffer): void;
}
interface Counts {
  add(micros: number): void;
  take(): number[];
  merge(pairs: number[]): void;
  percentile(p: number): number | null;
}

const load = (name: string) => import(new URL(`../../../examples/dashboard/load/${name}.mjs`, import.meta.url).href);
const { FrameReader } = (await load('frames')) as { FrameReader: new (sink: Sink) => Reader };
const { Histogram } = (await load('histogram')) as { Histogram: new () => Counts };

/** An unmasked frame of a server. */
function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.from([0x80 | opcode, length]), payload]);
  if (length < 65_536) return Buffer.concat([Buffer.from([0x80 | opcode, 126, length >> 8, length & 255]), payload]);
  const head = Buffer.from([0x80 | opcode, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

describe('the frame reader', () => {
  const sizes = [16, 125, 126, 4000, 65_535, 65_536, 70_000, 3, 0];
  const stream = Buffer.concat([
    ...sizes.map((size, i) =>
      frame(
        1,
        Buffer.from(
          String(1000 + i)
            .padStart(16, '0')
            .padEnd(size, 'x')
            .slice(0, size),
        ),
      ),
    ),
    frame(9, Buffer.from('ping')),
    frame(1, Buffer.from('0000000000000077')),
    frame(8, Buffer.from([0x0f, 0xa0])),
  ]);
  const wanted = [
    ...sizes.map((size, i) => (size < 16 ? [0, size] : [1000 + i, size])),
    'control 9 ping',
    [77, 16],
    'control 8 \u000f\u00a0',
  ];

  it.each([1, 2, 3, 7, 15, 16, 17, 1000, 65_536, stream.length])('reads the same in chunks of %i bytes', (step) => {
    const heard: unknown[] = [];
    const reader = new FrameReader({
      message: (stamp, bytes) => heard.push([stamp, bytes]),
      control: (opcode, payload) => heard.push(`control ${opcode} ${payload.toString('latin1')}`),
    });
    const shared = Buffer.alloc(step);
    for (let at = 0; at < stream.length; at += step) {
      const n = stream.copy(shared, 0, at, at + step);
      reader.push(shared.subarray(0, n));
      shared.fill(0xff); // the memory of a chunk is used again
    }
    expect(heard).toEqual(wanted);
  });
});

describe('the histogram', () => {
  it('is right within four per cent, also over several processes', () => {
    const values = Array.from({ length: 5000 }, (_, i) => Math.round(10 * 1.002 ** i));
    const all = new Histogram();
    const parts = [new Histogram(), new Histogram()];
    values.forEach((value, i) => parts[i % 2]?.add(value));
    for (const part of parts) all.merge(part.take());
    for (const p of [0.01, 0.5, 0.99, 1]) {
      const exact = (values[Math.ceil(values.length * p) - 1] ?? 0) / 1000;
      expect(Math.abs((all.percentile(p) ?? 0) / exact - 1)).toBeLessThan(0.04);
    }
    expect(parts[0]?.take()).toEqual([]);
    expect(new Histogram().percentile(0.5)).toBeNull();
  });
});
