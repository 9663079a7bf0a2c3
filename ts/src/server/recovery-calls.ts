/**
 * Recovery as JavaScript asks for it: subscriptions whose outcome the engine tells later, positions, history. Outcomes come in batches
 * with one wake for many.
 */

import { toConn, toFlag, toOptions, toText, toTexts } from '../arguments.js';
import { describe } from '../describe.js';
import { type WSEError, WSEOverloadedError } from '../errors.js';
import { toTopicName } from '../topic.js';
import type { EngineHandle } from './engine-handle.js';

/** Where a client, or a topic, is: after publication number `offset` of an epoch. */
export interface TopicPosition {
  /** Eight hexadecimal digits; another one: the offsets have begun anew. */
  epoch: string;
  /** The last publication, counted from 1; 0: there is none yet. */
  offset: number;
}

/** How {@link RustWSEServer.subscribeWithRecovery} recovers. */
export interface RecoverOptions {
  /** Replay what was missed. @default true where positions are given */
  recover?: boolean;
  /**
   * Where the client was in each topic, as its `subscription_update` says (`p.recovery`). What is no position there is a topic that is
   * not recovered, since a client has written it. @default none
   */
  positions?: Record<string, TopicPosition> | null;
  /** One position for all topics, as published servers take it: together with `offset`. @default none */
  epoch?: string | null;
  /** @default none */
  offset?: number | null;
  /** Take each topic as a name and refuse patterns, as `subscribeConnection()` does. @default false */
  exact?: boolean;
}

/** What became of one topic. */
export interface TopicRecovery {
  /** The topic's epoch; null: it cannot be recovered, or is not subscribed. */
  epoch: string | null;
  /** The last publication before the subscription: what comes later comes live. */
  offset: number;
  /** Whether the topic can be recovered from here on. */
  recoverable: boolean;
  /** Everything that was published after the client's position has been queued for it. */
  recovered: boolean;
  /** How many messages that were. */
  count: number;
  /** Why it is not subscribed: `not_allowed`, `invalid_name`, `too_many_subscriptions`, … @default it is */
  error?: string;
}

/** What became of a subscription with recovery. */
export interface RecoveryResult {
  /** Whether every topic was recovered. */
  recovered: boolean;
  topics: Record<string, TopicRecovery>;
}

/** What {@link RustWSEServer.history} is to tell. */
export interface HistoryOptions {
  /** Only what was published after this offset. @default 0 */
  since?: number;
  /** At most so many messages, 10,000 at most. @default 100 */
  limit?: number;
  /** The newest, newest first, instead of the oldest, oldest first. @default false */
  reverse?: boolean;
}

/** What is kept of a topic. */
export interface TopicHistory {
  /** Where the topic is. */
  position: TopicPosition;
  /** Nothing is missing between `since` and what is kept. */
  complete: boolean;
  /** Texts as they were sent, stamps included. */
  messages: { offset: number; text: string }[];
}

/** Who waits for an outcome. */
interface Waiting {
  refused: { topic: string; reason: string }[];
  resolve: (result: RecoveryResult | null) => void;
  reject: (error: WSEError) => void;
}

/** An outcome as it crosses. */
interface Settled {
  ticket: number;
  outcome: RecoveryResult | 'busy' | null;
}

const MAX_LIMIT = 10_000;
const MAX_TICKET = 2 ** 32;
const EPOCH = /^[0-9a-f]{8}$/i;

/** The calls of one facade about recovery. What each promises is said at the methods of `RustWSEServer`. */
export class RecoveryCalls {
  readonly #engine: EngineHandle;
  readonly #waiting = new Map<number, Waiting>();
  #ticket = 0;
  #listens = false;

  constructor(engine: EngineHandle) {
    this.#engine = engine;
  }

