/**
 * Which topics are wanted, which of them the server has confirmed, and who waits to hear it. What is wanted outlives connections: each new
 * one begins with one request for all of it. Positions are the resumer's (`resume.ts`); nothing is delivered here.
 */

import type { Position } from '../protocol/types.js';
import type { Clock, TimerHandle } from './clock.js';
import { WSEError } from './errors.js';
import { createWait, type Wait } from './wait.js';

/** How topics are subscribed. */
export interface SubscribeOptions {
  /** Whether what is missed while disconnected is asked for, where the server keeps it. @default true */
  readonly recover?: boolean;
  /** Data to be present with on these topics (presence.md of the server). */
  readonly presence?: Readonly<Record<string, unknown>>;
  /** How long the answer may take once the request is sent, ms. @default the client's `timeout` */
  readonly timeout?: number;
  /** Ends the waiting, not the wish: the topics stay wanted. */
  readonly signal?: AbortSignal;
}

/** What a server has said to a request. */
export interface SubscriptionResult {
  readonly action: 'subscribe' | 'unsubscribe';
  /** Whether nothing failed. */
  readonly success: boolean;
  /** What succeeded. */
  readonly topics: readonly string[];
  /** What failed, and why in the server's words; `unknown` if it had none. */
  readonly failed: readonly { readonly topic: string; readonly reason: string }[];
  /** Whether everything that was missed has come; undefined: no recovery was asked for. */
  readonly recovered: boolean | undefined;
  /** Why the user is not present, where presence was asked for and refused. */
  readonly presenceRefused: string | undefined;
}

type Action = SubscriptionResult['action'];

/** After so many ms, doubled each time, this often since the last that is new, what was not answered is asked for again. */
const AGAIN_MS = 10_000;
const AGAIN = 3;

interface Waiter {
  readonly action: Action;
  readonly left: Set<string>;
  readonly topics: string[];
  readonly failed: { topic: string; reason: string }[];
  readonly timeout: number;
  readonly wait: Wait<SubscriptionResult>;
}

/** What it needs of a client. */
export interface SubscriptionsHost {
  readonly clock: Clock;
  readonly timeout: number;
  /** Sends a `subscription_update`; false without a connection. */
  send(payload: Readonly<Record<string, unknown>>): boolean;
  /** Where topics are, as far as it is known; of a pattern, where those are that it matches. */
  positions(topics: readonly string[]): Readonly<Record<string, Position>>;
  /** Forgets where topics are, but for what one of `kept` covers. */
  forget(topics: readonly string[], kept: readonly string[]): void;
}

/** Wanted topics. */
export interface Subscriptions {
  subscribe(topics: readonly string[], options?: SubscribeOptions): Promise<SubscriptionResult>;
  unsubscribe(topics: readonly string[], options?: SubscribeOptions): Promise<SubscriptionResult>;
  /** Wanted, in the order they were asked for. */
  wanted(): string[];
  /** Confirmed by the server on this connection. */
  confirmed(): ReadonlySet<string>;
  /** A connection is ready: asks for everything. `recovery`: whether the server can recover. */
  connected(recovery: boolean): void;
  disconnected(): void;
  /** The server has answered, or changed something by itself. */
  reply(result: SubscriptionResult): void;
  /** Asks for what is missing between these positions and the stream. */
  recover(positions: Readonly<Record<string, Position>>): void;
  /** Rejects whoever waits. */
  end(error: WSEError): void;
}

