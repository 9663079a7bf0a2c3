/** What a server says: to one connection, to a topic, to everybody. */

import { type BytesLike, toBytes, toConn, toOptions, toText } from '../bytes.js';
import { buildEnvelope, type PublishOptions } from '../envelope.js';
import { native, WSEOverloadedError } from '../errors.js';
import { Hold } from '../hold.js';
import { objectToJson, replaceLoneSurrogates } from '../json.js';
import { Pressure } from '../native/binding.js';
import { Wake } from '../wake.js';
import { Lifecycle } from './lifecycle.js';
import { Outbox } from './outbox.js';

const COMPRESSION_THRESHOLD = 1024;

/** Base of `RustWSEServer`, which is the only one to construct. */
export abstract class Outbound extends Lifecycle {
  #relieved: Wake | undefined;
  #outbox: Outbox | undefined;

  /**
   * Sends text to one connection, exactly as given. What one turn of the event loop sends and publishes crosses to the engine
   * together, in the order of the calls, at the end of the turn at the latest: who then computes for long gives way first
   * (`await null`).
   *
   * @returns false: no such connection
   * @throws TypeError for anything but a string; WSEOverloadedError above `publisher.hardLimit`, and then nothing was
   *   taken; WSEStateError when the server does not run.
   */
  send(conn: number, text: string): boolean {
    toConn(conn);
    toText(text, 'text');
    return this.#collector().send(conn, text);
  }

  /**
   * Sends bytes to one connection in a binary frame. They are copied before the call returns, and cross as with `send()`.
   *
   * @returns false: no such connection
   * @throws TypeError when `bytes` holds none or is detached; otherwise as `send()`.
   */
  sendBytes(conn: number, bytes: BytesLike): boolean {
    toConn(conn);
    const source = toBytes(bytes, 'bytes');
    return this.#collector().sendBytes(conn, source);
  }

  /**
   * Sends an object as an envelope: `c` and `v` are set, `id`, `ts` and `seq` when they are missing; compressed
   * above the threshold, as msgpack to clients that asked for it.
   *
   * Bytes become hex, dates ISO text, NaN and infinities null, big integers beyond 64 bits and maps text.
   *
   * @param options `compressionThreshold` in bytes of JSON @default 1024
   * @returns bytes of payload sent; 0 for a duplicate `id` or an exhausted rate limit; false: no such connection
   * @throws TypeError when `event` is not an object with a JSON form, or is nested more than 127 deep;
   *   WSEOverloadedError above `publisher.hardLimit`, and then nothing was taken; WSEStateError when the server does not run.
   */
  sendEvent(conn: number, event: object, options: { compressionThreshold?: number } = {}): number | false {
    toConn(conn);
    const json = replaceLoneSurrogates(objectToJson(event, 'event'));
    const { compressionThreshold = COMPRESSION_THRESHOLD } = toOptions(options, 'options');
    if (!(Number.isInteger(compressionThreshold) && compressionThreshold >= 0)) {
      throw new TypeError('compressionThreshold must be a number of bytes, 0 or more');
    }
    const engine = this.running();
    const sent = native(() => engine.sendEvent(conn, json, Math.min(compressionThreshold, 2 ** 31 - 1)));
    return sent === -1 ? false : sent;
  }

  /**
   * Sends text to every subscriber of a topic. A JSON object without a category gets one. It crosses to the engine
   * as with `send()`.
   *
   * @returns true: go on; false: taken, but the engine is behind (`publisher.highWaterMark`): await `drained()`
   * @throws TypeError for anything but strings; WSEOverloadedError above `publisher.hardLimit`, and then nothing was
   *   taken; WSEStateError when the server does not run.
   */
  broadcast(topic: string, text: string): boolean {
    return this.#broadcast(topic, text);
  }

  /** `broadcast()` that never leaves this process, also when the server is part of a cluster. */
  broadcastLocal(topic: string, text: string): boolean {
    return this.#broadcast(topic, text);
  }

  /**
   * Sends text to every connection. A JSON object without a category gets one.
   *
   * @returns as `broadcast()`
   * @throws as `broadcast()`
   */
  broadcastAll(text: string): boolean {
    toText(text, 'text');
    const engine = this.running();
    return taken(native(() => engine.broadcastAll(text)));
  }

  /**
   * Sends bytes to every connection, exactly as given.
   *
   * @returns as `broadcast()`
   * @throws TypeError when `bytes` holds none or is detached; otherwise as `broadcast()`.
   */
  broadcastAllBytes(bytes: BytesLike): boolean {
    const copy = toBytes(bytes, 'bytes');
    const engine = this.running();
    return taken(native(() => engine.broadcastAllBytes(copy)));
  }

  /**
   * `broadcast()` of the envelope `{c, t: type, p: payload, id?, ts?, v}`.
   *
   * @returns as `broadcast()`
   * @throws TypeError when `payload` has no JSON form; otherwise as `broadcast()`.
   */
  publish(topic: string, type: string, payload: unknown, options?: PublishOptions): boolean {
    return this.#broadcast(topic, buildEnvelope(type, payload, options));
  }

  /**
   * Resolves once publishing may go on: at once below the high-water mark, else when the engine has caught up.
   *
   * @throws the reason of `signal` when it is aborted; WSEStateError when the server does not run or stops meanwhile.
   */
  async drained(options: { signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = toOptions(options, 'options');
    signal?.throwIfAborted();
    const hold = new Hold();
    const relieved = this.#relief();
    hold.take(this.hasEnded, relieved.notify);
    try {
      while (native(() => this.alive().pressure()) !== Pressure.below) await relieved.wait(signal);
    } finally {
      hold.release();
    }
  }

  /** Woken by the engine and by the end of it. */
  #relief(): Wake {
    if (this.#relieved === undefined) {
      const wake = new Wake();
      native(() => this.running().onDrained(wake.notify));
      this.#relieved = wake;
      this.onEnd(wake.notify);
    }
    return this.#relieved;
  }

  #broadcast(topic: string, text: string): boolean {
    toText(topic, 'topic');
    toText(text, 'text');
    return this.#collector().publish(topic, text);
  }

  #collector(): Outbox {
    this.refuseStopped(); // the collector asks the engine only once per turn
    if (this.#outbox === undefined) {
      const engine = this.running();
      const mark = native(() => engine.highWaterMark());
      this.#outbox = new Outbox(this.calls, this.id, mark);
    }
    return this.#outbox;
  }

  /** @internal */
  protected override settle(): void {
    this.#outbox?.settle();
  }
}

function taken(pressure: number): boolean {
  if (pressure === Pressure.refused) {
    throw new WSEOverloadedError('WSE_OVERLOADED', 'the engine holds publisher.hardLimit bytes: nothing was taken');
  }
  return pressure === Pressure.below;
}
