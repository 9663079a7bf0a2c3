/**
 * Which topics are wanted, and who waits to hear of it. What is wanted outlives connections; asking for it on one is the business of
 * `topics.ts`.
 */

import type { Clock } from './clock.js';
import { WSEError } from './errors.js';
import type { Topics } from './topics.js';
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

/** Who waits for a server's answer, and what of it has come. */
export interface Waiter {
  readonly action: Action;
  /** Topics that were not answered yet. */
  readonly left: Set<string>;
  readonly topics: string[];
  readonly failed: { topic: string; reason: string }[];
  /** Whether what was missed has come, as far as the server has said. */
  recovered?: boolean | undefined;
  readonly timeout: number;
  readonly wait: Wait<SubscriptionResult>;
}

/** What it needs of a client. */
export interface SubscriptionsHost {
  readonly clock: Clock;
  readonly timeout: number;
  /** Who asks on the connection there is; undefined: none is ready. */
  topics(): Topics | undefined;
  /** Forgets where topics are, but for what one of `kept` covers. */
  forget(topics: readonly string[], kept: readonly string[]): void;
}

/** Wanted topics. */
export interface Subscriptions {
  /** In the order they were asked for. */
  readonly wanted: ReadonlyMap<string, SubscribeOptions>;
  readonly waiters: ReadonlySet<Waiter>;
  subscribe(topics: readonly string[], options?: SubscribeOptions): Promise<SubscriptionResult>;
  unsubscribe(topics: readonly string[], options?: SubscribeOptions): Promise<SubscriptionResult>;
  /** A result; `of`: what else the server has said. */
  told(
    action: Action,
    topics?: readonly string[],
    failed?: SubscriptionResult['failed'],
    of?: Partial<SubscriptionResult>,
  ): SubscriptionResult;
  /** Rejects whoever waits. */
  end(error: WSEError): void;
}

const check = (topics: readonly string[]): void => {
  if (!Array.isArray(topics) || !topics.every((topic) => typeof topic === 'string')) {
    throw new WSEError('WSE_ARGUMENT', 'topics: must be a list of strings');
  }
};

/** Nothing is wanted yet. */
export function createSubscriptions(host: SubscriptionsHost): Subscriptions {
  const wanted = new Map<string, SubscribeOptions>();
  const waiters = new Set<Waiter>();
  const told: Subscriptions['told'] = (action, topics = [], failed = [], { recovered, presenceRefused } = {}) => ({
    action,
    success: failed.length === 0,
    topics,
    failed,
    recovered,
    presenceRefused,
  });
  const wait = (action: Action, topics: readonly string[], options: SubscribeOptions): Promise<SubscriptionResult> => {
    const { signal, timeout = host.timeout } = options;
    // Its time begins when it is asked.
    const now = host.topics() && timeout;
    const result = createWait<SubscriptionResult>(host.clock, `${action}: no answer`, now, signal, () => waiters.delete(waiter));
    const waiter: Waiter = { action, left: new Set(topics), topics: [], failed: [], timeout, wait: result };
    waiters.add(waiter);
    return result.promise;
  };
  return {
    wanted,
    waiters,
    async subscribe(topics, options = {}) {
      check(topics);
      if (topics.length === 0) return told('subscribe');
      for (const topic of topics) wanted.set(topic, options);
      const result = wait('subscribe', topics, options);
      host.topics()?.ask(topics);
      return result;
    },
    async unsubscribe(topics, options = {}) {
      check(topics);
      for (const topic of topics) wanted.delete(topic);
      host.forget(topics, [...wanted.keys()]);
      const connection = host.topics();
      if (!connection || topics.length === 0) return told('unsubscribe', topics);
      const result = wait('unsubscribe', topics, options);
      connection.drop(topics);
      return result;
    },
    told,
    end(error) {
      for (const { wait: waiting } of waiters) waiting.reject(error);
    },
  };
}
