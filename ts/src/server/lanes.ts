/**
 * The order of asynchronous work: one lane per connection, or topic, that has work in progress. The next event of a lane begins when the
 * one before it is done; lanes do not wait for each other, as long as there are not too many at work. Knows no handlers.
 */

import type { WSEEvent } from '../events.js';

/** A connection, or, for what is told of a topic, the topic. */
type LaneKey = number | string;

/** Events of one connection that wait for the one in progress. */
class Lane {
  #events: WSEEvent[] = [];
  #next = 0;

  constructor(readonly key: LaneKey) {}

  get isEmpty(): boolean {
    return this.#next === this.#events.length;
  }

  push(event: WSEEvent): void {
    this.#events.push(event);
  }

  shift(): WSEEvent {
    const event = this.#events[this.#next] as WSEEvent;
    this.#next += 1;
    if (this.isEmpty) {
      this.#events = [];
      this.#next = 0;
    } else if (this.#next === 1024) {
      this.#events = this.#events.slice(this.#next);
      this.#next = 0;
    }
    return event;
  }
}

/** How lanes work. */
export interface LanesOptions {
  /** Deals with an event. undefined: done; else a promise, which never rejects. */
  work: (event: WSEEvent) => Promise<void> | undefined;
  /** Events in progress at most. */
  concurrency: number;
  /** Events that may wait before {@link Lanes.isFull}. */
  maxWaiting: number;
  /** Called when there is room again, and when the last event is done. */
  onRoom: () => void;
}

/** The lanes of one reader. */
export class Lanes {
  readonly #options: LanesOptions;
  readonly #lanes = new Map<LaneKey, Lane>();
  /** Lanes that could begin their next event but for `concurrency`, in the order in which they came to it. */
  #ready: Lane[] = [];
  #inFlight = 0;
  #waiting = 0;
  #full = false;
  #done = 0;

  constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** Whether so much waits that nothing more should be brought until half of it is done. */
  get isFull(): boolean {
    return this.#full;
  }

  /** Whether nothing is in progress and nothing waits. */
  get isIdle(): boolean {
    return this.#lanes.size === 0;
  }

  /** Asynchronous events that are done. */
  get done(): number {
    return this.#done;
  }

  /** Deals with an event now, if nothing of its connection is in progress, or later. */
  bring(event: WSEEvent): void {
    const key = event[1] ?? event[2].topic;
    const lane = this.#lanes.size === 0 ? undefined : this.#lanes.get(key);
    if (lane !== undefined) {
      this.#wait(lane, event);
    } else if (this.#inFlight < this.#options.concurrency) {
      const promise = this.#options.work(event);
      if (promise !== undefined) this.#follow(this.#open(key), promise);
    } else {
      const late = this.#open(key);
      this.#wait(late, event);
      this.#ready.push(late);
    }
  }

  #open(key: LaneKey): Lane {
    const lane = new Lane(key);
    this.#lanes.set(key, lane);
    return lane;
  }

  #wait(lane: Lane, event: WSEEvent): void {
    lane.push(event);
    this.#waiting += 1;
    if (this.#waiting >= this.#options.maxWaiting) this.#full = true;
  }

  #follow(lane: Lane, promise: Promise<void>): void {
    this.#inFlight += 1;
    void promise.then(() => {
      this.#inFlight -= 1;
      this.#done += 1;
      this.#goOn(lane);
    });
  }

  /** The event in progress of a lane is done. */
  #goOn(lane: Lane): void {
    if (lane.isEmpty) this.#lanes.delete(lane.key);
    else this.#ready.push(lane);
    // All at once: who was ready longest comes first, and an array that is emptied by shift() would be copied each time.
    let at = 0;
    for (; at < this.#ready.length && this.#inFlight < this.#options.concurrency; at += 1) this.#run(this.#ready[at] as Lane);
    if (at > 0) this.#ready = at === this.#ready.length ? [] : this.#ready.slice(at);
    const relieved = this.#full && this.#waiting <= this.#options.maxWaiting / 2;
    if (relieved) this.#full = false;
    if (relieved || this.isIdle) this.#options.onRoom();
  }

  /** Works a lane off as far as it goes without waiting. */
  #run(lane: Lane): void {
    while (!lane.isEmpty) {
      this.#waiting -= 1;
      const promise = this.#options.work(lane.shift());
      if (promise !== undefined) {
        this.#follow(lane, promise);
        return;
      }
    }
    this.#lanes.delete(lane.key);
  }
}
