/** What a server says: to one connection, to a topic, to everybody. */

import { toConn, toOptions, toText } from '../arguments.js';
import { type BytesLike, toBytes } from '../bytes.js';
import { objectToJson, replaceLoneSurrogates } from '../json.js';
import type { EngineHandle } from './engine-handle.js';
import { Hold } from './hold.js';
import { Wake } from './wake.js';

const COMPRESSION_THRESHOLD = 1024;
/** The largest threshold that crosses; no event is that large. */
const MAX_THRESHOLD = 2 ** 31 - 1;

/** The outgoing half of one facade. What each call promises is said at the methods of `RustWSEServer`. */
export class Publisher {
  readonly #engine: EngineHandle;
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
    const json = replaceLoneSurrogates(objectToJson(event, 'event'));
    const { compressionThreshold = COMPRESSION_THRESHOLD } = toOptions(options, 'options');
    if (!(Number.isInteger(compressionThreshold) && compressionThreshold >= 0)) {
      throw new TypeError('compressionThreshold must be a number of bytes, 0 or more');
    }
    const threshold = Math.min(compressionThreshold, MAX_THRESHOLD);
    return this.#engine.command((engine) => engine.sendEvent(conn, json, threshold)) ?? false;
  }

  broadcast(topic: string, text: string): boolean {
    toText(topic, 'topic');
    toText(text, 'text');
    return this.#engine.outbox.publish(topic, text);
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
