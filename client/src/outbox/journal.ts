/**
 * The lines of a file store: one JSON array each, which says what was done. What they come to is kept beside them. Reads and writes no
 * file.
 */

import type { OutboxRecord, StoredStream } from './types.js';

type Line =
  | readonly ['put', OutboxRecord]
  | readonly ['assign', stream: string, last: number, numbers: readonly (readonly [seq: number, n: number])[]]
  | readonly ['remove', stream: string, seqs: readonly number[]]
  | readonly ['forget', stream: string];

interface Kept {
  last: number;
  readonly records: Map<number, OutboxRecord>;
}

const line = (entry: Line): string => `${JSON.stringify(entry)}\n`;

/** What all lines so far come to. */
export class Journal {
  readonly #streams = new Map<string, Kept>();
  /** Lines that could not be read. */
  bad = 0;
  /** Bytes, about, of what would have to be written anew. */
  live = 0;

  static put(record: OutboxRecord): string {
    return line(['put', record]);
  }

  static assign(stream: string, last: number, records: readonly OutboxRecord[]): string {
    return line(['assign', stream, last, records.map(({ seq, n }) => [seq, n])]);
  }

  static remove(stream: string, seqs: readonly number[]): string {
    return line(['remove', stream, seqs]);
  }

  static forget(stream: string): string {
    return line(['forget', stream]);
  }

  /** Reads lines. The last one counts only with its end: a process that was killed may have begun it. What is no line is skipped. */
  read(text: string): void {
    const lines = text.split('\n');
    for (const one of lines.slice(0, -1)) {
      try {
        if (one) this.#apply(JSON.parse(one) as Line);
      } catch {
        // A power cut may leave anything.
        this.bad += 1;
      }
    }
  }

  #apply(entry: Line): void {
    if (entry[0] === 'put') {
      const record = entry[1];
      if (typeof record.stream !== 'string' || typeof record.json !== 'string' || !(record.seq > 0))
        throw new TypeError('no record');
      this.#keep(this.#stream(record.stream), record);
      return;
    }
    if (!['assign', 'remove', 'forget'].includes(entry[0]) || typeof entry[1] !== 'string') throw new TypeError('no line');
    if (entry[0] === 'assign' && !Number.isSafeInteger(entry[2])) throw new TypeError('no number');
    const kept = this.#stream(entry[1]);
    if (entry[0] === 'assign') {
      kept.last = Math.max(kept.last, entry[2]);
      for (const [seq, n] of entry[3]) {
        const record = kept.records.get(seq);
        if (record) this.#keep(kept, { ...record, n });
      }
    } else {
      for (const seq of entry[0] === 'remove' ? entry[2] : [...kept.records.keys()]) this.#lose(kept, seq);
      if (entry[0] === 'forget') this.#streams.delete(entry[1]);
    }
  }

  #stream(name: string): Kept {
    let kept = this.#streams.get(name);
    if (!kept) {
      kept = { last: 0, records: new Map() };
      this.#streams.set(name, kept);
    }
    return kept;
  }

  #keep(kept: Kept, record: OutboxRecord): void {
    this.#lose(kept, record.seq);
    kept.records.set(record.seq, record);
    this.live += Buffer.byteLength(Journal.put(record));
  }

  #lose(kept: Kept, seq: number): void {
    const record = kept.records.get(seq);
    if (!record) return;
    kept.records.delete(seq);
    this.live -= Buffer.byteLength(Journal.put(record));
  }

  /** Gives up so many numbers of each stream: which were given is not known. */
  skip(numbers: number): void {
    for (const kept of this.#streams.values()) kept.last += numbers;
  }

  /** The streams that hold something, or have given numbers. */
  streams(): StoredStream[] {
    return [...this.#streams].map(([name, { last, records }]) => ({ name, last, records: [...records.values()] }));
  }

  /** Lines that come to the same, and no more of them than it takes. */
  text(): string {
    return [...this.#streams]
      .map(([name, { last, records }]) => [Journal.assign(name, last, []), ...[...records.values()].map(Journal.put)].join(''))
      .join('');
  }
}
