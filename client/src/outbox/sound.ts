/** Whether what a store hands over is what an outbox has put there: a disk, a power cut or another program may have made anything of it. */

import { ORDER } from '../core/outgoing.js';
import type { OutboxRecord, StoredStream } from './types.js';

/** The highest number that is believed: above it there would be too few for what comes next. */
const MAX = 2 ** 52;
/** Numbers that are left out where nobody knows which were given: one that is given again is a message that is lost. */
export const UNKNOWN: number = 2 ** 32;

const within = (value: unknown, from: number): boolean =>
  Number.isInteger(value) && (value as number) >= from && (value as number) <= MAX;

function isSound({ seq, n, at, priority, json }: OutboxRecord): boolean {
  try {
    const { type } = JSON.parse(json) as { type?: unknown };
    return typeof type === 'string' && within(seq, 1) && within(n, -1) && Number.isFinite(at) && ORDER.includes(priority);
  } catch {
    return false;
  }
}

/** A stream without what is unsound in it, and the places of that. */
export function soundOf({ name, last, records }: StoredStream): { readonly left: StoredStream; readonly bad: readonly number[] } {
  const named = /^[\w-]{8,64}$/.test(name);
  const seen = new Set<number>();
  const good: OutboxRecord[] = [];
  const bad: number[] = [];
  for (const record of records) {
    const sound = named && record.stream === name && isSound(record) && !(record.n > 0 && seen.has(record.n));
    if (sound) good.push(record);
    else bad.push(record.seq);
    seen.add(record.n);
  }
  const known = within(last, 0);
  const highest = good.reduce((most, { n }) => Math.max(most, n), known ? last : 0);
  return { left: { name, last: highest + (known && bad.length === 0 ? 0 : UNKNOWN), records: good }, bad };
}
