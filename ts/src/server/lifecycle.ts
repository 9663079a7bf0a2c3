/** One engine and its life: created, running, stopped. Everything else of the facade stands on this. */

import { toOptions, toText } from '../bytes.js';
import { native, nativeAsync, WSEStateError } from '../errors.js';
import { Hold, holding } from '../hold.js';
import { type NativeCalls, type NativeServer, NativeState } from '../native/binding.js';

/** Where a server listens. */
export interface ListenAddress {
  host: string;
  /** The real port, also when 0 was asked for. */
  port: number;
}

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
const MAX_REASON_BYTES = 123;
/** Waiting events at which a server that nobody reads is worth a warning. */
const UNREAD_EVENTS = 1000;

type Phase = 'created' | 'running' | 'stopped';

/** An engine and what this facade is to it. @internal */
export interface EngineSeat {
  engine: NativeServer;
  calls: NativeCalls;
  /** The facade that created the engine; false: attached to a running one. */
  owner: boolean;
  /** Warn at the start that a cookie is trusted whatever page it comes from. */
  warnOrigin: boolean;
}

/** Base of `RustWSEServer`, which is the only one to construct. */
export abstract class Lifecycle {
  /** @internal */
  protected readonly engine: NativeServer;
  /** @internal */
  protected readonly calls: NativeCalls;
  /** The engine's number, for `calls`. @internal */
  protected readonly id: number;
  readonly #warnOrigin: boolean;
  readonly #hold = new Hold();
  readonly #endListeners = new Set<() => void>();
  #phase: Phase;
  #stopping: Promise<void> | undefined;
  #warnedUnread = false;

  /** @internal */
  protected constructor(seat: EngineSeat) {
    this.engine = seat.engine;
    this.calls = seat.calls;
    this.id = native(() => seat.engine.handle());
    this.#warnOrigin = seat.warnOrigin;
    this.#phase = seat.owner ? 'created' : 'running';
  }

