/** A server's life: start, drain, stop, and what keeps the process alive meanwhile. Sends and reads nothing. */

import { toCloseCode, toOptions, toReason, toTimeoutMs } from '../arguments.js';
import { nativeAsync, WSEStateError } from '../errors.js';
import type { NativeStall } from '../native/index.js';
import type { EngineHandle } from './engine-handle.js';
import { FullWarning } from './full.js';
import { Hold, holding } from './hold.js';

/** Where a server listens. */
export interface ListenAddress {
  host: string;
  /** The real port, also when 0 was asked for. */
  port: number;
}

/** A server without `port` listens nowhere. */
export interface NoAddress {
  host: null;
  port: null;
}

/** What `start()` tells: an address of a server that was given a `port`, maybe none of one whose options may lack it. */
export type StartedAt<Port> = [Port] extends [number] ? ListenAddress : ListenAddress | NoAddress;

/** How clients are sent away by `stop()` and `drain()`. */
export interface CloseOptions {
  /** Close code clients see; published clients reconnect after 4300 and 1012, never after 1000 and 1001. */
  closeCode?: number;
  /** Close reason, at most 123 bytes of UTF-8. @default '' */
  reason?: string;
  /** Seconds to wait for clients to leave. */
  timeout?: number;
}

const STOP_CODE = 1012;
const STOP_TIMEOUT = 2;
const DRAIN_CODE = 4300;
const DRAIN_TIMEOUT = 30;
/** Waiting events at which a server that nobody reads is worth a warning. */
const UNREAD_EVENTS = 1000;

/** The life of one facade's engine. */
export class Lifecycle {
  readonly #engine: EngineHandle;
  readonly #onStarted: () => void;
  readonly #hold = new Hold();
  #stopping: Promise<void> | undefined;
  readonly #full = new FullWarning();
  #warnedUnread = false;

  /** @param onStarted runs once the engine listens */
  constructor(engine: EngineHandle, onStarted: () => void) {
    this.#engine = engine;
    this.#onStarted = onStarted;
  }

  /** See `RustWSEServer.start()`. */
  async start(): Promise<ListenAddress | NoAddress> {
    const engine = this.#engine;
    engine.refuseStopped();
    if (engine.phase === 'started') throw new WSEStateError('WSE_ALREADY_RUNNING', 'the server is already running');
    engine.enter('started');
    this.#hold.take(this.#watch, engine.announceEnd);
    try {
      const { host, port } = await nativeAsync(() => engine.raw((native) => native.start()));
      this.#onStarted();
      return host == null || port == null ? { host: null, port: null } : { host, port };
    } catch (error) {
      this.#hold.release();
      if (this.#stopping === undefined) engine.enter('created');
      // Loops that were begun meanwhile wait for events that will never come.
      engine.announceEnd();
      throw error;
    }
  }

  /** See `RustWSEServer.drain()`. */
  async drain(options: CloseOptions): Promise<boolean> {
    const { closeCode, reason, timeoutMs } = closing(options, DRAIN_CODE, DRAIN_TIMEOUT);
    return holding(() => this.#engine.commandAsync((engine) => engine.drain(closeCode, reason, timeoutMs)));
  }

  /** See `RustWSEServer.stop()`. */
  async stop(options: CloseOptions): Promise<void> {
    if (this.#stopping === undefined) {
      const { closeCode, reason, timeoutMs } = closing(options, STOP_CODE, STOP_TIMEOUT);
      this.#stopping = this.#stop(closeCode, reason, timeoutMs);
    }
    return this.#stopping;
  }

  async #stop(closeCode: number, reason: string, timeoutMs: number): Promise<void> {
    const engine = this.#engine;
    try {
      if (engine.isRunning()) engine.settle();
    } catch {
      // Another thread stopped the engine just now: nobody is left to deliver to.
    }
    engine.enter('stopped');
    try {
      await holding(() => nativeAsync(() => engine.raw((native) => native.stop(closeCode, reason, timeoutMs))));
    } finally {
      this.#hold.release();
      engine.announceEnd();
    }
  }

  /** Whether the engine has ended, asked once a second, with an eye on events that nobody reads. */
  readonly #watch = (): boolean => {
    if (this.#engine.hasEnded()) return true;
    for (const stall of this.#engine.raw((engine) => engine.takeStalls())) warnOfStall(stall);
    this.#full.look(this.#engine);
    const unread = (): boolean =>
      this.#engine.raw((engine) => engine.inboundQueueDepth() >= UNREAD_EVENTS && !engine.hasReader());
    if (!this.#warnedUnread && unread()) {
      this.#warnedUnread = true;
      process.emitWarning(
        'nobody reads the events of a server: once maxInboundQueueSize wait, it reads and accepts nothing any more. ' +
          "Use serve(), batches(), callbacks or drainInbound(); if it only publishes, say inbound: 'discard'",
        { type: 'WSEUnreadWarning', code: 'WSE_EVENTS_UNREAD' },
      );
    }
    return false;
  };
}

/** Once per stall. */
function warnOfStall({ thread, events, moved }: NativeStall): void {
  const who = thread === 0 ? 'the main thread' : `worker thread ${thread}`;
  const what = moved ? 'its connections go to the other readers' : 'nobody else reads, and its connections wait';
  process.emitWarning(
    `a reader of events (${who}) has left ${events} of them waiting for longer than readerTimeout: ${what}. A thread reads from its ` +
      'first drainInbound(), batches(), serve() or setCallbacks() on, until stopReading()',
    { type: 'WSEReaderWarning', code: 'WSE_READER_STALLED' },
  );
}

interface Closing {
  closeCode: number;
  reason: string;
  timeoutMs: number;
}

function closing(options: CloseOptions, defaultCode: number, defaultTimeout: number): Closing {
  const { closeCode = defaultCode, reason = '', timeout = defaultTimeout } = toOptions(options, 'options');
  const timeoutMs = toTimeoutMs(timeout);
  return { closeCode: toCloseCode(closeCode), reason: toReason(reason), timeoutMs };
}
