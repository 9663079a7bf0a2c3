/**
 * What the state machine decides, done: endpoints picked, attempts prepared, sockets opened and closed, waits waited. It reads no frame; it
 * hands them on.
 */

import { closeClass } from '../protocol/close.js';
import { delayFor, strainAfter } from './backoff.js';
import type { Breaker } from './breaker.js';
import type { TimerHandle } from './clock.js';
import type { Endpoints } from './endpoints.js';
import { type ConnectionState, type Ending, INITIAL, type MachineConfig, type MachineInput, reduce } from './machine.js';
import type { Settings, TokenRequest } from './options.js';
import type { PartContext } from './parts.js';
import { createRotation } from './plain.js';
import { openTransport, type Transport } from './transport.js';

/** A change of the connection's state. */
export interface StateChange {
  readonly state: ConnectionState;
  readonly previous: ConnectionState;
  /** The close code that led to it (RFC 6455 §7.4; 1006: no Close came), if a close did. */
  readonly code: number | undefined;
  /** Its reason, empty if none was given. */
  readonly reason: string;
  /** Attempts that failed in a row. */
  readonly attempt: number;
  /** What the platform said of a failed attempt, where it said anything. */
  readonly error: unknown;
  /** Milliseconds until the next attempt, where one is waited for. */
  readonly retryIn: number | undefined;
}

/** What happens. */
export interface DriverHandlers {
  opened(): void;
  frame(data: string | Uint8Array): void;
  /** No frame will come any more; `then` is to be called when those that came have been read. */
  closed(then: () => void): void;
  /** The socket is gone; `opened` may come again. */
  lost(): void;
  changed(change: StateChange): void;
  ended(ending: Ending): void;
  report(error: unknown): void;
}

/** A connection that comes back. */
export interface Driver {
  readonly state: ConnectionState;
  /** The endpoint of this or the last attempt. */
  readonly url: string | undefined;
  /** Bytes waiting in the socket; undefined unless the server is ready. */
  readonly buffered: number | undefined;
  readonly attempts: number;
  readonly connects: number;
  readonly breaker: Breaker | undefined;
  readonly endpoints: Endpoints;
  start(): void;
  ready(): void;
  heard(): void;
  silent(): void;
  /** Gives the socket up: nothing is heard any more. */
  dead(): void;
  wake(): void;
  force(urls?: readonly string[]): void;
  freeze(): void;
  /** Whether the page says there is a network. */
  network(up: boolean): void;
  stop(code: number, reason: string): void;
  /** False if there is no open socket. */
  send(data: string): boolean;
  /** Resolves when the last socket is closed. */
  drained(): Promise<void>;
}

