/** `snapshots`: the question for the current state of topics, and from what is answered to what crosses. Knows no state. */

import { describe } from '../describe.js';
import { WSEArgumentError } from '../errors.js';
import { toJson } from '../json.js';
import { describeThrown } from '../thrown.js';
import type { TopicPosition } from './recovery-calls.js';

/** What a provider of snapshots is called with, beside the topics. */
export interface SnapshotContext {
  /** The connection that gets the state. */
  readonly conn: number;
  /**
   * The state is of this moment: what is published to the topics from here on is no part of it. Without a call that is the moment
   * in which the provider was called. Call it again, and the last call counts; after the answer it does nothing.
   */
  pin(): void;
  /** Aborted when no answer is needed any more: the client is gone, the time is over, the server stops. */
  readonly signal: AbortSignal;
}

/** Tells the state of topics: JSON values by topic. One that is left out, or undefined, has no state. */
export type SnapshotProvider = (
  user: string | null,
  topics: readonly string[],
  context: SnapshotContext,
) => Snapshots | PromiseLike<Snapshots>;

/** The state of topics: values that have a JSON form. */
export type Snapshots = Readonly<Record<string, unknown>> | ReadonlyMap<string, unknown> | null | undefined;

/** Who knows the current state of which topics. */
export interface SnapshotsOptions {
  /** The topics that have a state: names and patterns of at most 1024 bytes, 1024 of them at most. */
  topics: string | readonly string[];
  /**
   * Called once for what a client has newly subscribed to of these topics, before it is told that it is subscribed, and for each
   * `sync_request`; on the thread that called `start()`. A throw, a rejection or an answer that is too late costs this client an error
   * message (`SNAPSHOT_FAILED`) in place of the state, and is a process warning, at most one a second.
   */
  get: SnapshotProvider;
  /** Seconds. Time `get` has for an answer; less than `idleTimeout`. @default 5, or half of `idleTimeout` where that is less */
  timeout?: number;
  /** Connections that wait for `get` at the same time; one more is told that there is no snapshot. @default 1024 */
  maxWaiting?: number;
  /** Bytes of one topic's state as JSON; a larger one is not told, and reported. @default 1048576 */
  maxSnapshotBytes?: number;
}

/** A question for the state of topics, as it crosses. @internal */
export interface SnapshotQuestion {
  id: number;
  kind: 'snapshot';
  conn: number;
  user: string | null;
  topics: string[];
}

/** Called once for each answer that says too much or too little, with what is wrong. @internal */
export type Complain = (error: WSEArgumentError) => void;

/** What a question asks for. @internal */
export class SnapshotRequest implements SnapshotContext {
  readonly conn: number;
  readonly topics: readonly string[];
  readonly #positions: () => (TopicPosition | null)[];
  #pins: (TopicPosition | null)[] = [];
  #abort: AbortController | undefined;
  #over = false;

  /** Pinned nowhere yet. @param positions where the streams of the topics stand now */
  constructor({ conn, topics }: SnapshotQuestion, positions: () => (TopicPosition | null)[]) {
    this.conn = conn;
    this.topics = topics;
    this.#positions = positions;
    // Handed on to other functions, as `signal` is.
    this.pin = this.pin.bind(this);
  }

  pin(): void {
    if (!this.#over) this.#pins = this.#positions();
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#over) this.#abort.abort(over());
    }
    return this.#abort.signal;
  }

  /** Nobody waits for the answer any more. */
  end(): void {
    this.#over = true;
    this.#abort?.abort(over());
  }

  /**
   * The answer as it crosses, JSON.
   *
   * @throws WSEArgumentError `WSE_INVALID_ANSWER` for what holds no states.
   */
  toAnswer(id: number, given: unknown, maxBytes: number, complain: Complain): string {
    const pins = this.#pins;
    this.#over = true;
    const states = entriesOf(given);
    const known: string[] = [];
    const unsaid: [place: number, reason: string][] = [];
    this.topics.forEach((topic, place) => {
      const value = states.get(topic);
      if (value === undefined) return;
      const path = `snapshots[${JSON.stringify(topic.slice(0, 80))}]`;
      try {
        const text = toJson(value, path);
        const size = Buffer.byteLength(text);
        if (size <= maxBytes) known.push(`[${place},${text}]`);
        else {
          unsaid.push([place, 'too_large']);
          complain(invalid(path, `must be at most ${maxBytes} bytes of JSON (snapshots.maxSnapshotBytes), not ${size}`));
        }
      } catch (error) {
        unsaid.push([place, 'failed']);
        complain(error instanceof WSEArgumentError ? error : invalid(path, describeThrown(error).text));
      }
    });
    const asked = new Set(this.topics);
    const surplus = [...states.keys()].filter((topic) => !asked.has(topic as string));
    if (surplus.length > 0) {
      const first = JSON.stringify(String(surplus[0]).slice(0, 80));
      complain(invalid('snapshots', `has ${surplus.length} topics nobody asked for, ${first} among them: they are ignored`));
    }
    const pinned = pins.flatMap((pin, place) => (pin === null ? [] : [[place, pin.epoch, pin.offset]]));
    return `{"id":${id},"states":{"known":[${known.join()}],"unsaid":${JSON.stringify(unsaid)},"pins":${JSON.stringify(pinned)}}}`;
  }
}

/** The states by topic. */
function entriesOf(given: unknown): ReadonlyMap<unknown, unknown> {
  if (given === undefined || given === null) return new Map();
  if (given instanceof Map) return given;
  const prototype: unknown = typeof given === 'object' ? Object.getPrototypeOf(given) : undefined;
  if (prototype === Object.prototype || prototype === null) return new Map(Object.entries(given as object));
  throw invalid('snapshots', `must be an object of topics, not ${describe(given)}`);
}

function invalid(path: string, reason: string): WSEArgumentError {
  return new WSEArgumentError('WSE_INVALID_ANSWER', path, reason);
}

function over(): DOMException {
  return new DOMException('the client is gone, or the time for an answer is over', 'AbortError');
}
