/**
 * Where this client is in each topic's stream, and what is done where messages are missing: duplicates are dropped, what is ahead is held,
 * what is missing is asked for, and what cannot be had is declared lost. Owns positions, held messages and their deadlines. Never sends
 * (`recover` does), never reads the wire, and lets pass what has no stamp.
 */
import { isRaw } from '../protocol/event.js';
import type { Position, WSEEvent } from '../protocol/types.js';
import type { Shared } from './shared.js';

/** Who is told, and the bounds. */
export interface ResumeOptions {
  /** The next message of its topic, or one without a stamp. */
  readonly deliver: (event: WSEEvent) => void;
  /** To be sent as one `subscription_update` with `recover: true`. One topic each time: a server replays only then what is held through a pattern. */
  readonly recover: (positions: Record<string, Position>) => void;
  /** What came behind `from`, up to and including `to`, is not going to be delivered. Over two epochs: all that was behind `from` in the first, and `to` in the second. */
  readonly lost: (topic: string, from: Position, to: Position) => void;
  readonly shared: Pick<Shared, 'matcher' | 'isPosition'>;
  /** Time for the deadlines. */
  readonly clock: { setTimeout(fn: () => void, ms: number): unknown; clearTimeout(handle: unknown): void };
  /** Messages held over all topics. A topic that would go beyond loses its first gap. Default 10,000. */
  readonly maxHeld?: number;
  /** Bytes of them, as `accept` was told. Default 8 MiB. */
  readonly maxHeldBytes?: number;
  /** Topics with a position that nobody has named. The oldest is forgotten for a new one, as if nothing missing of it could be had. Default 10,000. */
  readonly maxTopics?: number;
  /** What somebody who has named a topic wants of it. Default: nobody has. */
  readonly wanted?: (topic: string) => { readonly recover?: boolean } | undefined;
  /** Milliseconds until a request counts as unanswered; doubled each time, five times at most. Default 5,000. */
  readonly deadline?: number;
  /** Requests in a row that bring nothing before what is missing is declared lost. Default 3. */
  readonly attempts?: number;
}

/** Counters since creation, and what is held now. */
export interface ResumeStats {
  /** Topics with a position. */
  readonly topics: number;
  /** Messages ahead of a gap. */
  readonly held: number;
  /** Their bytes. */
  readonly heldBytes: number;
  /** Messages that had been delivered or declared lost before. */
  readonly duplicates: number;
  /** Recovery requests made for gaps. */
  readonly requests: number;
  /** Ranges declared lost. */
  readonly losses: number;
}

/** Positions of one client, over all its connections. */
export interface Resume {
  /** A message as it arrived; `size` in bytes. */
  accept(event: WSEEvent, size?: number): void;
  /** The payload of a `subscription_update` from the server. */
  reply(payload: unknown): void;
  /** The subscriptions are about to be sent, with `positions()`: those are the requests that are now under way. */
  connected(): void;
  /** No reply is to be expected any more. What is held stays held. */
  disconnected(): void;
  /** Unsubscribed. Of patterns, what they match, but for what one of `kept` still covers. */
  forget(topics: Iterable<string>, kept?: readonly string[]): void;
  /** Positions of all topics, or of those that one of `topics` is or matches. */
  positions(topics?: readonly string[]): Record<string, Position>;
  /** The program has everything up to these positions from elsewhere. Sets and advances; never goes back, nor to another epoch. */
  seed(positions: Readonly<Record<string, Position>>): void;
  /** A `sync_request` is about to be sent for these topics, or for all: its reply may go back, once, to where the snapshot was taken. */
  rewind(topics?: readonly string[]): void;
  /** What an operator wants to see. */
  stats(): ResumeStats;
}

interface Line {
  readonly topic: string;
  epoch: string;
  /** The last offset that counts. −1 stands for 0 where 0 itself may still come: some servers count from 0, ours from 1. */
  last: number;
  /** The epoch before, on this connection: what still comes of it is late. */
  past?: string | undefined;
  readonly held: Map<number, readonly [event: WSEEvent, size: number]>;
  /** There as long as a request is under way. */
  timer?: unknown;
  /** Where `last` is when the request has been served: unknown, hence infinite, until its reply. */
  goal: number;
  /** Where the request asked from. */
  asked: number;
  /** Requests in a row that brought nothing. */
  tries: number;
  /** A reply may go back, once. */
  back: boolean;
}