  // Not async: what is wrong with the arguments or the state is thrown as by every other call.
  subscribe(conn: number, topics: readonly string[], options: RecoverOptions): Promise<RecoveryResult | null> {
    toConn(conn);
    const names = [...new Set(toTexts(topics, 'topics'))];
    const position = toPositions(toOptions(options, 'options'));
    if (toFlag(options.exact ?? false, 'exact')) names.forEach((name, index) => toTopicName(name, `topics[${index}]`));
    const epochs = new Float64Array(names.length);
    const offsets = new Float64Array(names.length);
    names.forEach((name, index) => {
      const found = position(name);
      epochs[index] = found?.epoch ?? Number.NaN;
      offsets[index] = found?.offset ?? Number.NaN;
    });
    const ticket = this.#nextTicket();
    this.#listen();
    const begun = this.#engine.command((engine) => engine.subscribeWithRecovery(ticket, conn, names, epochs, offsets));
    if (begun.unknown) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#waiting.set(ticket, { refused: begun.refused, resolve, reject });
    });
  }

  position(topic: string): TopicPosition | null {
    toText(topic, 'topic');
    return this.positions([topic])[0] ?? null;
  }

  /** Of several topics at once, after everything that was published before. */
  positions(topics: readonly string[]): (TopicPosition | null)[] {
    return this.#engine.command((engine) => engine.topicPositions([...topics]));
  }

  history(topic: string, options: HistoryOptions): TopicHistory | null {
    toText(topic, 'topic');
    const { since = 0, limit = 100, reverse = false } = toOptions(options, 'options');
    const from = toCount(since, 'since', Number.MAX_SAFE_INTEGER);
    const most = toCount(limit, 'limit', MAX_LIMIT);
    if (typeof reverse !== 'boolean') throw new TypeError(`reverse must be true or false, not ${describe(reverse)}`);
    const found = this.#engine.command((engine) => engine.history(topic, from, most, reverse));
    if (found === null) return null;
    const { position, complete, offsets, texts } = found;
    return { position, complete, messages: texts.map((text, index) => ({ offset: offsets[index] ?? 0, text })) };
  }

  #nextTicket(): number {
    do this.#ticket = (this.#ticket + 1) % MAX_TICKET;
    while (this.#waiting.has(this.#ticket));
    return this.#ticket;
  }

  #listen(): void {
    if (this.#listens) return;
    const engine = this.#engine;
    engine.refuseNotStarted();
    this.#listens = true;
    engine.raw((native) => native.onSettled(this.#take));
    const unlisten = engine.onEnd(() => {
      if (!engine.hasEnded()) return;
      unlisten();
      this.#take();
      engine.raw((native) => native.onSettled(null));
      // Requests the engine ended with, told or not: nobody is there any more.
      for (const { resolve } of this.#waiting.values()) resolve(null);
      this.#waiting.clear();
    });
  }

  readonly #take = (): void => {
    const settled = JSON.parse(this.#engine.raw((native) => native.takeSettled())) as Settled[];
    for (const { ticket, outcome } of settled) {
      const waiting = this.#waiting.get(ticket);
      if (waiting === undefined) continue;
      this.#waiting.delete(ticket);
      if (outcome === 'busy') {
        waiting.reject(
          new WSEOverloadedError('WSE_OVERLOADED', 'as many connections wait for a replay as may: nothing was subscribed'),
        );
      } else {
        waiting.resolve(outcome === null ? null : withRefused(outcome, waiting.refused));
      }
    }
  };
}

function withRefused({ recovered, topics }: RecoveryResult, refused: Waiting['refused']): RecoveryResult {
  const none = { epoch: null, offset: 0, recoverable: false, recovered: false, count: 0 };
  const failed = refused.map(({ topic, reason }) => [topic, { ...none, error: reason }] as const);
  // Names may be anything, `__proto__` too: entries define, assignments would not.
  return {
    recovered: recovered && failed.length === 0,
    topics: Object.fromEntries([...Object.entries(topics), ...failed]),
  };
}

/** A position as it crosses; undefined: nothing is to be replayed. */
type Found = { epoch: number; offset: number } | undefined;

/** What each topic is to be replayed from. */
function toPositions({ recover, positions, epoch, offset }: RecoverOptions): (topic: string) => Found {
  if (recover !== undefined && typeof recover !== 'boolean') {
    throw new TypeError(`recover must be true or false, not ${describe(recover)}`);
  }
  // A client has written it, whatever it is: what is no object holds no positions.
  const given = typeof positions === 'object' ? positions : positions === undefined ? null : {};
  const pair = (epoch ?? null) !== null || (offset ?? null) !== null;
  if (recover === false || (given === null && !pair)) return () => undefined;
  const one = pair ? toPosition({ epoch, offset }) : undefined;
  return (topic) => (given !== null && Object.hasOwn(given, topic) ? toPosition(given[topic]) : one);
}

/** A client has written it: what is no position is one of no epoch there ever was, and is declared lost. */
function toPosition(value: unknown): Found {
  const { epoch, offset } = (typeof value === 'object' && value !== null ? value : {}) as Partial<TopicPosition>;
  const isPosition =
    typeof epoch === 'string' && EPOCH.test(epoch) && typeof offset === 'number' && Number.isSafeInteger(offset) && offset >= 0;
  return isPosition ? { epoch: Number.parseInt(epoch, 16), offset } : undefined;
}

function toCount(value: unknown, name: string, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new TypeError(`${name} must be a whole number from 0 to ${max}, not ${describe(value)}`);
}
