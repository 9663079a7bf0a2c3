/**
 * The connection's state machine: one pure function from a state and an input to the next state and what is to be done. It
 * decides when to connect, wait, refresh a token or stop. It never touches a socket, a timer or a token: `client.ts` does what
 * its effects say.
 */

/**
 * Where a connection is. `pending`: not tried yet. `connecting`: the first attempt. `connected`: the server is ready.
 * `degraded`: connected, and nothing has been heard since the last heartbeat. `reconnecting`: it was lost, or an attempt failed, and another one
 * runs or is due. `disconnected`: ended by `close()`, a signal, or a close code that says so. `error`: ended by a refusal.
 */
export type ConnectionState = 'pending' | 'connecting' | 'connected' | 'reconnecting' | 'degraded' | 'disconnected' | 'error';

/** What a close code asks for (`protocol/close.ts`). */
export type CloseClass = 'retry-now' | 'retry' | 'refresh' | 'backoff' | 'stop';

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
  | { readonly type: 'silent'; readonly gen: number }
  | { readonly type: 'heard'; readonly gen: number }
  /** The wait is over, or something says that waiting longer is of no use (online, visible, `forceReconnect()` while waiting). */
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

const ended = (state: MachineState): boolean => state.name === 'disconnected' || state.name === 'error';
const live = (state: MachineState): boolean => state.step === 'opening' || state.step === 'opened' || state.step === 'ready';

/** The next state, and what is to be done. An input that means nothing in a state changes nothing. */
export function reduce(state: MachineState, input: MachineInput, config: MachineConfig): Transition {
  const same: Transition = { state, effects: [] };
  if (ended(state) || ('gen' in input && (input.gen !== state.generation || !live(state)))) return same;
  switch (input.type) {
    case 'start':
      return state.step === 'none' ? open(state, 'connecting') : same;
    case 'opened':
      return { state: { ...state, step: 'opened' }, effects: [] };
    case 'ready':
      return state.step === 'ready'
        ? same
        : { state: { ...state, name: 'connected', step: 'ready', readyAt: input.at }, effects: [] };
    case 'silent':
      return state.name === 'connected' ? { state: { ...state, name: 'degraded' }, effects: [] } : same;
    case 'heard':
      return state.name === 'degraded' ? { state: { ...state, name: 'connected' }, effects: [] } : same;
    case 'wake':
      return state.step === 'waiting' || state.step === 'frozen' ? open(state, state.name) : same;
    case 'force':
      return open(state, state.step === 'none' ? 'connecting' : 'reconnecting', live(state), true);
    case 'freeze': {
      if (state.step === 'none') return same;
      const close: MachineEffect[] = live(state) ? [{ do: 'close', code: 1000, reason: 'frozen' }] : [];
      return { state: { ...state, name: 'reconnecting', step: 'frozen' }, effects: [...close, { do: 'idle' }] };
    }
    case 'stop': {
      const { code, reason } = input;
      const close: MachineEffect[] = live(state) ? [{ do: 'close', code, reason }] : [];
      return end(state, { code, reason, refused: false }, close);
    }
    case 'closed':
      return closed(state, input, config);
  }
}

function open(state: MachineState, name: ConnectionState, drop = false, fresh = false): Transition {
  const gen = state.generation + 1;
  const close: MachineEffect[] = drop ? [{ do: 'close', code: 1000, reason: '' }] : [];
  const again = fresh ? { attempt: 0, refreshes: 0 } : {};
  return { state: { ...state, ...again, name, step: 'opening', generation: gen }, effects: [...close, { do: 'open', gen }] };
}

function closed(state: MachineState, input: MachineInput & { type: 'closed' }, config: MachineConfig): Transition {
  const { code, reason, at } = input;
  const stable = state.step === 'ready' && at - state.readyAt >= config.stableAfter;
  const attempt = (stable ? 0 : state.attempt) + 1;
  const refreshes = input.class === 'refresh' ? (stable ? 0 : state.refreshes) + 1 : stable ? 0 : state.refreshes;
  if (input.class === 'stop') return end(state, { code, reason, refused: code !== 1000 && code !== 1001 });
  if (input.class === 'refresh' && refreshes > config.maxRefreshes) return end(state, { code, reason, refused: true });
  if (config.maxAttempts >= 0 && attempt > config.maxAttempts) return end(state, { code, reason, refused: true });
  return {
    state: { ...state, name: 'reconnecting', step: 'waiting', attempt, refreshes },
    effects: [{ do: 'wait', class: input.class, attempt }],
  };
}

function end(state: MachineState, ending: Ending, before: readonly MachineEffect[] = []): Transition {
  return {
    state: { ...state, name: ending.refused ? 'error' : 'disconnected', step: 'none' },
    effects: [...before, { do: 'idle' }, { do: 'end', ending }],
  };
}
