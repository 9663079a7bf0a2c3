/**
 * One engine as one facade reaches it: in which state it is, what has been collected for it, and every call into it. Owns the
 * outbox; never waits, and knows nothing of what the calls are about.
 */

import { native, nativeAsync, WSEStateError } from '../errors.js';
import { type NativeBinding, type NativeCalls, type NativeServer, NativeState } from '../native/binding.js';
import { Outbox } from './outbox.js';

/** What this facade has made of its engine: not started, started (or attached to), stopped. */
export type Phase = 'created' | 'started' | 'stopped';

/** The engine of one facade. */
export class EngineHandle {
  /** The engine's number in this process. */
  readonly id: number;
  readonly #engine: NativeServer;
  readonly #binding: NativeBinding;
  readonly #endListeners = new Set<() => void>();
  #phase: Phase;
  #outbox: Outbox | undefined;

  constructor(binding: NativeBinding, engine: NativeServer, phase: Phase) {
    this.#binding = binding;
    this.#engine = engine;
    this.#phase = phase;
    this.id = native(() => engine.handle());
  }

  /** What this facade has made of its engine; another facade may have stopped it since: {@link hasEnded}. */
  get phase(): Phase {
    return this.#phase;
  }

  /** Takes the next step of the facade's life. */
  enter(phase: Phase): void {
    this.#phase = phase;
  }

  /** Whether clients are being served; also true while draining. */
  isRunning(): boolean {
    if (this.#phase !== 'started') return false;
    const state = this.#binding.state(this.id);
    return state === NativeState.running || state === NativeState.draining;
  }

  /** Whether the engine has ended, by this facade or by another one. Bound, to be handed out. */
  readonly hasEnded = (): boolean => this.#binding.state(this.id) === NativeState.stopped;

  /**
   * What has been collected for the engine, to add to.
   *
   * @throws WSEStateError when the facade is stopped or not started; the engine itself is asked by the outbox.
   */
  get outbox(): Outbox {
    this.refuseStopped();
    if (this.#outbox === undefined) {
      this.refuseNotStarted();
      this.#outbox = new Outbox(this.#binding, this.id);
    }
    return this.#outbox;
  }

  /** The calls that are made per message or per batch. */
  get calls(): NativeCalls {
    return this.#binding;
  }

  /** Hands over what has been collected. */
  settle(): void {
    this.#outbox?.settle();
  }

  /** Keeps what is collected from here on until {@link deliver}, which is called before this turn ends. */
  hold(): void {
    this.#outbox?.hold();
  }

  /** {@link settle} in nobody's call: what goes wrong becomes a process warning. */
  deliver(): void {
    this.#outbox?.deliver();
  }

  /**
   * A call that changes something: it does not overtake what was published and sent before.
   *
   * @throws WSEStateError when the server does not run.
   */
  command<T>(call: (engine: NativeServer) => T): T {
    this.refuseNotStarted();
    this.settle();
    return this.raw(call);
  }

  /**
   * The same for a call that returns a promise. The state is looked at when it is called, not when it is awaited.
   *
   * @throws WSEStateError when the server does not run.
   */
  commandAsync<T>(call: (engine: NativeServer) => Promise<T>): Promise<T> {
    return this.command((engine) => nativeAsync(() => call(engine)));
  }

  /**
   * A question: it hands nothing over. The engine would answer in any state, so that is looked at here.
   *
   * @throws WSEStateError when the server does not run.
   */
  ask<T>(question: (engine: NativeServer) => T): T {
    this.refuseNotStarted();
    const state = this.#binding.state(this.id);
    if (state === NativeState.stopped) throw stopped();
    if (state === NativeState.created) throw notRunning();
    return this.raw(question);
  }

  /** A call in whatever state the engine is, with its errors mapped. */
  raw<T>(call: (engine: NativeServer) => T): T {
    return native(() => call(this.#engine));
  }

  /** @throws WSEStateError once the facade is stopped. */
  refuseStopped(): void {
    if (this.#phase === 'stopped') throw stopped();
  }

  /** @throws WSEStateError unless the facade is between its start and its stop. */
  refuseNotStarted(): void {
    this.refuseStopped();
    if (this.#phase === 'created') throw notRunning();
  }

  /** Calls `listener` when the engine has ended, until the returned function is called. */
  onEnd(listener: () => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  /** Tells everybody who waits for something that it will not come any more. Bound, to be handed out. */
  readonly announceEnd = (): void => {
    for (const listener of [...this.#endListeners]) listener();
  };
}

/** The error of a server that is stopped. */
export function stopped(): WSEStateError {
  return new WSEStateError('WSE_STOPPED', 'the server is stopped');
}

function notRunning(): WSEStateError {
  return new WSEStateError('WSE_NOT_RUNNING', 'the server is not running: call start() first');
}
