/**
 * Ledger: what was published to topics, and whether a subscriber's story is whole: every message delivered exactly once and in order, or
 * within one range that was declared lost, never both. It knows servers by the epochs of their streams.
 */

import type { Notices, Position, WSEClient, WSEEvent } from '../../src/index.js';

/** What a subscriber heard of a topic, in the order it heard it. */
type Line = { readonly n: number } | Notices['lost'];

/** Everything that was published, by topic. */
export class Ledger {
  readonly #topics = new Map<string, { count: number; bases: Map<string, number> }>();

  /** The number of the next message of a topic, from 1, over all epochs; to be published now. */
  next(topic: string): number {
    return ++this.#topic(topic).count;
  }

  /** Messages of a topic so far. */
  count(topic: string): number {
    return this.#topic(topic).count;
  }

  /** The stream of a topic in this epoch begins with message `first`; the messages before were in older epochs. */
  begins(topic: string, epoch: string, first: number): void {
    this.#topic(topic).bases.set(epoch, first - 1);
  }

  /** How many messages there were up to and including a position. */
  at(topic: string, { epoch, offset }: Position): number {
    const base = this.#topic(topic).bases.get(epoch);
    if (base === undefined) throw new Error(`${topic}: nobody began epoch ${epoch}`);
    return base + offset;
  }

  #topic(name: string): { count: number; bases: Map<string, number> } {
    const found = this.#topics.get(name) ?? { count: 0, bases: new Map<string, number>() };
    this.#topics.set(name, found);
    return found;
  }
}

/** One subscriber's stories, of all its topics. */
export class Story {
  readonly #ledger: Ledger;
  readonly #lines = new Map<string, Line[]>();

  /** Listens to a client whose events of type `tick` carry their number as `payload.n`. */
  constructor(ledger: Ledger, client: WSEClient) {
    this.#ledger = ledger;
    client.on('tick', (event: WSEEvent) => this.#add(event.topic ?? '', { n: (event.payload as { n: number }).n }));
    client.watch('lost', (range) => this.#add(range.topic, range));
  }

  /** The last number that was delivered or declared lost; 0: none. */
  reached(topic: string): number {
    const last = this.#lines.get(topic)?.at(-1);
    if (last === undefined) return 0;
    return 'n' in last ? last.n : this.#ledger.at(topic, last.to);
  }

  /** Messages that were declared lost. */
  losses(topic: string): number {
    return this.#walk(topic).lost;
  }

  /** What is wrong with the story of a topic; nothing: undefined. */
  fault(topic: string): string | undefined {
    const { fault, reached } = this.#walk(topic);
    if (fault) return `${topic}: ${fault}`;
    const count = this.#ledger.count(topic);
    return reached === count ? undefined : `${topic}: ended at ${reached} of ${count}`;
  }

  #add(topic: string, line: Line): void {
    this.#lines.set(topic, [...(this.#lines.get(topic) ?? []), line]);
  }

  #walk(topic: string): { fault?: string; reached: number; lost: number } {
    let reached = 0;
    let lost = 0;
    for (const line of this.#lines.get(topic) ?? []) {
      if ('n' in line) {
        if (line.n !== reached + 1) return { fault: `${line.n} behind ${reached}`, reached, lost };
        reached = line.n;
        continue;
      }
      const from = this.#ledger.at(topic, line.from);
      const to = this.#ledger.at(topic, line.to);
      // A stream that ended whole is left without anything lost: from and to are the same number then.
      if (from !== reached || to < from) return { fault: `lost ${from} to ${to} behind ${reached}`, reached, lost };
      lost += to - from;
      reached = to;
    }
    return { reached, lost };
  }
}
