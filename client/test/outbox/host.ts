/** A client as an outbox sees it, without one: what was written, and what the server would say. */

import type { ExtensionHooks } from '../../src/core/extension.js';
import type { Outbox, OutboxNotices, OutboxRecord, OutboxStore, StoredStream } from '../../src/outbox/index.js';
import type { Outgoing } from '../../src/protocol/types.js';
import { TestClock } from '../support/time.js';

/** What was heard of an outbox, each as one word and the type of its message. */
export function hear(outbox: Outbox): string[] {
  const heard: string[] = [];
  outbox.on('delivered', ({ message, confirmed }) => heard.push(`${confirmed ? 'delivered' : 'left'} ${message.type}`));
  outbox.on('lost', ({ message, reason, sent }: OutboxNotices['lost']) =>
    heard.push(`${reason} ${message.type}${sent ? ' sent' : ''}`),
  );
  outbox.on('storage', ({ error }) => heard.push(`storage ${(error as Error).message}`));
  return heard;
}

/** Everything that can be done without time passing is done. */
export const settled = async (): Promise<void> => {
  for (let i = 0; i < 50; i += 1) await null;
};

/** A host and its outbox. */
export class FakeHost {
  readonly clock: TestClock = new TestClock();
  readonly written: Outgoing[] = [];
  readonly reported: unknown[] = [];
  readonly hooks: ExtensionHooks;
  buffered = 0;
  ready = false;

  constructor(outbox: Outbox) {
    this.hooks = outbox.attach(this);
  }

  write(message: Outgoing): boolean {
    if (this.ready) this.written.push(message);
    return this.ready;
  }

  report(error: unknown): void {
    this.reported.push(error);
  }

  async connect(outbox = true, limits: Record<string, unknown> = {}): Promise<void> {
    this.ready = true;
    this.hooks.connected?.(outbox ? { outbox: true } : {}, limits);
    await settled();
  }

  async disconnect(): Promise<void> {
    this.ready = false;
    this.hooks.disconnected?.();
    await settled();
  }

  async send(type: string, payload: unknown = null, options = {}): Promise<void> {
    await this.hooks.send?.(type, payload, options);
    await settled();
  }

  async ack(n: number, stream?: string): Promise<void> {
    const own = stream ?? this.written.find(({ outbox }) => outbox)?.outbox?.[0];
    this.hooks.event?.({ type: 'ack', category: 'WSE', payload: { stream: own, n } });
    await settled();
  }

  /** What was written since the last look: type and number. */
  take(): string[] {
    return this.written.splice(0).map(({ type, outbox }) => (outbox ? `${type}:${outbox[1]}` : type));
  }
}

/** A store in memory that outlives its outbox, and fails when it is told to. */
export class LastingStore implements OutboxStore {
  readonly durable: boolean = true;
  readonly streams: Map<string, { last: number; records: Map<number, OutboxRecord> }> = new Map();
  /** The call that fails from here on. */
  fails: string | undefined;
  closed = false;

  #call(name: string): void {
    if (this.fails === name || this.fails === 'all') throw new Error(`${name} failed`);
  }

  #stream(name: string): { last: number; records: Map<number, OutboxRecord> } {
    const known = this.streams.get(name) ?? { last: 0, records: new Map() };
    this.streams.set(name, known);
    return known;
  }

  async open(_own: string, adopt: (left: StoredStream) => void): Promise<void> {
    this.#call('open');
    for (const [name, { last, records }] of this.streams) adopt({ name, last, records: [...records.values()] });
  }

  async put(record: OutboxRecord): Promise<void> {
    this.#call('put');
    this.#stream(record.stream).records.set(record.seq, record);
  }

  async assign(stream: string, last: number, records: readonly OutboxRecord[]): Promise<void> {
    this.#call('assign');
    const known = this.#stream(stream);
    known.last = last;
    for (const record of records) known.records.set(record.seq, record);
  }

  async remove(stream: string, seqs: readonly number[]): Promise<void> {
    this.#call('remove');
    for (const seq of seqs) this.#stream(stream).records.delete(seq);
  }

  async forget(stream: string): Promise<void> {
    this.streams.delete(stream);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
