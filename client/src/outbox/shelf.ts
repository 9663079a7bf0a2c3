/** The messages of an outbox as they are kept in memory: by stream and number where they were sent, by priority and age where not. Sends and stores nothing. */

import { ORDER } from '../core/outgoing.js';
import type { Outgoing } from '../protocol/types.js';
import { type Item, type Line, newLine } from './line.js';
import type { OutboxMessage, OutboxRecord } from './types.js';

const encoder = new TextEncoder();

/** Bytes of a text in UTF-8. */
export const bytesOf = (text: string): number => encoder.encode(text).length;

/** What a program gets to see of a record. */
export function messageOf({ json }: OutboxRecord): OutboxMessage {
  const { type, payload, id } = JSON.parse(json) as OutboxMessage;
  return { type, payload, id };
}

/** A record as it is sent; `numbered`: with its place in its stream. */
export function wireMessage({ stream, n, priority, json }: OutboxRecord, numbered: boolean): Outgoing {
  return {
    ...(JSON.parse(json) as Outgoing),
    ...(priority !== 5 && { priority }),
    ...(numbered && { outbox: [stream, n] as const }),
  };
}

/** The shelf of one outbox. */
export class Shelf {
  /** In the order in which they came to this outbox: what others have left, then its own. */
  readonly lines: Map<string, Line> = new Map();
  size = 0;
  bytes = 0;

  line(name: string, stored = true): Line {
    const line = this.lines.get(name) ?? newLine(name, stored);
    this.lines.set(name, line);
    return line;
  }

  /** Keeps an item; `ready`: where it was never sent, it may get a number from here on. What comes back comes newest first. */
  put(item: Item, ready = true): void {
    const { stream, seq, n, priority } = item.record;
    const line = this.line(stream);
    const before = line.items.get(seq);
    if (before) this.#unlist(line, before);
    else {
      this.size += 1;
      this.bytes += item.bytes;
    }
    line.items.set(seq, item);
    line.seq = Math.max(line.seq, seq);
    line.last = Math.max(line.last, n);
    if (n > 0) line.sent.set(n, item);
    if (n !== 0 || !ready) return;
    const level = line.waiting.get(priority) ?? new Map<number, Item>();
    const [first = seq] = level.keys();
    level.set(seq, item);
    // It has been tried: it goes where it was.
    line.waiting.set(priority, first > seq ? new Map([...level].sort(([a], [b]) => a - b)) : level);
  }

  /** False: it is not here. */
  remove({ stream, seq }: OutboxRecord): boolean {
    const line = this.lines.get(stream);
    const item = line?.items.get(seq);
    if (!line || !item) return false;
    line.items.delete(seq);
    this.#unlist(line, item);
    this.size -= 1;
    this.bytes -= item.bytes;
    return true;
  }

  #unlist(line: Line, { record: { n, seq, priority } }: Item): void {
    line.sent.delete(n);
    line.waiting.get(priority)?.delete(seq);
  }

  /** Whether this very item is kept, with the number it says. */
  has(item: Item): boolean {
    return this.lines.get(item.record.stream)?.items.get(item.record.seq) === item;
  }

  *all(): Generator<Item> {
    for (const { items } of this.lines.values()) yield* items.values();
  }

  /** What is to be given up at `now`, and when the next one is. */
  old(now: number): { readonly old: Item[]; readonly next: number } {
    const old: Item[] = [];
    let next = Infinity;
    for (const item of this.all()) {
      if (item.until <= now) old.push(item);
      else next = Math.min(next, item.until);
    }
    return { old, next };
  }

  /** Records by their streams. */
  group(records: readonly OutboxRecord[]): Map<Line, OutboxRecord[]> {
    const groups = new Map<Line, OutboxRecord[]>();
    for (const record of records) {
      const line = this.line(record.stream);
      const group = groups.get(line);
      if (group) group.push(record);
      else groups.set(line, [record]);
    }
    return groups;
  }

  /**
   * What gets numbers next, at most `most`: by priority, then by age, which is no time of day: what others have left is older than our own.
   * `room` says how many a line may give.
   */
  next(most: number, room: (line: Line) => number): Item[] {
    const items: Item[] = [];
    const rooms = new Map<Line, number>();
    for (const level of ORDER) {
      for (const line of this.lines.values()) {
        const waiting = line.waiting.get(level);
        if (!waiting?.size || items.length === most) continue;
        let left = rooms.get(line) ?? room(line);
        for (const item of waiting.values()) {
          if (left <= 0 || items.length === most) break;
          left -= 1;
          items.push(item);
        }
        rooms.set(line, left);
      }
    }
    return items;
  }
}
