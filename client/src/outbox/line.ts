/** A stream as one outbox sends it: its messages by number and by age, and which streams a connection carries. Sends nothing. */

import type { OutboxRecord } from './types.js';

/** A message that is kept. */
export interface Item {
  readonly record: OutboxRecord;
  /** Bytes of its JSON. */
  readonly bytes: number;
  /** When it is given up, by the client's clock. */
  readonly until: number;
  /** When it was written last, by the client's clock. */
  wrote?: number;
}

/** A stream this outbox sends. */
export interface Line {
  readonly name: string;
  /** Whether the store has it: its numbers are kept before they are used. */
  readonly stored: boolean;
  /** The highest number given. */
  last: number;
  /** The highest `seq` given. */
  seq: number;
  /** By `seq`, in the order they came. */
  readonly items: Map<number, Item>;
  /** What has a number and is not acknowledged, ascending. */
  readonly sent: Map<number, Item>;
  /** What may get a number: by priority, then by `seq`, in that order. */
  readonly waiting: Map<number, Map<number, Item>>;
  /** What has to be sent again on this connection before anything newer, ascending. */
  again: Item[];
  /** The store neither numbers nor gives up what it has: that stays there, for the next connection or whoever comes after us. */
  stuck: boolean;
}

/** 128 bits that nobody guesses, as a stream's name. */
export function streamName(): string {
  const parts = [...crypto.getRandomValues(new Uint32Array(4))];
  return `ob-${parts.map((part) => part.toString(36)).join('-')}`;
}

/** A stream that has nothing yet. */
export const newLine = (name: string, stored: boolean): Line => ({
  name,
  stored,
  last: 0,
  seq: 0,
  items: new Map(),
  sent: new Map(),
  waiting: new Map(),
  again: [],
  stuck: false,
});

/** When the oldest message that waits for an acknowledgement was written: later ones change nothing about it. */
export const wroteOldest = ({ again, sent }: Line): number => {
  const [oldest] = again.length > 0 ? [] : sent.values();
  return oldest?.wrote ?? Infinity;
};

/** What of a stream waits for an acknowledgement is to be sent again. */
export const sendAgain = (line: Line): void => {
  line.again = [...line.sent.values()];
};

/** Streams a connection may use, by the protocol. */
const STREAMS = 64;

/** The streams one connection carries. */
export class Places {
  readonly #used = new Set<string>();
  #full = false;

  /** A new connection. */
  clear(): void {
    this.#used.clear();
    this.#full = false;
  }

  /** Takes a place, or has it; false: the stream waits for another's, or for the next connection. While ours (`home`) has none, one is kept for it. */
  take(name: string, home: string): boolean {
    const used = this.#used;
    const free = !this.#full && (name === home || used.size < STREAMS - (used.has(home) ? 0 : 1));
    if (!used.has(name) && !free) return false;
    used.add(name);
    return true;
  }

  /** A stream is finished. The server may go on counting it: only where ours has its place is that another's. */
  leave(name: string, home: string): void {
    if (this.#used.has(home)) this.#used.delete(name);
  }

  /** The server has no place for a stream, nor for any other. */
  refuse(name: string): void {
    this.#full = true;
    this.#used.delete(name);
  }
}
