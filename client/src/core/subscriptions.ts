/**
 * Which topics are wanted, which of them the server has confirmed, and who waits to hear it. What is wanted outlives connections: each new
 * one begins with one request for all of it. Positions are the resumer's (`resume.ts`); nothing is delivered here.
 */

import type { Position } from '../protocol/types.js';
import type { Clock, TimerHandle } from './clock.js';
import { WSEError } from './errors.js';

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

interface Waiter {
  readonly action: Action;
  readonly left: Set<string>;
  readonly topics: string[];
  readonly failed: { topic: string; reason: string }[];
  readonly timeout: number;
  timer: TimerHandle;
  leave(): void;
  resolve(result: SubscriptionResult): void;
  reject(error: WSEError): void;
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
  /** A `subscription_update` of the server. */
  reply(payload: unknown): SubscriptionResult;
  /** Asks for what is missing between these positions and the stream. */
  recover(positions: Readonly<Record<string, Position>>): void;
  /** Rejects whoever waits. */
  end(error: WSEError): void;
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.map((item) => (typeof item === 'string' ? item : String(item?.topic))) : [];

/** Nothing is wanted yet. */
export function createSubscriptions(host: SubscriptionsHost): Subscriptions {
  const { clock } = host;
  const wanted = new Map<string, SubscribeOptions>();
  const held = new Set<string>();
  const waiters = new Set<Waiter>();
  let online = false;
  let recovery = false;

  const arm = (waiter: Waiter): void => {
    if (waiter.timeout === Number.POSITIVE_INFINITY) return;
    const late = (): void => {
      waiter.leave();
      waiter.reject(new WSEError('WSE_TIMEOUT', `${waiter.action}: no answer within ${waiter.timeout} ms`));
    };
    clock.clearTimeout(waiter.timer);
    waiter.timer = clock.setTimeout(late, waiter.timeout);
  };
  const wait = (action: Action, topics: readonly string[], options: SubscribeOptions): Promise<SubscriptionResult> => {
    const { signal, timeout = host.timeout } = options;
    const result = new Promise<SubscriptionResult>((resolve, reject) => {
      const abort = (): void => {
        waiter.leave();
        reject(new WSEError('WSE_ABORTED', 'aborted', { cause: signal?.reason }));
      };
      const waiter: Waiter = {
        action,
        left: new Set(topics),
        topics: [],
        failed: [],
        timeout,
        timer: undefined,
        leave() {
          waiters.delete(waiter);
          clock.clearTimeout(waiter.timer);
          signal?.removeEventListener('abort', abort);
        },
        resolve,
        reject,
      };
      if (signal?.aborted) return abort();
      signal?.addEventListener('abort', abort);
      waiters.add(waiter);
      if (online) arm(waiter);
    });
    // Who does not wait for the answer still has what it is for: the topics stay wanted.
    result.catch(() => {});
    return result;
  };
  /** One request for topics that are present with the same data. */
  const ask = (topics: readonly string[], presence: unknown, positions: Readonly<Record<string, Position>>): void => {
    const known = recovery && Object.keys(positions).length > 0;
    host.send({
      action: 'subscribe',
      topics,
      ...(presence !== undefined && { presence }),
      ...(known && { recover: true, recovery: positions }),
    });
  };
  const kept = (topic: string): boolean => wanted.get(topic)?.recover !== false;
  const check = (topics: readonly string[]): void => {
    if (!Array.isArray(topics) || !topics.every((topic) => typeof topic === 'string')) {
      throw new WSEError('WSE_ARGUMENT', 'topics: must be a list of strings');
    }
  };
  const nothing = (action: Action): SubscriptionResult => ({
    action,
    success: true,
    topics: [],
    failed: [],
    recovered: undefined,
    presenceRefused: undefined,
  });

  return {
    async subscribe(topics, options = {}) {
      check(topics);
      if (topics.length === 0) return nothing('subscribe');
      for (const topic of topics) wanted.set(topic, options);
      const result = wait('subscribe', topics, options);
      if (online) ask(topics, options.presence, options.recover === false ? {} : host.positions(topics));
      return result;
    },
    async unsubscribe(topics, options = {}) {
      check(topics);
      for (const topic of topics) wanted.delete(topic);
      host.forget(topics, [...wanted.keys()]);
      if (!online || topics.length === 0) return { ...nothing('unsubscribe'), topics };
      const result = wait('unsubscribe', topics, options);
      host.send({ action: 'unsubscribe', topics });
      return result;
    },
    wanted: () => [...wanted.keys()],
    confirmed: () => held,
    connected(can) {
      online = true;
      recovery = can;
      const groups = new Map<string | undefined, [unknown, string[]]>();
      for (const [topic, { presence }] of wanted) {
        const key = presence && JSON.stringify(presence);
        const group = groups.get(key);
        if (group) group[1].push(topic);
        else groups.set(key, [presence, [topic]]);
      }
      for (const [presence, topics] of groups.values()) ask(topics, presence, host.positions(topics.filter(kept)));
      for (const waiter of waiters) arm(waiter);
    },
    disconnected() {
      online = false;
      held.clear();
      const all = [...wanted.keys()];
      const left = all.filter((topic) => !kept(topic));
      if (left.length > 0) host.forget(left, all.filter(kept));
      for (const waiter of [...waiters]) {
        clock.clearTimeout(waiter.timer);
        if (waiter.action === 'subscribe') continue;
        // The connection took all its subscriptions along.
        waiter.leave();
        waiter.resolve({ ...nothing('unsubscribe'), topics: [...waiter.topics, ...waiter.left] });
      }
    },
    reply(payload) {
      const p = (payload ?? {}) as Record<string, unknown>;
      const action: Action = p['action'] === 'unsubscribe' ? 'unsubscribe' : 'subscribe';
      const topics = strings(p['success_topics'] ?? (p['success'] === false ? [] : p['topics']));
      const reasons = (p['failed_reasons'] ?? []) as unknown[];
      const failed = strings(p['failed_topics']).map((topic, i) => ({ topic, reason: String(reasons[i] ?? 'unknown') }));
      const recovered = typeof p['recovered'] === 'boolean' ? p['recovered'] : undefined;
      const presenceRefused = typeof p['presence_refused'] === 'string' ? p['presence_refused'] : undefined;
      for (const topic of topics) {
        if (action === 'subscribe') held.add(topic);
        else held.delete(topic);
      }
      const whole = topics.length + failed.length > 0;
      for (const waiter of [...waiters]) {
        if (waiter.action !== action) continue;
        const { left } = waiter;
        if (whole) {
          for (const topic of topics) if (left.delete(topic)) waiter.topics.push(topic);
          for (const fail of failed) if (left.delete(fail.topic)) waiter.failed.push(fail);
          if (left.size > 0) continue;
        } else for (const topic of left) waiter.failed.push({ topic, reason: 'refused' });
        waiter.leave();
        const success = waiter.failed.length === 0;
        waiter.resolve({ action, success, topics: waiter.topics, failed: waiter.failed, recovered, presenceRefused });
        // A request the server could not read names nothing: it was the oldest one.
        if (!whole) break;
      }
      return { action, success: failed.length === 0 && whole, topics, failed, recovered, presenceRefused };
    },
    recover(positions) {
      if (online) ask(Object.keys(positions), undefined, positions);
    },
    end(error) {
      for (const waiter of [...waiters]) {
        waiter.leave();
        waiter.reject(error);
      }
    },
  };
}