/** Nothing is wanted yet. */
export function createSubscriptions(host: SubscriptionsHost): Subscriptions {
  const { clock } = host;
  const wanted = new Map<string, SubscribeOptions>();
  const held = new Set<string>();
  const waiters = new Set<Waiter>();
  /** Asked for on this connection and not answered: servers that are busy lose requests, and who is not subscribed hears nothing. */
  const asked = new Set<string>();
  let tries = 0;
  let timer: TimerHandle;
  let online = false;
  let recovery = false;

  const wait = (action: Action, topics: readonly string[], options: SubscribeOptions): Promise<SubscriptionResult> => {
    const { signal, timeout = host.timeout } = options;
    const result = createWait<SubscriptionResult>(clock, `${action}: no answer`, online ? timeout : undefined, signal, () =>
      waiters.delete(waiter),
    );
    const waiter: Waiter = { action, left: new Set(topics), topics: [], failed: [], timeout, wait: result };
    waiters.add(waiter);
    return result.promise;
  };
  /** One request for topics that are present with the same data. */
  const ask = (topics: readonly string[], presence: unknown, positions: Readonly<Record<string, Position>>): void => {
    const known = recovery && Object.keys(positions).length > 0;
    timer ??= clock.setTimeout(again, AGAIN_MS * 2 ** tries);
    host.send({
      action: 'subscribe',
      topics,
      ...(presence !== undefined && { presence }),
      ...(known && { recover: true, recovery: positions }),
    });
  };
  /** The request for topics that are wanted alike. */
  const request = (topics: readonly string[]): void =>
    ask(topics, wanted.get(topics[0] as string)?.presence, host.positions(topics.filter(kept)));
  /** A request for each kind of presence. */
  const askAll = (): void => {
    const groups = new Map<string | undefined, string[]>();
    for (const topic of asked) {
      const presence = JSON.stringify(wanted.get(topic)?.presence);
      const group = groups.get(presence);
      if (group) group.push(topic);
      else groups.set(presence, [topic]);
    }
    for (const topics of groups.values()) request(topics);
  };
  const again = (): void => {
    timer = undefined;
    if (tries++ < AGAIN) askAll();
  };
  const rest = (): void => {
    clock.clearTimeout(timer);
    timer = undefined;
    tries = 0;
  };
  const kept = (topic: string): boolean => wanted.get(topic)?.recover !== false;
  const check = (topics: readonly string[]): void => {
    if (!Array.isArray(topics) || !topics.every((topic) => typeof topic === 'string')) {
      throw new WSEError('WSE_ARGUMENT', 'topics: must be a list of strings');
    }
  };
  const told = (
    action: Action,
    topics: readonly string[] = [],
    failed: SubscriptionResult['failed'] = [],
    { recovered, presenceRefused }: Partial<SubscriptionResult> = {},
  ): SubscriptionResult => ({ action, success: failed.length === 0, topics, failed, recovered, presenceRefused });

  return {
    async subscribe(topics, options = {}) {
      check(topics);
      if (topics.length === 0) return told('subscribe');
      for (const topic of topics) wanted.set(topic, options);
      const result = wait('subscribe', topics, options);
      if (!online) return result;
      for (const topic of topics) asked.add(topic);
      tries = 0;
      request(topics);
      return result;
    },
    async unsubscribe(topics, options = {}) {
      check(topics);
      for (const topic of topics) {
        wanted.delete(topic);
        asked.delete(topic);
      }
      host.forget(topics, [...wanted.keys()]);
      if (!online || topics.length === 0) return told('unsubscribe', topics);
      const result = wait('unsubscribe', topics, options);
      host.send({ action: 'unsubscribe', topics });
      return result;
    },
    wanted: () => [...wanted.keys()],
    confirmed: () => held,
    connected(can) {
      online = true;
      recovery = can;
      for (const topic of wanted.keys()) asked.add(topic);
      askAll();
      for (const { wait: waiting, timeout } of waiters) waiting.arm(timeout);
    },
    disconnected() {
      online = false;
      held.clear();
      asked.clear();
      rest();
      const all = [...wanted.keys()];
      const gone = all.filter((topic) => !kept(topic));
      if (gone.length > 0) host.forget(gone, all.filter(kept));
      for (const { action, topics, left, wait: waiting } of waiters) {
        waiting.arm(undefined);
        // The connection took all its subscriptions along.
        if (action === 'unsubscribe') waiting.resolve(told(action, [...topics, ...left]));
      }
    },
    reply(result) {
      const { action, topics, failed } = result;
      for (const topic of topics) {
        if (action === 'subscribe') {
          asked.delete(topic);
          held.add(topic);
        } else held.delete(topic);
      }
      const whole = topics.length + failed.length > 0;
      if (!whole) asked.clear();
      for (const { topic } of failed) asked.delete(topic);
      if (asked.size === 0) rest();
      for (const waiter of waiters) {
        const { left, wait: waiting } = waiter;
        if (waiter.action !== action) continue;
        // A request the server could not read names nothing: it was the oldest one.
        for (const fail of whole ? failed : [...left].map((topic) => ({ topic, reason: 'refused' }))) {
          if (left.delete(fail.topic)) waiter.failed.push(fail);
        }
        for (const topic of topics) if (left.delete(topic)) waiter.topics.push(topic);
        if (left.size === 0) waiting.resolve(told(action, waiter.topics, waiter.failed, result));
        if (!whole) break;
      }
    },
    recover(positions) {
      if (online) ask(Object.keys(positions), undefined, positions);
    },
    end(error) {
      for (const { wait: waiting } of waiters) waiting.reject(error);
    },
  };
}
