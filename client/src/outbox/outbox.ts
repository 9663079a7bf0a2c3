/**
 * An outbox: keeps what a client sends until the server has it, sends it again after a reconnect or a reload, and says so when it gives one
 * up. What it knows of servers is docs/protocol.md §17.
 */

import { MAX_TIMER, type TimerHandle } from '../core/clock.js';
import { WSEError } from '../core/errors.js';
import { createEmitter } from '../core/events.js';
import type { ExtensionHooks, ExtensionHost } from '../core/extension.js';
import { HIGH_WATER, LOOK_MS, levelOf, type SendOptions } from '../core/outgoing.js';
import type { WSEEvent } from '../protocol/types.js';
import { type Item, type Line, Places, sendAgain, streamName, wroteOldest } from './line.js';
import { memoryStore } from './memory.js';
import { bytesOf, messageOf, Shelf, wireMessage } from './shelf.js';
import { soundOf } from './sound.js';
import { guard } from './store-guard.js';
import type { Outbox, OutboxLoss, OutboxNotices, OutboxOptions, OutboxRecord, StoredStream } from './types.js';

/** Messages that get their numbers in one call of the store. */
const STEP = 32;
/** Bytes of an envelope around a message's JSON, at most. */
const ENVELOPE = 256;

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
  /** Where messages are added. What the store has is numbered there alone: who finds it after us would give those numbers again. */
  let home = own;
  const store = guard(given, (error) => {
    home = streamName();
    shelf.line(home, false);
    notices.emit('storage', { error });
    report(error);
  });
  const ids = own.slice(3);
  let count = 0;

  /** What the server takes, less the envelope. */
  let maxServer = Infinity;
  let mode: 'once' | 'plain' | undefined;
  /** Counts connections: what was meant for one is not sent on the next. */
  let turn = 0;
  const places = new Places();
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

  /** What others have left is nobody's once it is sent. */
  const leave = (line: Line): void => {
    if (line.items.size > 0 || line.name === home) return;
    shelf.lines.delete(line.name);
    places.leave(line.name, home);
    if (line.stored) void store.run((kept) => kept.forget(line.name), true);
  };
  /** Forgets records, in memory at once and in the store behind what it does; those that were kept, of which nothing has been said yet. */
  const drop = (given: readonly OutboxRecord[]): OutboxRecord[] => {
    const records = given.filter((record) => shelf.remove(record));
    if (records.length === 0) return records;
    for (const [line, of] of shelf.group(records)) {
      const seqs = of.map(({ seq }) => seq);
      if (line.stored) void store.run((kept) => kept.remove(line.name, seqs), true);
      leave(line);
    }
    told();
    if (shelf.size === 0) expire();
    return records;
  };
  const lose = (records: readonly OutboxRecord[], reason: OutboxLoss): void => {
    for (const record of drop(records)) notices.emit('lost', { message: messageOf(record), reason, sent: record.n !== 0 });
  };
  const deliver = (records: readonly OutboxRecord[], confirmed: boolean): void => {
    for (const record of drop(records)) notices.emit('delivered', { message: messageOf(record), confirmed });
  };

  /** Gives up what is too old, and looks again when the next one is. */
  function expire(): void {
    if (!host || closed) return;
    host.clock.clearTimeout(ageTimer);
    const { old, next } = shelf.old(now());
    const wait = Math.min(MAX_TIMER, Math.max(1, next - now()));
    ageTimer = next < Infinity ? host.clock.setTimeout(expire, wait) : undefined;
    lose(
      old.map(({ record }) => record),
      'expired',
    );
  }

  function armAck(): void {
    if (ackTimer !== undefined || mode !== 'once' || closed) return;
    const first = Math.min(...[...shelf.lines.values()].map(wroteOldest));
    if (first < Infinity) ackTimer = host?.clock.setTimeout(late, Math.max(1, first + ackTimeout - now()));
  }
  function late(): void {
    ackTimer = undefined;
    for (const line of shelf.lines.values()) if (wroteOldest(line) + ackTimeout <= now()) sendAgain(line);
    armAck();
    pump();
  }

  /** False: there is no connection. What cannot be sent at all is given up. */
  const write = (item: Item, numbered: boolean): boolean => {
    try {
      if (!(host as ExtensionHost).write(wireMessage(item.record, numbered))) return false;
      item.wrote = now();
      if (numbered) armAck();
    } catch (error) {
      report(error);
      lose([item.record], 'refused');
    }
    return true;
  };
  /** Goes on in the stream of this outbox's memory. */
  const move = (item: Item): void => {
    const { record } = item;
    shelf.remove(record);
    shelf.put({ ...item, record: { ...record, stream: home, seq: shelf.line(home).seq + 1, n: 0 } });
  };
  /** Gives items their numbers, in the store before they are sent: after a crash they have the same. */
  const number = async (items: readonly Item[], numberOf: (line: Line) => number): Promise<Item[]> => {
    const numbered = items.map((item) => {
      const { record } = item;
      return { ...item, record: { ...record, n: numberOf(shelf.line(record.stream)) } };
    });
    for (const [line, records] of shelf.group(numbered.map(({ record }) => record))) {
      const { name, last, stored } = line;
      const ok = !stored || (await store.run((kept) => kept.assign(name, last, records), true));
      const seqs = records.map(({ seq }) => seq);
      // What the store does not number it must not have: it would be sent once more by whoever finds it.
      line.stuck = !ok && !(await store.run((kept) => kept.remove(name, seqs), true));
      if (line.stuck) continue;
      for (const item of numbered) {
        if (item.record.stream !== name || !line.items.has(item.record.seq)) continue;
        if (ok) shelf.put(item);
        else move(item);
      }
      leave(line);
    }
    return numbered.filter((item) => shelf.has(item));
  };
  const next = (line: Line): number => ++line.last;

  const room = (line: Line): number => {
    if (line.stuck || line.again.length > 0) return 0;
    if (mode === 'plain') return STEP;
    const left = window - line.sent.size;
    return left > 0 && places.take(line.name, home) ? left : 0;
  };

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
    for (const line of [...shelf.lines.values()]) {
      while (line.again.length > 0 && places.take(line.name, home)) {
        if (!mayWrite(mine)) return;
        const item = line.again.shift() as Item;
        if (!shelf.has(item) || write(item, true)) continue;
        line.again.unshift(item);
        return;
      }
    }
    while (mayWrite(mine)) {
      const once = mode === 'once';
      const chosen = shelf.next(STEP, room);
      if (chosen.length === 0) return;
      const items = await number(chosen, once ? next : () => -1);
      if (once && turn !== mine) {
        // The next connection began without them: there they are the newest.
        if (mode === 'once') for (const item of items) shelf.line(item.record.stream).again.push(item);
        return;
      }
      let at = 0;
      while (turn === mine && at < items.length && write(items[at] as Item, once)) at += 1;
      if (!once) {
        leaving.push(...items.slice(0, at).flatMap((item) => (shelf.has(item) ? item.record : [])));
        watchLeaving(mine);
      }
      if (at === items.length) continue;
      // What has a number and finds no connection is sent again on the next one; what has none never left.
      if (!once) await number(items.slice(at).reverse(), () => 0);
      return;
    }
  }
  /** Where nothing is acknowledged, what has left the socket counts as delivered. */
  function watchLeaving(mine: number): void {
    if (turn !== mine || leaving.length === 0 || !host) return;
    if (host.ready && host.buffered === 0) deliver(leaving.splice(0), false);
    else host.clock.setTimeout(() => watchLeaving(mine), LOOK_MS);
  }

  /** What cannot be read is skipped, and said so. */
  const unreadable = (what: string): void => void notices.emit('storage', { error: new Error(`unreadable: ${what}`) });
  const adopt = (stored: StoredStream): void => {
    const { left, bad } = soundOf(stored);
    const { name, records } = left;
    const line = shelf.line(name);
    line.last = Math.max(line.last, left.last);
    if (bad.length > 0) unreadable(`${bad.length} of ${name}`);
    if (bad.length > 0) void store.run((kept) => kept.remove(name, bad), true);
    // Those with numbers by these, the others by age.
    for (const record of [...records].sort((a, b) => a.n - b.n || a.seq - b.seq)) {
      // By the time of day, which may have jumped: at worst all of `maxAge` is left, or nothing.
      const age = Math.min(maxAge, Math.max(0, Date.now() - record.at));
      shelf.put({ record, bytes: bytesOf(record.json), until: now() + maxAge - age });
    }
    // Ours come last: what others have left is older.
    for (const ours of new Set([own, home])) {
      const mine = shelf.lines.get(ours);
      if (mine && shelf.lines.delete(ours)) shelf.lines.set(ours, mine);
    }
    lose(
      records.filter(({ n }) => n < 0),
      'unconfirmed',
    );
    leave(line);
    expire();
    told();
    if (mode === 'once') sendAgain(line);
    pump();
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
    const line = shelf.line(home);
    if (shelf.size >= maxSize) throw new WSEError('WSE_QUEUE_FULL', `${maxSize} messages wait`);
    if (shelf.bytes + bytes > maxBytes) throw new WSEError('WSE_QUEUE_FULL', `${maxBytes} bytes wait`);
    const record: OutboxRecord = { stream: home, seq: line.seq + 1, n: 0, at: Date.now(), priority: level, json };
    const item = { record, bytes, until: now() + maxAge };
    shelf.put(item, false);
    told();
    if (ageTimer === undefined) expire();
    const stored = !line.stored || (await store.run((kept) => kept.put(record)));
    if (shelf.has(item)) {
      if (stored) shelf.put(item);
      else move(item);
    }
    pump();
  };

  const acknowledge = (payload: unknown): void => {
    const { stream, n } = (payload ?? {}) as { stream?: unknown; n?: unknown };
    const line = shelf.lines.get(String(stream));
    if (!line || typeof n !== 'number') return;
    const records: OutboxRecord[] = [];
    for (const { record } of line.sent.values()) {
      if (record.n > n) break;
      records.push(record);
    }
    deliver(records, true);
    pump();
  };
  const refuse = (payload: unknown): boolean => {
    const { code, stream, n } = (payload ?? {}) as { code?: unknown; stream?: unknown; n?: unknown };
    const streams = code === 'OUTBOX_STREAMS';
    if (code !== 'MALFORMED_OUTBOX' && !streams) return false;
    const line = shelf.lines.get(String(stream));
    const item = line?.sent.get(n as number);
    if (line && streams) {
      // Another connection has a place for it.
      places.refuse(line.name);
      sendAgain(line);
    } else if (item) lose([item.record], 'refused');
    pump();
    return true;
  };

  const hooks: ExtensionHooks = {
    connected(features, limits = {}) {
      turn += 1;
      const { max_message_size: max } = limits;
      maxServer = typeof max === 'number' ? max - ENVELOPE : Infinity;
      // It would close the connection, again and again.
      const large = [...shelf.all()].filter(({ bytes }) => bytes > maxServer);
      lose(
        large.map(({ record }) => record),
        'refused',
      );
      mode = features['outbox'] === true ? 'once' : 'plain';
      places.clear();
      for (const line of shelf.lines.values()) {
        line.stuck = false;
        line.again = [];
        if (mode === 'once') sendAgain(line);
      }
      void store.run((kept) => kept.scan?.());
      pump();
    },
    disconnected() {
      turn += 1;
      mode = undefined;
      host?.clock.clearTimeout(ackTimer);
      ackTimer = undefined;
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
      if (!shelf.lines.get(own)?.items.size) void store.run((kept) => kept.forget(own), true);
      await store.run((kept) => kept.close(), true);
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
        .run((kept) => kept.open(own, adopt, unreadable))
        .then(() => {
          open = true;
          pump();
        });
      return hooks;
    },
  };
}
