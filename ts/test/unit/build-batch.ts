/** Builds a batch by the documented layout, independently of the decoder. */

export interface RawEvent {
  kind: number;
  conn: number;
  bytes: string | Uint8Array;
}

const MSG = 2;

export function buildBatch(events: readonly RawEvent[], misalign = 0): Uint8Array {
  const encoder = new TextEncoder();
  const bodies = events.map(({ bytes }) => (typeof bytes === 'string' ? encoder.encode(bytes) : bytes));
  const texts = bodies.filter((_, index) => events[index]?.kind === MSG);
  const data = bodies.filter((_, index) => events[index]?.kind !== MSG);
  const text = [...encoder.encode('['), ...texts.flatMap((one, i) => (i === 0 ? [...one] : [44, ...one])), 93];
  const flat = data.flatMap((one) => [...one]);

  const { length: count } = events;
  const kindsAt = 16 + count * 12;
  const textAt = Math.ceil((kindsAt + count) / 8) * 8;
  const total = textAt + text.length + flat.length;
  const out = new Uint8Array(new ArrayBuffer(total + misalign), misalign);
  const view = new DataView(out.buffer, misalign);
  const ascii = (bytes: readonly number[]): boolean => bytes.every((byte) => byte < 128);
  view.setUint32(0, count, true);
  view.setUint32(4, (ascii(text) ? 1 : 0) | (ascii(flat) ? 2 : 0), true);
  view.setUint32(8, text.length, true);
  view.setUint32(12, flat.length, true);
  events.forEach(({ kind, conn }, index) => {
    view.setFloat64(16 + index * 8, conn, true);
    view.setUint32(16 + count * 8 + index * 4, bodies[index]?.length ?? 0, true);
    view.setUint8(kindsAt + index, kind);
  });
  out.set(text, textAt);
  out.set(flat, textAt + text.length);
  return out;
}