/** A driver that has done nothing yet. */
export function createDriver(
  settings: Settings,
  context: PartContext,
  list: readonly string[],
  token: (reason: TokenRequest['reason']) => Promise<string | undefined>,
  /** Brings what an attempt needs beside its token before there can be a socket. */
  load: () => Promise<unknown>,
  on: DriverHandlers,
): Driver {
  const { clock, random, backoff, pool = createRotation } = settings;
  const { now } = context;
  const config: MachineConfig = {
    maxAttempts: backoff.maxAttempts,
    maxRefreshes: settings.maxRefreshes ?? (typeof settings.token === 'function' ? 3 : 0),
    stableAfter: 5_000,
  };
  const breaker = settings.breaker?.(context);
  let endpoints = pool(list, context);
  let state = INITIAL;
  let transport: Transport | undefined;
  let url: string | undefined;
  let timer: TimerHandle;
  /** When the attempt began; undefined: it has come to an end. */
  let begun: number | undefined;
  let connects = 0;
  let strain = 0;
  let offline = false;
  let patient = false;
  let retryIn: number | undefined;
  let refused = false;
  let draining = Promise.resolve();

  const input = (event: MachineInput, error?: unknown): void => {
    const previous = state.name;
    const { state: next, effects } = reduce(state, event, config);
    state = next;
    retryIn = undefined;
    for (const effect of effects) {
      if (effect.do === 'open') open(effect.gen);
      else if (effect.do === 'close') drop(effect.code, effect.reason);
      else if (effect.do === 'wait') wait(effect.class, effect.attempt);
      else if (effect.do === 'end') on.ended(effect.ending);
      else clock.clearTimeout(timer);
    }
    if (state.name !== previous) {
      const { code, reason = '' } = event as { code?: number; reason?: string };
      on.changed({ state: state.name, previous, code, reason, error, attempt: state.attempt, retryIn });
    }
  };
  /** Forgets the socket, closing it if it is there. */
  const drop = (code?: number, reason = '', hard = false): void => {
    const socket = transport;
    transport = undefined;
    if (connects > 0 && begun === undefined) endpoints.closed(url as string);
    if (code !== undefined && socket) draining = socket.close(code, reason, hard);
    on.lost();
  };
  const open = (gen: number): void => {
    clock.clearTimeout(timer);
    begun = now();
    url = endpoints.pick();
    timer = clock.setTimeout(
      () => failed(gen, 1006, 'no connection in time', undefined, transport !== undefined),
      settings.connectTimeout,
    );
    void attempt(gen, url);
  };
  const attempt = async (gen: number, target: string): Promise<void> => {
    let lacking = 'no token';
    try {
      const loaded = load().catch((error) => {
        lacking = error.message;
        throw error;
      });
      const [credential] = await Promise.all([token(refused ? 'refused' : 'connect'), loaded]);
      if (gen !== state.generation || state.step !== 'opening') return;
      transport = openTransport(
        { ...settings, url: target, token: credential },
        {
          opened() {
            clock.clearTimeout(timer);
            input({ type: 'opened', gen });
            on.opened();
          },
          frame: on.frame,
          closed(code, reason, error) {
            transport = undefined;
            on.closed(() => failed(gen, code, reason, error));
          },
        },
      );
    } catch (error) {
      // A token function that heeds its signal rejects when the client ends: nobody has to hear of that.
      if (gen !== state.generation || state.step !== 'opening') return;
      on.report(error);
      failed(gen, 1006, lacking, error, false);
    }
  };
  /** `asked`: whether a server was; before there is a socket none is. */
  const failed = (gen: number, code: number, reason: string, error?: unknown, asked = true): void => {
    if (gen !== state.generation) return;
    clock.clearTimeout(timer);
    const kind = settings.stopOn.includes(code) ? 'stop' : closeClass(code);
    // A refused token is nobody's failure; a server that accepts and hangs up is as good as none.
    if (asked && kind !== 'refresh' && (begun !== undefined || now() - state.readyAt < config.stableAfter)) {
      endpoints.failed(url as string);
      breaker?.failed();
    }
    drop(1000, '', true);
    strain = strainAfter(strain, state.step === 'ready' ? now() - state.readyAt : 0);
    refused = kind === 'refresh';
    input({ type: 'closed', gen, at: now(), code, reason, class: kind }, error);
  };
  const rest = (): number => breaker?.retryIn() ?? 0;
  const wake = (): void => input({ type: 'wake' });
  const wait = (kind: string, attempt: number): void => {
    patient = kind === 'backoff';
    const step = kind === 'retry' ? attempt : patient ? attempt + 4 : attempt - 1;
    const delay = Math.max(delayFor(backoff, step, random, strain), rest());
    retryIn = offline ? Math.max(delay, backoff.maxDelay) : delay;
    timer = clock.setTimeout(wake, retryIn);
  };
  return {
    get state() {
      return state.name;
    },
    get url() {
      return url;
    },
    get buffered() {
      return state.step === 'ready' ? transport?.buffered : undefined;
    },
    get attempts() {
      return state.attempt;
    },
    get connects() {
      return connects;
    },
    breaker,
    get endpoints() {
      return endpoints;
    },
    start: () => input({ type: 'start' }),
    ready() {
      if (begun !== undefined) {
        endpoints.succeeded(url as string, now() - begun);
        breaker?.succeeded();
        begun = undefined;
        connects += 1;
        refused = false;
      }
      input({ type: 'ready', gen: state.generation, at: now() });
    },
    heard: () => input({ type: 'heard' }),
    silent: () => input({ type: 'silent' }),
    dead: () => failed(state.generation, 1006, 'nothing was heard'),
    wake() {
      // Who was told to wait longer does; but nothing else ends the sleep of a frozen page.
      if (state.step !== 'frozen' && (patient || rest() > 0)) return;
      if (rest() === 0) return wake();
      clock.clearTimeout(timer);
      timer = clock.setTimeout(wake, rest());
    },
    force(urls) {
      if (urls) endpoints = pool(urls, context);
      input({ type: 'force' });
    },
    freeze: () => input({ type: 'freeze' }),
    network(up) {
      offline = !up;
    },
    stop: (code, reason) => input({ type: 'stop', code, reason }),
    send: (data) => transport?.send(data) ?? false,
    drained: () => draining,
  };
}
