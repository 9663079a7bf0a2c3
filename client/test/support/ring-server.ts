/**
 * A model of a server's topics: rings of a bounded length, the decision about recovery, and a connection that loses, doubles and reorders
 * frames. Plays both servers: the reply behind the replay, or in front of it.
 */
import type { Position, WSEEvent } from '../../src/protocol/types.js';

/** How a schedule's channel and server behave. Chances are from 0 to 1. */
export interface Weather {
  readonly drop: number;
  readonly duplicate: number;
  readonly reorder: number;
  /** Chance that a request is never answered. */
  readonly ignore: number;
  /** Chance that a reply is in front of its replay. */
  readonly early: number;
  /** What a topic's ring keeps. */
  readonly ring: number;
  /** The most a request replays. */
  readonly most: number;
}

interface Ring {
  epoch: string;
  head: number;
}

/** What the server sends. */
export type Frame = { event: WSEEvent } | { reply: { action: string; recovery: Record<string, unknown> } };

/** A server with some topics and one subscriber. */
export const ringServer = (random: () => number, weather: Weather) => {
  const rings = new Map<string, Ring>();
  let channel: Frame[] = [];
  let subscribed = new Set<string>();
  let epochs = 0;
  let calm = false;

  const ring = (topic: string): Ring => {
    let found = rings.get(topic);
    if (!found) {
      found = { epoch: (++epochs).toString(16).padStart(8, '0'), head: 0 };
      rings.set(topic, found);
    }
    return found;
  };

  const send = (frame: Frame, safe = calm): void => {
    if (!safe && random() < weather.drop) return;
    // A reply that comes twice is taken for the one to the next request: no server does that.
    const copies = 'event' in frame && !safe && random() < weather.duplicate ? 2 : 1;
    for (let n = 0; n < copies; n++) {
      const back = !safe && random() < weather.reorder ? Math.floor(random() * 4) : 0;
      channel.splice(Math.max(0, channel.length - back), 0, frame);
    }
  };

  const stamped = (topic: string, offset: number, epoch: string): Frame => ({
    event: { type: 'x', payload: offset, topic, epoch, offset },
  });

  return {
    publish(topic: string): void {
      const at = ring(topic);
      at.head++;
      if (subscribed.has(topic)) send(stamped(topic, at.head, at.epoch));
    },
    /** The memory of a topic is gone; the next publication begins an epoch. */
    evict: (topic: string): void => void rings.delete(topic),
    /** One `subscription_update`; `first` is the one behind a connect, whose reply is not lost where a topic has no position yet. */
    request(topics: readonly string[], positions: Readonly<Record<string, Position>>): void {
      for (const topic of topics) subscribed.add(topic);
      if (!calm && random() < weather.ignore && topics.every((topic) => Object.hasOwn(positions, topic))) return;
      // As `JSON.parse` makes it: `__proto__` may be a member.
      const recovery: Record<string, unknown> = Object.create(null);
      const replay: Frame[] = [];
      for (const topic of topics) {
        const at = ring(topic);
        const from = Object.hasOwn(positions, topic) ? positions[topic] : undefined;
        const missing = from ? at.head - from.offset : 0;
        const oldest = Math.max(1, at.head - weather.ring + 1);
        const recovered = from?.epoch === at.epoch && from.offset + 1 >= oldest && missing >= 0 && missing <= weather.most;
        recovery[topic] = { epoch: at.epoch, offset: at.head, recovered, count: recovered ? missing : 0 };
        if (recovered)
          for (let offset = (from?.offset ?? 0) + 1; offset <= at.head; offset++) replay.push(stamped(topic, offset, at.epoch));
      }
      const reply: Frame = { reply: { action: 'subscribe', recovery } };
      const early = random() < weather.early;
      const safe = calm || topics.some((topic) => !Object.hasOwn(positions, topic));
      if (early) send(reply, safe);
      for (const frame of replay) send(frame);
      if (!early) send(reply, safe);
    },
    /** The next frame arrives. */
    receive: (): Frame | undefined => channel.shift(),
    /** The connection is gone, and all that was on it. */
    cut(): void {
      channel = [];
      subscribed = new Set();
    },
    /** From now on nothing is lost. */
    calm(): void {
      calm = true;
    },
    /** Where a topic is. */
    position: (topic: string): Position => ({ epoch: ring(topic).epoch, offset: ring(topic).head }),
  };
};
