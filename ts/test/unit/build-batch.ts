/** Builds a batch by the documented layout, independently of the decoder. */

import { BatchMemory } from '../../src/inbound/memory.js';

export interface RawEvent {
  kind: number;
  conn: number;
  bytes: string | Uint8Array;
}

const MSG = 2;
const SHAPED = 16;

const encoder = new TextEncoder();
const ascii = (bytes: Uint8Array): boolean => bytes.every((byte) => byte < 128);

/**
 * @param columns the JSON of the columns region, if there is one
 * @param longs the region of long strings
 */
export function buildBatch(events: readonly RawEvent[], columns = '', longs = ''): Uint8Array {
  const bodies = events.map(({ bytes }) => (typeof bytes === 'string' ? encoder.encode(bytes) : bytes));
  const joined = (of: (kind: number) => boolean, separator: string): Uint8Array =>
    Buffer.concat(
      bodies
        .filter((_, index) => of(events[index]?.kind ?? 0))
        .flatMap((one, i) => (i === 0 ? [one] : [encoder.encode(separator), one])),
    );
  const text = Buffer.concat([encoder.encode('['), joined((kind) => kind === MSG, ','), encoder.encode(']')]);
  const table = encoder.encode(columns);
  const data = joined((kind) => kind !== MSG && kind < SHAPED, '');
  const beside = encoder.encode(longs);

  const { length: count } = events;
  const kindsAt = 24 + count * 12;
  const textAt = Math.ceil((kindsAt + count) / 8) * 8;
  const out = new Uint8Array(textAt + text.length + table.length + data.length + beside.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, count, true);
  view.setUint32(4, (ascii(text) ? 1 : 0) | (ascii(data) ? 2 : 0) | (ascii(table) ? 4 : 0), true);
  view.setUint32(8, text.length, true);
  view.setUint32(12, data.length, true);
  view.setUint32(16, table.length, true);
  view.setUint32(20, beside.length, true);
  events.forEach(({ kind, conn }, index) => {
    view.setFloat64(24 + index * 8, conn, true);
    view.setUint32(24 + count * 8 + index * 4, bodies[index]?.length ?? 0, true);
    view.setUint8(kindsAt + index, kind);
  });
  out.set(text, textAt);
  out.set(table, textAt + text.length);
  out.set(data, textAt + text.length + table.length);
  out.set(beside, textAt + text.length + table.length + data.length);
  return out;
}

/** Those bytes in the memory of an inlet, followed by what an earlier batch has left. */
export function inMemory(bytes: Uint8Array): [memory: BatchMemory, length: number] {
  const memory = new BatchMemory(Math.ceil((bytes.length + 24) / 8) * 8);
  memory.bytes.fill(0xaa);
  memory.bytes.set(bytes);
  return [memory, bytes.length];
}
