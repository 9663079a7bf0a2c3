/**
 * An outbox: keeps what a client sends until the server has it, sends it again after a reconnect or a reload, and says so when it gives one
 * up. What it knows of servers is docs/protocol.md §17.
 */

import type { TimerHandle } from '../core/clock.js';
import { WSEError } from '../core/errors.js';
import { createEmitter, type Off } from '../core/events.js';
import type { Extension, ExtensionHooks, ExtensionHost } from '../core/extension.js';
import { levelOf, type SendOptions } from '../core/outgoing.js';
import type { Outgoing, WSEEvent } from '../protocol/types.js';
import { memoryStore } from './memory.js';
import { bytesOf, type Item, messageOf, Shelf } from './shelf.js';
import { guard } from './store-guard.js';
import type { OutboxLoss, OutboxNotices, OutboxOptions, OutboxRecord } from './types.js';

/** Bytes a socket may have taken and not sent before messages wait here. */
const HIGH_WATER = 262_144;
/** How often a socket that has too much to carry is looked at, ms. */
const LOOK_MS = 20;
/** Messages that get their numbers in one call of the store. */
const STEP = 32;
/** Bytes of an envelope around a message's JSON, at most. */
const ENVELOPE = 256;
/** The longest timer there is, ms. */
const MAX_TIMER = 2 ** 31 - 1;

/** An outbox, for `connect(url, { extensions: [outbox] })`; it belongs to one client. */
export interface Outbox extends Extension {
  /** Messages that are kept. */
  readonly size: number;
  /** Bytes of JSON they take. */
  readonly bytes: number;
  /** Whether they would survive this page or process. */
  readonly durable: boolean;
  /** Hears of what becomes of messages. */
  on<K extends keyof OutboxNotices>(name: K, fn: (notice: OutboxNotices[K]) => void): Off;
}

/** 128 bits that nobody guesses, as a stream's name. */
function streamName(): string {
  const parts = [...crypto.getRandomValues(new Uint32Array(4))];
  return `ob-${parts.map((part) => part.toString(36)).join('-')}`;
}

/**
 * Makes an outbox. With it `client.send()` resolves once the message is kept, and rejects with `WSE_QUEUE_FULL` or `WSE_TOO_LARGE` where it
 * is not; what becomes of it later is told by `on('delivered')` and `on('lost')`.
 *
 * @throws WSEError `WSE_ARGUMENT` for a limit that is none.
 */
