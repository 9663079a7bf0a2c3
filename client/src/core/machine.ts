/**
 * The connection's state machine: one pure function from a state and an input to the next state and what is to be done. It
 * decides when to connect, wait, refresh a token or stop. It never touches a socket, a timer or a token: `driver.ts` does what
 * its effects say.
 */

import type { CloseClass } from '../protocol/close.js';

/**
 * Where a connection is. `pending`: not tried yet. `connecting`: the first attempt. `connected`: the server is ready.
 * `degraded`: connected, and nothing has been heard since the last heartbeat. `reconnecting`: it was lost, or an attempt failed, and another one
 * runs or is due. `disconnected`: ended by `close()`, a signal, or by 1000 or 1001 where `stopOn` names it. `error`: ended by a refusal.
 */
export type ConnectionState = 'pending' | 'connecting' | 'connected' | 'reconnecting' | 'degraded' | 'disconnected' | 'error';

/** What never changes in the life of a machine. */
export interface MachineConfig {
  /** Attempts in a row that may fail; -1: any number. */
  readonly maxAttempts: number;
  /** Refusals (4401) in a row after which it is over. 0: there is no other token to be had. */
  readonly maxRefreshes: number;
  /** Milliseconds a connection must have lasted so that the attempts before it are forgotten. */
  readonly stableAfter: number;
}

/** The state of the machine. */
export interface MachineState {
  /** The name the outside knows. */
  readonly name: ConnectionState;
  /** What the driver is busy with: nothing, an attempt, an open socket whose server is not ready, one that is, a wait, a frozen page. */
  readonly step: 'none' | 'opening' | 'opened' | 'ready' | 'waiting' | 'frozen';
  /** Counts attempts from 1; inputs of an older socket are ignored. */
  readonly generation: number;
  /** Attempts that failed in a row. */
  readonly attempt: number;
  /** Refusals in a row. */
  readonly refreshes: number;
  /** When the server became ready, milliseconds of the clock. */
  readonly readyAt: number;
}

/** What happens to a machine. `gen` names the socket it is about. */
export type MachineInput =
  | { readonly type: 'start' }
  | { readonly type: 'opened'; readonly gen: number }
  | { readonly type: 'ready'; readonly gen: number; readonly at: number }
  | {
      readonly type: 'closed';
      readonly gen: number;
      readonly at: number;
      readonly code: number;
      readonly reason: string;
      readonly class: CloseClass;
    }
  | { readonly type: 'silent' }
  | { readonly type: 'heard' }
  /** The wait is over, or something says that waiting longer is of no use (online, visible). */
  | { readonly type: 'wake' }
  /** Drop the socket, if there is one, and connect again at once. */
  | { readonly type: 'force' }
  /** The page is put to sleep: no socket may stay. */
  | { readonly type: 'freeze' }
  | { readonly type: 'stop'; readonly code: number; readonly reason: string };

/** Why a machine ended. */
export interface Ending {
  /** The close code it ended with; 1000 for `close()`. */
  readonly code: number;
  /** The reason in words, empty if none was given. */
  readonly reason: string;
  /** Whether it is `error` rather than `disconnected`. */
  readonly refused: boolean;
}

/** What the driver is to do, in this order. */
export type MachineEffect =
  | { readonly do: 'open'; readonly gen: number }
  | { readonly do: 'close'; readonly code: number; readonly reason: string }
  | { readonly do: 'wait'; readonly class: CloseClass; readonly attempt: number }
  | { readonly do: 'idle' }
  | { readonly do: 'end'; readonly ending: Ending };

/** A state and what is to be done on the way to it. */
export interface Transition {
  readonly state: MachineState;
  readonly effects: readonly MachineEffect[];
}

/** The state of a client that has done nothing yet. */
export const INITIAL: MachineState = { name: 'pending', step: 'none', generation: 0, attempt: 0, refreshes: 0, readyAt: 0 };

const LIVE = /^(opening|opened|ready)$/;

/** The next state, and what is to be done. An input that means nothing in a state changes nothing. */
export function reduce(state: MachineState, input: MachineInput, config: MachineConfig): Transition {
  const { name, step, generation } = state;
  const live = LIVE.test(step);
  const idle = step === 'waiting' || step === 'frozen';
  const to = (change: Partial<MachineState>, ...effects: MachineEffect[]): Transition => ({
    state: { ...state, ...change },
    effects,
  });
  const drop = (code: number, reason: string): MachineEffect[] => (live ? [{ do: 'close', code, reason }] : []);
  const open = (change: Partial<MachineState>): Transition =>
    to({ ...change, step: 'opening', generation: generation + 1 }, ...drop(1000, ''), { do: 'open', gen: generation + 1 });
  const end = (code: number, reason: string, refused: boolean, ...effects: MachineEffect[]): Transition =>
    to(
      { name: refused ? 'error' : 'disconnected', step: 'none' },
      ...effects,
      { do: 'idle' },
      { do: 'end', ending: { code, reason, refused } },
    );

  if (step === 'none' && name !== 'pending') return to({});
  if ('gen' in input && (input.gen !== generation || !live)) return to({});
  switch (input.type) {
    case 'start':
      return step === 'none' ? open({ name: 'connecting' }) : to({});
    case 'opened':
      return to({ step: 'opened' });
    case 'ready':
      return step === 'ready' ? to({}) : to({ name: 'connected', step: 'ready', readyAt: input.at });
    case 'silent':
      return name === 'connected' ? to({ name: 'degraded' }) : to({});
    case 'heard':
      return name === 'degraded' ? to({ name: 'connected' }) : to({});
    case 'wake':
      return idle ? open({}) : to({});
    case 'force':
      return open({ name: step === 'none' ? 'connecting' : 'reconnecting', attempt: 0, refreshes: 0 });
    case 'freeze':
      return step === 'none' ? to({}) : to({ name: 'reconnecting', step: 'frozen' }, ...drop(1000, 'frozen'), { do: 'idle' });
    case 'stop':
      return end(input.code, input.reason, false, ...drop(input.code, input.reason));
    case 'closed': {
      const { code, reason, at, class: kind } = input;
      // What went before counts only as long as nothing has lasted.
      const stable = step === 'ready' && at - state.readyAt >= config.stableAfter;
      const attempt = (stable ? 0 : state.attempt) + 1;
      const refreshes = (stable ? 0 : state.refreshes) + Number(kind === 'refresh');
      if (kind === 'stop') return end(code, reason, code !== 1000 && code !== 1001);
      if ((kind === 'refresh' && refreshes > config.maxRefreshes) || (config.maxAttempts >= 0 && attempt > config.maxAttempts)) {
        return end(code, reason, true);
      }
      return to({ name: 'reconnecting', step: 'waiting', attempt, refreshes }, { do: 'wait', class: kind, attempt });
    }
  }
}