  /**
   * Binds the address and starts the engine's threads. From here until `stop()` the process stays alive.
   *
   * @returns where it listens
   * @throws {@link WSEError} `WSE_ADDR_IN_USE`, `WSE_ADDR_NOT_AVAILABLE`, `WSE_PERMISSION` or `WSE_START_FAILED`;
   *   {@link WSEStateError} when it runs already or is stopped.
   */
  async start(): Promise<ListenAddress> {
    if (this.#phase === 'stopped') throw stopped();
    if (this.#phase === 'running') throw new WSEStateError('WSE_ALREADY_RUNNING', 'the server is already running');
    this.#phase = 'running';
    this.#hold.take(this.#watch, this.#announceEnd);
    try {
      const address = await nativeAsync(() => this.engine.start());
      this.onStarted();
      return address;
    } catch (error) {
      this.#hold.release();
      if (this.#phase === 'running') this.#phase = 'created';
      // Loops that were begun meanwhile wait for events that will never come.
      this.#announceEnd();
      throw error;
    }
  }

  /**
   * Closes every connection, ends the engine's threads and lets the process exit. What has already arrived can
   * still be read from a running `batches()` loop, which then ends. Calling it again waits for the same end.
   *
   * @param options `closeCode` @default 1012, `timeout` in seconds @default 2
   */
  async stop(options: CloseOptions = {}): Promise<void> {
    if (this.#stopping === undefined) {
      const { closeCode, reason, timeoutMs } = closing(options, STOP_CODE, STOP_TIMEOUT);
      this.#stopping = this.#stop(closeCode, reason, timeoutMs);
    }
    return this.#stopping;
  }

  /**
   * Accepts nobody any more, sends every client a Close and waits until they have left. Follow it with `stop()`.
   *
   * @param options `closeCode` @default 4300, `timeout` in seconds @default 30
   * @returns true when every client left in time
   * @throws {@link WSEStateError} when the server does not run.
   */
  async drain(options: CloseOptions = {}): Promise<boolean> {
    const { closeCode, reason, timeoutMs } = closing(options, DRAIN_CODE, DRAIN_TIMEOUT);
    const engine = this.running();
    return holding(() => nativeAsync(() => engine.drain(closeCode, reason, timeoutMs)));
  }

  /** Whether clients are being served; also true while draining. */
  isRunning(): boolean {
    if (this.#phase !== 'running') return false;
    const state = this.calls.state(this.id);
    return state === NativeState.running || state === NativeState.draining;
  }

  /** A number that names this engine in the whole process: give it to a worker, which calls `RustWSEServer.attach`. */
  get handle(): number {
    return this.id;
  }

  /** `stop()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Runs once the engine listens. @internal */
  protected onStarted(): void {
    if (!this.#warnOrigin) return;
    process.emitWarning('clients are recognised by a cookie but their Origin is not checked: set allowedOrigins', {
      type: 'WSESecurityWarning',
      code: 'WSE_ORIGIN_UNCHECKED',
    });
  }

  /** The engine, for a call that needs it to run. @internal */
  protected running(): NativeServer {
    if (this.#phase === 'stopped') throw stopped();
    if (this.#phase !== 'running') throw notRunning();
    this.settle();
    return this.engine;
  }

  /** Hands over what has been collected, so that no call overtakes it. @internal */
  protected abstract settle(): void;

  /** The engine, for a question it would answer in any state. @internal */
  protected alive(): NativeServer {
    const engine = this.running();
    const state = this.calls.state(this.id);
    if (state === NativeState.stopped) throw stopped();
    if (state === NativeState.created) throw notRunning();
    return engine;
  }

  /** Throws once the server is stopped. @internal */
  protected refuseStopped(): void {
    if (this.#phase === 'stopped') throw stopped();
  }

  /** Whether `start()` was called on this facade, or it is attached to an engine. @internal */
  protected get started(): boolean {
    return this.#phase !== 'created';
  }

  /** Calls `listener` when the engine has ended, until the returned function is called. @internal */
  protected onEnd(listener: () => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  /** Whether the engine has ended, by us or by another facade. @internal */
  protected readonly hasEnded = (): boolean => this.calls.state(this.id) === NativeState.stopped;

  /** `hasEnded`, asked once a second, with an eye on a server whose events nobody reads. */
  readonly #watch = (): boolean => {
    if (this.hasEnded()) return true;
    if (!this.#warnedUnread && this.engine.inboundQueueDepth() >= UNREAD_EVENTS && !this.engine.isDrained()) {
      this.#warnedUnread = true;
      process.emitWarning(
        'nobody reads the events of a server: once maxInboundQueueSize wait, it reads and accepts nothing any more. ' +
          'Use batches(), drainInbound() or, if it only publishes, setCallbacks({})',
        { type: 'WSEUnreadWarning', code: 'WSE_EVENTS_UNREAD' },
      );
    }
    return false;
  };

  readonly #announceEnd = (): void => {
    for (const listener of [...this.#endListeners]) listener();
  };

  async #stop(closeCode: number, reason: string, timeoutMs: number): Promise<void> {
    try {
      if (this.isRunning()) this.settle();
    } catch {
      // Another thread stopped the engine just now: nobody is left to deliver to.
    }
    this.#phase = 'stopped';
    try {
      await holding(() => nativeAsync(() => this.engine.stop(closeCode, reason, timeoutMs)));
    } finally {
      this.#hold.release();
      this.#announceEnd();
    }
  }
}

function notRunning(): WSEStateError {
  return new WSEStateError('WSE_NOT_RUNNING', 'the server is not running: call start() first');
}

/** @internal */
export function stopped(): WSEStateError {
  return new WSEStateError('WSE_STOPPED', 'the server is stopped');
}

interface Closing {
  closeCode: number;
  reason: string;
  timeoutMs: number;
}

function closing(options: CloseOptions, defaultCode: number, defaultTimeout: number): Closing {
  const { closeCode = defaultCode, reason = '', timeout = defaultTimeout } = toOptions(options, 'options');
  if (!(typeof timeout === 'number' && timeout >= 0)) throw new TypeError('timeout must be a number of seconds, 0 or more');
  return { closeCode: toCloseCode(closeCode), reason: toReason(reason), timeoutMs: Math.min(timeout * 1000, 2 ** 31 - 1) };
}

/**
 * A code that may be sent in a Close frame.
 *
 * @internal
 * @throws TypeError otherwise.
 */
export function toCloseCode(code: unknown): number {
  const allowed =
    Number.isInteger(code) &&
    (((code as number) >= 1000 && (code as number) <= 1014 && ![1004, 1005, 1006].includes(code as number)) ||
      ((code as number) >= 3000 && (code as number) <= 4999));
  if (!allowed) throw new TypeError('close code must be 1000 to 1014 (without 1004, 1005, 1006) or 3000 to 4999');
  return code as number;
}

/** @internal */
export function toReason(reason: unknown): string {
  const text = toText(reason, 'reason');
  if (Buffer.byteLength(text) > MAX_REASON_BYTES) throw new TypeError(`reason must fit in ${MAX_REASON_BYTES} bytes`);
  return text;
}