const FAR = Infinity;

/** Nothing known yet, and no connection. */
export const createResume = (options: ResumeOptions): Resume => {
  const {
    deliver,
    shared: { matcher, isPosition },
    clock,
    maxHeld = 10_000,
    maxHeldBytes = 8 << 20,
    maxTopics = 10_000,
    wanted = () => undefined,
    deadline = 5_000,
    attempts = 3,
  } = options;
  const lines = new Map<string, Line>();
  /** Topics that nobody had named as they began, the oldest first. */
  const unnamed = new Set<string>();
  let online = false;
  let held = 0;
  let heldBytes = 0;
  let duplicates = 0;
  let requests = 0;
  let losses = 0;
  // Of topics that are not known yet when their state is asked for.
  let rewound: ((topic: string) => boolean) | undefined;

  const at = (line: Line): number => Math.max(0, line.last);
  const position = (line: Line): Position => ({ epoch: line.epoch, offset: at(line) });
  // Not by assignment: a topic may be called `__proto__`.
  const record = (some: Line[]): Record<string, Position> => Object.fromEntries(some.map((line) => [line.topic, position(line)]));
  const select = (topics?: Iterable<string>): Line[] => {
    const wanted = topics && matcher(topics);
    return [...lines.values()].filter(({ topic }) => !wanted || wanted(topic));
  };
  // Whoever is told something may unsubscribe on the spot.
  const alive = (line: Line): boolean => lines.get(line.topic) === line;

  const start = (topic: string, epoch: string, last: number): void => {
    for (const name of unnamed) {
      if (unnamed.size < maxTopics) break;
      const line = wanted(name) ? undefined : lines.get(name);
      if (line) pass(line);
      if (line) drop(line);
      unnamed.delete(name);
    }
    if (!wanted(topic)) unnamed.add(topic);
    lines.set(topic, { topic, epoch, last, held: new Map(), goal: 0, asked: 0, tries: 0, back: rewound?.(topic) ?? false });
  };

  const drop = (line: Line): void => {
    settle(line);
    for (const offset of line.held.keys()) release(line, offset);
    lines.delete(line.topic);
    unnamed.delete(line.topic);
  };

  const release = (line: Line, offset: number): WSEEvent | undefined => {
    const entry = line.held.get(offset);
    if (!entry) return undefined;
    line.held.delete(offset);
    held--;
    heldBytes -= entry[1];
    return entry[0];
  };

  const settle = (line: Line): void => {
    clock.clearTimeout(line.timer);
    line.timer = undefined;
    line.tries = 0;
  };

  /** Delivers what is held and next. */
  const flow = (line: Line): void => {
    while (line.held.size) {
      const event = release(line, line.last + 1);
      if (!event) break;
      line.last++;
      deliver(event);
    }
  };

  const lose = (line: Line, epoch: string, offset: number): void => {
    const from = position(line);
    line.epoch = epoch;
    line.last = offset || -1;
    losses++;
    options.lost(line.topic, from, { epoch, offset });
  };

  /** Gives up what is missing in front of the first that is held, or up to `limit` if that comes first. */
  const skip = (line: Line, limit = FAR): void => {
    let first = limit + 1;
    for (const offset of line.held.keys()) first = Math.min(first, offset);
    if (first > at(line) + 1) lose(line, line.epoch, first - 1);
    flow(line);
  };

  /** Gives up all that is missing up to `limit`, or as far as something is held, and delivers that in its place. */
  const pass = (line: Line, limit?: number): void => {
    while (alive(line) && (limit === undefined ? line.held.size : at(line) < limit)) skip(line, limit);
  };

  const rebase = (line: Line, epoch: string, offset: number): void => {
    pass(line);
    settle(line);
    line.past = line.epoch;
    if (alive(line)) lose(line, epoch, offset);
  };

  const arm = (line: Line): void => {
    line.goal = FAR;
    line.asked = at(line);
    line.timer = clock.setTimeout(
      () => {
        line.timer = undefined;
        line.tries = line.held.size && at(line) <= line.asked ? line.tries + 1 : 0;
        // Nobody answers: better late with a declared loss than silent for ever.
        if (line.tries >= attempts) {
          line.tries = 0;
          pass(line);
        }
        check(line);
      },
      deadline * 2 ** Math.min(line.tries, 5),
    );
  };

  /** Ends the request that has been served, and makes the next one where something is held. */
  const check = (line: Line): void => {
    if (!alive(line)) return;
    // Served without any progress is not served: asking again at once would ask for ever.
    if (line.timer !== undefined && at(line) >= line.goal && (!line.held.size || at(line) > line.asked)) settle(line);
    if (!line.held.size || !online || line.timer !== undefined) return;
    arm(line);
    requests++;
    options.recover(record([line]));
  };

  const answer = (topic: string, entry: unknown): void => {
    if (!isRaw(entry)) return;
    const failed = entry['recovered'] === false;
    const line = lines.get(topic);
    if (!line) {
      if (failed && isPosition(entry)) start(topic, entry.epoch, entry.offset || -1);
      return;
    }
    if (!isPosition(entry)) {
      // The server keeps nothing of this topic: what is held is all there will be.
      if (failed && entry['epoch'] === null) {
        pass(line);
        line.goal = 0;
      }
    } else if (entry.epoch !== line.epoch) {
      if (failed && entry.epoch !== line.past) rebase(line, entry.epoch, entry.offset);
    } else if (failed) {
      if (line.back && entry.offset < line.last) {
        line.last = entry.offset || -1;
        line.back = false;
      } else pass(line, entry.offset);
      // Where nothing was gained this may be the reply to an older request: that one's deadline stands.
      line.goal = 0;
    } else {
      line.goal = entry.offset;
    }
    check(line);
  };

  return {
    accept(event, size = 0) {
      const { topic, epoch, offset } = event;
      if (topic === undefined || epoch === undefined || offset === undefined) return deliver(event);
      const line = lines.get(topic);
      // A group of workers shares a stream: what one of them gets has holes.
      if (wanted(topic)?.recover === false) {
        if (line) pass(line);
        if (line) drop(line);
        return deliver(event);
      }
      if (!line) {
        start(topic, epoch, offset);
        return deliver(event);
      }
      if (epoch !== line.epoch) {
        if (epoch !== line.past) rebase(line, epoch, Math.max(0, offset - 1));
        if (!alive(line)) return;
      }
      if (epoch !== line.epoch || offset <= line.last || line.held.has(offset)) {
        duplicates++;
        return;
      }
      if (offset === line.last + 1 || offset === at(line) + 1) {
        line.last = offset;
        deliver(event);
        flow(line);
      } else {
        line.held.set(offset, [event, size]);
        held++;
        heldBytes += size;
        while ((held > maxHeld || heldBytes > maxHeldBytes) && line.held.size) skip(line);
      }
      check(line);
    },
    reply(payload) {
      if (!isRaw(payload) || payload['action'] === 'unsubscribe' || !isRaw(payload['recovery'])) return;
      for (const [topic, entry] of Object.entries(payload['recovery'])) answer(topic, entry);
    },
    connected() {
      online = true;
      for (const line of lines.values()) {
        settle(line);
        line.past = undefined;
        arm(line);
      }
    },
    disconnected() {
      online = false;
      rewound = undefined;
      for (const line of lines.values()) {
        settle(line);
        line.back = false;
      }
    },
    forget(topics, kept = []) {
      const stays = matcher(kept);
      for (const line of select(topics)) if (!stays(line.topic)) drop(line);
    },
    positions: (topics) => record(select(topics)),
    seed(positions) {
      for (const [topic, position] of Object.entries(positions)) {
        const line = lines.get(topic);
        if (!isPosition(position)) continue;
        const { epoch, offset } = position;
        if (!line) {
          start(topic, epoch, offset || -1);
        } else if (line.epoch === epoch && offset > at(line)) {
          for (const ahead of line.held.keys()) if (ahead <= offset) release(line, ahead);
          line.last = offset;
          flow(line);
          check(line);
        }
      }
    },
    rewind(topics) {
      rewound = topics ? matcher(topics) : () => true;
      for (const line of select(topics)) line.back = true;
    },
    stats: () => ({ topics: lines.size, held, heldBytes, duplicates, requests, losses }),
  };
};
