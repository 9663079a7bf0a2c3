/** The messages of an outbox as they are kept in memory: by stream and number where they were sent, by priority and age where not. Sends and stores nothing. */

import type { OutboxMessage, OutboxRecord } from './types.js';

/** A message on the shelf. */
export interface Item {
  readonly record: OutboxRecord;
  /** Bytes of its JSON. */
  readonly bytes: number;
  /** When it is given up, by the client's clock. */
  readonly until: number;
}

/** A stream this outbox sends. */
export interface Line {
  readonly name: string;
  /** The highest number given. */
  last: number;
  /** The highest `seq` given. */
  seq: number;
  /** By `seq`, in that order. */
  readonly items: Map<number, Item>;
}

const encoder = new TextEncoder();

/** Bytes of a text in UTF-8. */
export const bytesOf = (text: string): number => encoder.encode(text).length;

/** What a program gets to see of a record. */
export function messageOf({ json }: OutboxRecord): OutboxMessage {
  const { type, payload, id } = JSON.parse(json) as OutboxMessage;
  return { type, payload, id };
}

/** The shelf of one outbox. */
export class Shelf {
  /** In the order in which they came to this outbox: what others have left, then its own. */
  readonly lines: Map<string, Line> = new Map();
  size = 0;
  bytes = 0;

  line(name: string, last = 0): Line {
    let line = this.lines.get(name);
    if (!line) {
      line = { name, last, seq: 0, items: new Map() };
      this.lines.set(name, line);
    }
    return line;
  }

  put(item: Item): void {
    const line = this.line(item.record.stream);
    const { seq, n } = item.record;
    const before = line.items.get(seq);
    if (!before) {
      this.size += 1;
      this.bytes += item.bytes;
    }
    line.items.set(seq, item);
    line.seq = Math.max(line.seq, seq);
    line.last = Math.max(line.last, n);
  }

  remove({ stream, seq }: OutboxRecord): void {
    const line = this.lines.get(stream);
    const item = line?.items.get(seq);
    if (!line || !item) return;
    line.items.delete(seq);
    this.size -= 1;
    this.bytes -= item.bytes;
  }

  has({ stream, seq }: OutboxRecord): boolean {
    return this.lines.get(stream)?.items.has(seq) ?? false;
  }

  *all(): Generator<Item> {
    for (const { items } of this.lines.values()) yield* items.values();
  }

  /** What was sent with a number and is not acknowledged: a stream after the other, each in ascending order. */
  sent(): Item[] {
    return [...this.lines.values()].flatMap(({ items }) =>
      [...items.values()].filter(({ record }) => record.n > 0).sort((a, b) => a.record.n - b.record.n),
    );
  }

  /** What was never sent: by priority, then by age, which is no time of day: what others have left is older than our own. */
  unsent(): Item[] {
    const all = [...this.all()].filter(({ record }) => record.n === 0);
    return all.sort((a, b) => b.record.priority - a.record.priority);
  }
}
