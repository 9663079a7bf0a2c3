/**
 * Topics on one connection after the other: asked for, again where no answer comes, and confirmed. Each connection begins with
 * requests for all that is wanted (`subscriptions.ts`), as few as the server takes. Positions are the resumer's (`resume.ts`); nothing is delivered here.
 */

import type { Position } from '../protocol/types.js';
import type { Clock, TimerHandle } from './clock.js';
import type { Shared } from './shared.js';
import type { SubscriptionResult, Subscriptions } from './subscriptions.js';

/** After so many ms, doubled each time, this often since the last that is new, what was not answered is asked for again. */
const AGAIN_MS = 10_000;
const AGAIN = 3;

/** Positions that a server honours in one request (docs/protocol.md §8.1). */
const POSITIONS = 512;
/** Bytes of a request around its topics. */
const FRAME = 300;

const isPattern = (topic: string): boolean => /[*?]/.test(topic);

/** What it needs of a client. */
export interface TopicsHost {
  readonly clock: Clock;
  readonly subscriptions: Subscriptions;
  /** Sends a `subscription_update`; false without a connection. */
  send(payload: Readonly<Record<string, unknown>>): boolean;
  /** Where topics are, as far as it is known; of a pattern, where those are that it matches. */
  positions(topics: readonly string[]): Readonly<Record<string, Position>>;
  /** Forgets where topics are, but for what one of `kept` covers. */
  forget(topics: readonly string[], kept: readonly string[]): void;
  /** Bytes that a request may have. */
  limit(): number;
  readonly matcher: Shared['matcher'];
}

/** Topics of the connection there is. */
export interface Topics {
  /** Confirmed by the server. */
  readonly confirmed: ReadonlySet<string>;
  /** Asks for topics that are wanted alike. */
  ask(topics: readonly string[]): void;
  /** Gives topics back. */
  drop(topics: readonly string[]): void;
  /** A connection is ready: asks for everything. `recovery`: whether the server can recover. */
  connected(recovery: boolean): void;
  disconnected(): void;
  /** The server has answered, or changed something by itself. */
  reply(result: SubscriptionResult): void;
  /** Asks for what is missing between these positions and the stream. */
  recover(positions: Readonly<Record<string, Position>>): void;
}

