/** What a server says: to one connection, to a topic, to everybody. */

import { types } from 'node:util';
import { toConn, toFlag, toOptions, toText } from '../arguments.js';
import { type BytesLike, toBytes } from '../bytes.js';
import { type AudienceOptions, buildEnvelope, type PublishBytesOptions, type PublishOptions, withTopic } from '../envelope.js';
import { objectToJson, replaceLoneSurrogates } from '../json.js';
import { toTopicName } from '../topic.js';
import type { EngineHandle } from './engine-handle.js';
import { Hold } from './hold.js';
import { Wake } from './wake.js';

const COMPRESSION_THRESHOLD = 1024;
/** The largest threshold that crosses; no event is that large. */
const MAX_THRESHOLD = 2 ** 31 - 1;

/** The outgoing half of one facade. What each call promises is said at the methods of `RustWSEServer`. */
export class Publisher {
  readonly #engine: EngineHandle;
  /** The topic that was checked last: most publications go where the one before went. */
  #topic = '';
  #relieved: Wake | undefined;

  constructor(engine: EngineHandle) {
    this.#engine = engine;
  }

  send(conn: number, text: string): boolean {
    toConn(conn);
    toText(text, 'text');
    return this.#engine.outbox.send(conn, text);
  }

  sendBytes(conn: number, bytes: BytesLike): boolean {
    toConn(conn);
    const source = toBytes(bytes, 'bytes');
    return this.#engine.outbox.sendBytes(conn, source);
  }

  sendEvent(conn: number, event: object, options: { compressionThreshold?: number }): number | false {
    toConn(conn);
    return this.#sendEvent(conn, eventJson(event, 'event'), toThreshold(options));
  }

  #sendEvent(conn: number, json: string, threshold: number): number | false {
    return this.#engine.command((engine) => engine.sendEvent(conn, json, threshold)) ?? false;
  }

  broadcast(topic: string, text: string, options?: AudienceOptions): boolean {
    this.#checkTopic(topic);
    toText(text, 'text');
    if (options === undefined) return this.#engine.outbox.publish(topic, text);
    if ('includeTopic' in toOptions(options, 'options')) {
      throw new TypeError('includeTopic is for publish() and publishBytes(): broadcast() sends the text as it is given');
    }
    return this.#engine.outbox.publish(topic, text, toExcept(options));
  }

  publish(topic: string, type: string, payload: unknown, options?: PublishOptions): boolean {
    this.#checkTopic(topic);
    const text = buildEnvelope(type, payload, options, topic);
    return this.#engine.outbox.publish(topic, text, options === undefined ? undefined : toExcept(options));
  }

  publishBytes(topic: string, bytes: BytesLike, options: PublishBytesOptions): boolean {
    this.#checkTopic(topic);
    const source = toBytes(bytes, 'bytes');
    const { includeTopic = false } = toOptions(options, 'options');
    const payload = toFlag(includeTopic, 'includeTopic') ? withTopic(topic, source) : source;
    return this.#engine.outbox.publishBytes(topic, payload, toExcept(options));
  }

  /** @param conns the connections of the user */
  sendToUser(conns: readonly number[], payload: string | BytesLike | object, options: { compressionThreshold?: number }): number {
    if (typeof payload === 'string') return count(conns, (conn) => this.send(conn, payload));
    if (ArrayBuffer.isView(payload) || types.isAnyArrayBuffer(payload)) {
      const source = toBytes(payload, 'payload');
      return count(conns, (conn) => this.#engine.outbox.sendBytes(conn, source));
    }
    // Looked at once: who has no connection is told of a mistake all the same.
    const json = eventJson(payload, 'payload');
    const threshold = toThreshold(options);
    return count(conns, (conn) => this.#sendEvent(conn, json, threshold) !== false);
  }

  broadcastAll(text: string): boolean {
    toText(text, 'text');
    return this.#engine.command((engine) => engine.broadcastAll(text));
  }

  broadcastAllBytes(bytes: BytesLike): boolean {
    const source = toBytes(bytes, 'bytes');
    return this.#engine.command((engine) => engine.broadcastAllBytes(source));
  }

  async drained(options: { signal?: AbortSignal }): Promise<void> {
    const { signal } = toOptions(options, 'options');
    signal?.throwIfAborted();
    const hold = new Hold();
    const relieved = this.#relief();
    hold.take(this.#engine.hasEnded, relieved.notify);
    try {
      while (!this.#isBelowMark()) await relieved.wait(signal);
    } finally {
      hold.release();
    }
  }

  #checkTopic(topic: string): void {
    if (topic !== this.#topic || topic === '') this.#topic = toTopicName(topic, 'topic');
  }

  /** With what has been collected counted in. */
  #isBelowMark(): boolean {
    this.#engine.settle();
    return this.#engine.ask((engine) => engine.isBelowMark());
  }

  /** Woken by the engine and by the end of it. */
  #relief(): Wake {
    if (this.#relieved === undefined) {
      const wake = new Wake();
      this.#engine.command((engine) => engine.onDrained(wake.notify));
      this.#relieved = wake;
      this.#engine.onEnd(wake.notify);
    }
    return this.#relieved;
  }
}

function eventJson(event: object, name: string): string {
  return replaceLoneSurrogates(objectToJson(event, name));
}

function toThreshold(options: { compressionThreshold?: number }): number {
  const { compressionThreshold = COMPRESSION_THRESHOLD } = toOptions(options, 'options');
  if (!(Number.isInteger(compressionThreshold) && compressionThreshold >= 0)) {
    throw new TypeError('compressionThreshold must be a number of bytes, 0 or more');
  }
  return Math.min(compressionThreshold, MAX_THRESHOLD);
}

function count(conns: readonly number[], send: (conn: number) => boolean): number {
  return conns.filter(send).length;
}

function toExcept({ except }: AudienceOptions): number | undefined {
  return except === undefined ? undefined : toConn(except, 'except');
}
