/** The addon as the facade sees it: the generated declaration, and names for the numbers that cross on hot calls. */

export type { NativeServer } from './index.js';

type Exports = typeof import('./index.js');

/** The exports of the addon, and the calls of every turn beside them. */
export type NativeBinding = Exports & ReturnType<Exports['turnCalls']>;

/** What is called per message or per batch, on an engine's `handle`: cheaper at the border than methods of a class. */
export type NativeCalls = Pick<
  NativeBinding,
  | 'state'
  | 'send'
  | 'sendBytes'
  | 'handOver'
  | 'liveness'
  | 'livenessPerShard'
  | 'room'
  | 'takeBatch'
  | 'onSockets'
  | 'takeSocket'
  | 'refuseSockets'
  | 'probe'
  | 'limitsMet'
>;

/** What {@link NativeCalls.state} reports. */
export const NativeState = { created: 0, running: 1, draining: 2, stopped: 3 } as const;