export function createOutbox(options: OutboxOptions = {}): Outbox {
  const { store: given = memoryStore(), maxSize = 1_000, maxAge = 3_600_000, maxBytes = 4_194_304 } = options;
  const { maxMessageBytes = 1_000_000, window = 64, ackTimeout = 10_000, takes = () => true } = options;
  for (const [name, value] of Object.entries({ maxSize, maxAge, maxBytes, maxMessageBytes, window, ackTimeout })) {
    if (!(value > 0)) throw new WSEError('WSE_ARGUMENT', `${name}: ${value}`);
  }
  const own = streamName();
  const shelf = new Shelf();
  let host: ExtensionHost | undefined;
  const report = (error: unknown): void => host?.report(error);
  const notices = createEmitter<OutboxNotices>(report);
  const store = guard(given, (error) => {
    notices.emit('storage', { error });
    report(error);
  });
  const ids = own.slice(3);
  let count = 0;

  /** What the server takes, less the envelope. */
  let maxServer = Number.POSITIVE_INFINITY;
  let mode: 'once' | 'plain' | undefined;
  /** Counts connections: what was meant for one is not sent on the next. */
  let turn = 0;
  /** What has to be sent again on this connection, in order. */
  let again: Item[] = [];
  /** What was written to a server that acknowledges nothing, and may be in the socket still. */
  const leaving: OutboxRecord[] = [];
  /** The store has said what was left behind: that goes first. */
  let open = false;
  let pumping = false;
  let wanted = false;
  let closed = false;
  let look: TimerHandle;
  let ackTimer: TimerHandle;
  let ageTimer: TimerHandle;

  const told = (): void => void notices.emit('size', { size: shelf.size, bytes: shelf.bytes });
  const now = (): number => (host as ExtensionHost).clock.now();

  /** Forgets records, in memory at once and in the store behind what it does. */
  const drop = (records: readonly OutboxRecord[]): void => {
    for (const record of records) shelf.remove(record);
    for (const [name, { items }] of [...shelf.lines]) {
      const seqs = records.filter(({ stream }) => stream === name).map(({ seq }) => seq);
      if (seqs.length > 0) void store.run((used) => used.remove(name, seqs));
      // What others have left is nobody's any more.
      if (items.size === 0 && name !== own) {
        shelf.lines.delete(name);
        void store.run((used) => used.forget(name));
      }
    }
    told();
    armAge();
  };
  const lose = (records: readonly OutboxRecord[], reason: OutboxLoss): void => {
    if (records.length === 0) return;
    drop(records);
    for (const record of records) notices.emit('lost', { message: messageOf(record), reason, sent: record.n !== 0 });
  };
  const deliver = (records: readonly OutboxRecord[], confirmed: boolean): void => {
    if (records.length === 0) return;
    drop(records);
    for (const record of records) notices.emit('delivered', { message: messageOf(record), confirmed });
  };

  /** Gives up what is too old, and looks again when the next one is. */
  function armAge(): void {
    if (!host) return;
    host.clock.clearTimeout(ageTimer);
    if (closed || shelf.size === 0) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { until } of shelf.all()) next = Math.min(next, until);
    ageTimer = host.clock.setTimeout(expire, Math.min(MAX_TIMER, Math.max(1, next - now())));
  }
  function expire(): void {
    const old = [...shelf.all()].filter(({ until }) => until <= now());
    lose(
      old.map(({ record }) => record),
      'expired',
    );
    armAge();
  }

  /** Everything that waits for an acknowledgement is to be sent again. */
  const resend = (): void => {
    again = shelf.sent();
    pump();
  };
  const armAck = (): void => {
    host?.clock.clearTimeout(ackTimer);
    if (mode === 'once' && !closed && shelf.sent().length > 0) ackTimer = host?.clock.setTimeout(resend, ackTimeout);
  };

  const write = ({ record: { stream, n, priority, json } }: Item, numbered: boolean): boolean => {
    const message = JSON.parse(json) as Outgoing;
    return (host as ExtensionHost).write({
      ...message,
      ...(priority !== 5 && { priority }),
      ...(numbered && { outbox: [stream, n] as const }),
    });
  };
  /** Gives records their numbers, in the store before they are sent: after a crash they have the same. */
  const number = async (items: readonly Item[], numberOf: (record: OutboxRecord) => number): Promise<Item[]> => {
    const numbered = items.map((item) => ({ ...item, record: { ...item.record, n: numberOf(item.record) } }));
    numbered.forEach((item) => shelf.put(item));
    await Promise.all(
      [...new Set(numbered.map(({ record }) => record.stream))].map((name) => {
        const records = numbered.map(({ record }) => record).filter(({ stream }) => stream === name);
        const { last } = shelf.line(name);
        return store.run((used) => used.assign(name, last, records));
      }),
    );
    return numbered.filter(({ record }) => shelf.has(record));
  };
  const next = ({ stream }: OutboxRecord): number => ++shelf.line(stream).last;

  /** Whether something more may go to the socket now; looks again later where it has too much. */
  const mayWrite = (mine: number): boolean => {
    if (closed || !open || turn !== mine || !host?.ready || mode === undefined) return false;
    if (host.buffered <= HIGH_WATER) return true;
    host.clock.clearTimeout(look);
    look = host.clock.setTimeout(pump, LOOK_MS);
    return false;
  };
  function pump(): void {
    wanted = true;
    if (pumping) return;
    pumping = true;
    void run().catch(report);
  }
  async function run(): Promise<void> {
    try {
      while (wanted) {
        wanted = false;
        await step(turn);
      }
    } finally {
      // In the turn in which nothing was wanted: a call after that begins anew.
      pumping = false;
    }
  }
  async function step(mine: number): Promise<void> {
    while (again.length > 0 && mayWrite(mine)) {
      const item = again[0] as Item;
      if (shelf.has(item.record) && !write(item, true)) return;
      again.shift();
      armAck();
    }
    while (again.length === 0 && mayWrite(mine)) {
      const once = mode === 'once';
      const room = once ? window - shelf.sent().length : STEP;
      const items = await number(shelf.unsent().slice(0, Math.max(0, Math.min(room, STEP))), once ? next : () => -1);
      if (items.length === 0) return;
      let at = 0;
      while (turn === mine && at < items.length && write(items[at] as Item, once)) at += 1;
      if (once) armAck();
      else {
        leaving.push(...items.slice(0, at).map(({ record }) => record));
        watchLeaving(mine);
      }
      if (at === items.length) continue;
      // What has a number and finds no connection is sent again on the next one; what has none never left.
      if (!once) await number(items.slice(at), () => 0);
      return;
    }
  }
  /** Where nothing is acknowledged, what has left the socket counts as delivered. */
  function watchLeaving(mine: number): void {
    if (turn !== mine || leaving.length === 0 || !host) return;
    if (host.ready && host.buffered === 0) deliver(leaving.splice(0), false);
    else host.clock.setTimeout(() => watchLeaving(mine), LOOK_MS);
  }

  const adopt = ({ name, last, records }: { name: string; last: number; records: readonly OutboxRecord[] }): void => {
    const line = shelf.line(name, last);
    line.last = Math.max(line.last, last);
    for (const record of [...records].sort((a, b) => a.seq - b.seq)) {
      // By the time of day, which may have jumped: at worst all of `maxAge` is left, or nothing.
      const left = maxAge - Math.min(maxAge, Math.max(0, Date.now() - record.at));
      shelf.put({ record, bytes: bytesOf(record.json), until: now() + left });
    }
    // Ours come last: what others have left is older.
    const mine = shelf.lines.get(own);
    if (mine) {
      shelf.lines.delete(own);
      shelf.lines.set(own, mine);
    }
    lose(
      records.filter(({ n }) => n < 0),
      'unconfirmed',
    );
    if (records.length === 0) drop([]);
    expire();
    told();
    if (mode === 'once') resend();
    else pump();
  };

  const add = async (type: string, payload: unknown, { priority, correlationId, signal }: SendOptions): Promise<void> => {
    const level = levelOf(priority);
    count += 1;
    let json: string;
    try {
      json = JSON.stringify({ type, payload, id: `${ids}-${count}`, correlationId });
    } catch (cause) {
      throw new WSEError('WSE_ARGUMENT', `${type}: its payload has no JSON form`, { cause });
    }
    if (signal?.aborted) throw new WSEError('WSE_ABORTED', type, { cause: signal.reason });
    if (closed) throw new WSEError('WSE_CLOSED', 'the client has ended');
    const bytes = bytesOf(json);
    if (bytes > Math.min(maxMessageBytes, maxServer)) throw new WSEError('WSE_TOO_LARGE', `${type}: ${bytes} bytes`);
    const line = shelf.line(own);
    if (shelf.size >= maxSize) throw new WSEError('WSE_QUEUE_FULL', `${maxSize} messages wait`);
    if (shelf.bytes + bytes > maxBytes) throw new WSEError('WSE_QUEUE_FULL', `${maxBytes} bytes wait`);
    const record: OutboxRecord = { stream: own, seq: line.seq + 1, n: 0, at: Date.now(), priority: level, json };
    shelf.put({ record, bytes, until: now() + maxAge });
    told();
    armAge();
    const kept = store.run((used) => used.put(record));
    pump();
    await kept;
  };

  const acknowledge = (payload: unknown): void => {
    const { stream, n } = (payload ?? {}) as { stream?: unknown; n?: unknown };
    const line = shelf.lines.get(String(stream));
    if (!line || typeof n !== 'number') return;
    const records = [...line.items.values()].map(({ record }) => record).filter((record) => record.n > 0 && record.n <= n);
    deliver(
      records.sort((a, b) => a.n - b.n),
      true,
    );
    armAck();
    pump();
  };
  const refuse = (payload: unknown): boolean => {
    const { code, stream, n } = (payload ?? {}) as { code?: unknown; stream?: unknown; n?: unknown };
    if (code !== 'MALFORMED_OUTBOX' && code !== 'OUTBOX_STREAMS') return false;
    const items = [...(shelf.lines.get(String(stream))?.items.values() ?? [])];
    lose(
      items.filter(({ record }) => record.n > 0 && record.n === n).map(({ record }) => record),
      'refused',
    );
    pump();
    return true;
  };

  const hooks: ExtensionHooks = {
    connected(features, limits = {}) {
      turn += 1;
      const { max_message_size: max } = limits;
      maxServer = typeof max === 'number' ? max - ENVELOPE : Number.POSITIVE_INFINITY;
      // It would close the connection, again and again.
      const large = [...shelf.all()].filter(({ bytes }) => bytes > maxServer);
      lose(
        large.map(({ record }) => record),
        'refused',
      );
      mode = features['outbox'] === true ? 'once' : 'plain';
      again = mode === 'once' ? shelf.sent() : [];
      void store.run(async (used) => used.scan?.());
      pump();
    },
    disconnected() {
      turn += 1;
      mode = undefined;
      again = [];
      host?.clock.clearTimeout(ackTimer);
      lose(leaving.splice(0), 'unconfirmed');
    },
    event({ type, category, payload }: WSEEvent) {
      if (category !== 'WSE') return false;
      if (type === 'ack') acknowledge(payload);
      return type === 'ack' || (type === 'error' && refuse(payload));
    },
    send: (type, payload, sendOptions) => (takes(type, payload, sendOptions) ? add(type, payload, sendOptions) : undefined),
    async close() {
      closed = true;
      turn += 1;
      for (const timer of [look, ackTimer, ageTimer]) host?.clock.clearTimeout(timer);
      if (shelf.line(own).items.size === 0) void store.run((used) => used.forget(own));
      await store.run((used) => used.close());
    },
  };

  return {
    features: { outbox: true },
    get size() {
      return shelf.size;
    },
    get bytes() {
      return shelf.bytes;
    },
    get durable() {
      return store.durable;
    },
    on: (name, fn) => notices.on(name, fn),
    attach(to) {
      if (host) throw new WSEError('WSE_ARGUMENT', 'an outbox belongs to one client');
      host = to;
      void store
        .run((used) => used.open(own, adopt))
        .then(() => {
          open = true;
          pump();
        });
      return hooks;
    },
  };
}
