/** States of topics: asked for, and who waits for them. The states themselves are events like others. */

import { isRaw } from '../protocol/event.js';
import type { Clock } from './clock.js';
import type { Shared } from './shared.js';
import type { Wait } from './wait.js';

/** Who waits for the states of which topics. */
export interface Snapshots {
  /** Sends a `sync_request`; false without a connection. */
  ask(topics?: readonly string[]): boolean;
  /** The same, and waits for the answer. */
  request(topics: readonly string[] | undefined, timeout: number): Promise<unknown>;
  /** `snapshot_complete`. */
  reply(payload: unknown): void;
  /** What was asked will not be answered. */
  disconnected(): void;
}

/** `ask` sends. */
export function createSnapshots(clock: Clock, { createWait, matcher }: Shared, ask: Snapshots['ask']): Snapshots {
  /** Oldest first. */
  const waits = new Map<Wait<unknown>, (topic: string) => boolean>();
  return {
    ask,
    request(topics, timeout) {
      const one = createWait<unknown>(clock, 'no snapshot', timeout, undefined, () => waits.delete(one));
      waits.set(one, topics ? matcher(topics) : () => true);
      if (!ask(topics)) one.fail('WSE_CONNECTION_LOST');
      return one.promise;
    },
    reply(payload) {
      // Answers come in order and name no question, but topics: a subscription's are not what was asked for here.
      const topics = isRaw(payload) && payload['topics'];
      for (const [one, covers] of waits) if (!Array.isArray(topics) || topics.every(covers)) return one.resolve(payload);
    },
    disconnected() {
      for (const one of waits.keys()) one.fail('WSE_CONNECTION_LOST');
    },
  };
}