/** No connection yet. */
export function createTopics({ clock, subscriptions, send, positions, forget, limit, matcher }: TopicsHost): Topics {
  const { wanted, waiters, told } = subscriptions;
  const confirmed = new Set<string>();
  /** Not answered yet: servers that are busy lose requests, and who is not subscribed hears nothing. */
  const asked = new Set<string>();
  let tries = 0;
  let timer: TimerHandle;
  let recovery = false;

  /** One request for topics that are present with the same data. */
  const request = (topics: readonly string[], presence: unknown, from: Readonly<Record<string, Position>>): void => {
    const known = recovery && Object.keys(from).length > 0;
    timer ??= clock.setTimeout(again, AGAIN_MS * 2 ** tries);
    send({
      action: 'subscribe',
      topics,
      ...(presence !== undefined && { presence }),
      ...(known && { recover: true, recovery: from }),
    });
  };
  const placesOf = (topics: readonly string[]): [string, Position][] =>
    recovery ? Object.entries(positions(topics.filter(kept))).filter(([topic]) => kept(topic)) : [];
  /** The same in as many requests as it takes; each place is in one of them, and in none where it is in `sent`. */
  const requestAlike = (topics: readonly string[], sent: Set<string>, places = placesOf(topics)): void => {
    const presence = wanted.get(topics[0] as string)?.presence;
    const from = places.filter(([topic]) => !sent.has(topic));
    const size = new TextEncoder().encode(JSON.stringify([topics, from, presence])).length + FRAME;
    const fits = from.length <= POSITIONS && size <= limit();
    const parts = <T>(list: readonly T[]): T[][] => [list.slice(0, list.length / 2), list.slice(list.length / 2)];
    if (!fits && topics.length > 1) for (const part of parts(topics)) requestAlike(part, sent);
    // Of a pattern there may be more than of names.
    else if (!fits && from.length > 1) for (const part of parts(from)) requestAlike(topics, sent, part);
    else {
      for (const [topic] of from) sent.add(topic);
      request([...topics, ...companions(topics, from)], presence, Object.fromEntries(from));
    }
  };
  /** A name alone, with its place, that comes through a pattern asks for what is missing, and subscribes nothing: with the pattern it does. */
  const companions = (topics: readonly string[], from: readonly unknown[]): string[] => {
    const [name = ''] = topics;
    if (topics.length > 1 || from.length === 0 || isPattern(name)) return [];
    return [...wanted.keys()].filter((topic) => isPattern(topic) && matcher([topic])(name)).slice(0, 1);
  };
  /** A request for each kind of presence. */
  const requestAll = (): void => {
    const groups = new Map<string | undefined, string[]>();
    for (const topic of asked) {
      const presence = JSON.stringify(wanted.get(topic)?.presence);
      const group = groups.get(presence);
      if (group) group.push(topic);
      else groups.set(presence, [topic]);
    }
    const sent = new Set<string>();
    for (const topics of groups.values()) requestAlike(topics, sent);
  };
  const again = (): void => {
    timer = undefined;
    if (tries++ < AGAIN) requestAll();
  };
  const rest = (): void => {
    clock.clearTimeout(timer);
    timer = undefined;
    tries = 0;
  };
  const kept = (topic: string): boolean => wanted.get(topic)?.recover !== false;

  return {
    confirmed,
    ask(topics) {
      for (const topic of topics) asked.add(topic);
      tries = 0;
      requestAlike(topics, new Set());
    },
    drop(topics) {
      for (const topic of topics) asked.delete(topic);
      send({ action: 'unsubscribe', topics });
    },
    connected(can) {
      recovery = can;
      for (const topic of wanted.keys()) asked.add(topic);
      requestAll();
      for (const { wait, timeout } of waiters) wait.arm(timeout);
    },
    disconnected() {
      confirmed.clear();
      asked.clear();
      rest();
      const all = [...wanted.keys()];
      const gone = all.filter((topic) => !kept(topic));
      if (gone.length > 0) forget(gone, all.filter(kept));
      for (const { action, topics, left, wait } of waiters) {
        wait.arm(undefined);
        // The connection took all its subscriptions along.
        if (action === 'unsubscribe') wait.resolve(told(action, [...topics, ...left]));
      }
    },
    reply(result) {
      const { action, topics, failed } = result;
      for (const topic of topics) {
        if (action === 'subscribe') {
          asked.delete(topic);
          confirmed.add(topic);
        } else confirmed.delete(topic);
      }
      const whole = topics.length + failed.length > 0;
      if (!whole) asked.clear();
      for (const { topic } of failed) asked.delete(topic);
      if (asked.size === 0) rest();
      const gone: string[] = [];
      for (const waiter of waiters) {
        const { left, wait } = waiter;
        if (waiter.action !== action) continue;
        const before = left.size;
        // A request the server could not read names nothing: it was the oldest one.
        for (const fail of whole ? failed : [...left].map((topic) => ({ topic, reason: 'refused' }))) {
          if (left.delete(fail.topic)) waiter.failed.push(fail);
        }
        for (const topic of topics) {
          if (!left.delete(topic)) continue;
          waiter.topics.push(topic);
          if (action === 'unsubscribe' && !wanted.has(topic)) gone.push(topic);
        }
        // One request may have become several.
        if (left.size < before && waiter.recovered !== false) waiter.recovered = result.recovered;
        if (left.size === 0) wait.resolve(told(action, waiter.topics, waiter.failed, { ...result, recovered: waiter.recovered }));
        if (!whole) break;
      }
      // What was on its way has said where it was once more. Only of what was given back here: a server's own words are no patterns to look for.
      if (gone.length > 0) forget(gone, [...wanted.keys()]);
    },
    recover: (from) => request(Object.keys(from), undefined, from),
  };
}
