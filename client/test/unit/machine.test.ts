/** The state machine: what follows from what, without a socket or a clock. */

import { describe, expect, it } from 'vitest';
import { INITIAL, type MachineConfig, type MachineInput, type MachineState, reduce } from '../../src/core/machine.js';

const CONFIG: MachineConfig = { maxAttempts: -1, maxRefreshes: 3, stableAfter: 5_000 };

/** Runs inputs; `gen` is filled in with the current one. */
function run(
  inputs: readonly (MachineInput | Record<string, unknown>)[],
  config = CONFIG,
): { state: MachineState; done: unknown[] } {
  let state = INITIAL;
  let done: unknown[] = [];
  for (const input of inputs) {
    const about = /opened|ready|closed|silent|heard/.test(String(input.type)) && { gen: state.generation };
    const step = reduce(state, { ...about, ...input } as MachineInput, config);
    state = step.state;
    done = [...step.effects];
  }
  return { state, done };
}

const close = (code: number, kind: string, at = 0): Record<string, unknown> => ({
  type: 'closed',
  code,
  reason: '',
  class: kind,
  at,
});
const UP = [{ type: 'start' }, { type: 'opened' }, { type: 'ready', at: 0 }];

describe('the machine', () => {
  it('connects, and is connected once the server is ready', () => {
    expect(run([{ type: 'start' }])).toMatchObject({
      state: { name: 'connecting', generation: 1 },
      done: [{ do: 'open', gen: 1 }],
    });
    expect(run(UP.slice(0, 2)).state.name).toBe('connecting');
    expect(run(UP)).toMatchObject({ state: { name: 'connected', step: 'ready' }, done: [] });
  });

  it.each([
    [1000, 'retry'],
    [1001, 'retry'],
    [1005, 'retry'],
    [1006, 'retry'],
    [1012, 'retry-now'],
    [4300, 'retry-now'],
    [4401, 'refresh'],
    [4429, 'backoff'],
  ])('comes back after %i (%s)', (code, kind) => {
    const { state, done } = run([...UP, close(code, kind)]);
    expect(state).toMatchObject({ name: 'reconnecting', step: 'waiting', attempt: 1 });
    expect(done).toEqual([{ do: 'wait', class: kind, attempt: 1 }]);
    expect(run([...UP, close(code, kind), { type: 'wake' }])).toMatchObject({
      state: { name: 'reconnecting' },
      done: [{ do: 'open', gen: 2 }],
    });
  });

  it('ends where it is told to stay away: an error, or regularly where the caller named the code', () => {
    expect(run([...UP, close(4403, 'stop')])).toMatchObject({ state: { name: 'error' }, done: [{ do: 'idle' }, { do: 'end' }] });
    expect(run([...UP, close(1000, 'stop')]).state.name).toBe('disconnected');
  });

  it('gives up after so many refusals in a row, and forgets them once a connection has lasted', () => {
    const refused = [close(4401, 'refresh'), { type: 'wake' }];
    const three = [{ type: 'start' }, ...refused, ...refused, ...refused];
    expect(run(three).state.name).toBe('reconnecting');
    expect(run([...three, close(4401, 'refresh')]).state.name).toBe('error');
    const lasted = [...three, ...UP.slice(1), close(4401, 'refresh', 5_000)];
    expect(run(lasted).state).toMatchObject({ name: 'reconnecting', refreshes: 1, attempt: 1 });
    const brief = [...three, ...UP.slice(1), close(4401, 'refresh', 4_999)];
    expect(run(brief).state.name).toBe('error');
  });

  it('bounds attempts, but not with -1; 0 is none', () => {
    const failed = [close(1006, 'retry'), { type: 'wake' }];
    const many = Array.from({ length: 500 }, () => failed).flat();
    expect(run([{ type: 'start' }, ...many]).state).toMatchObject({ name: 'reconnecting', attempt: 500 });
    const two = { ...CONFIG, maxAttempts: 2 };
    expect(run([{ type: 'start' }, ...failed, ...failed], two).state.name).toBe('reconnecting');
    expect(run([{ type: 'start' }, ...failed, ...failed, close(1006, 'retry')], two).state.name).toBe('error');
    expect(run([...UP, close(1006, 'retry')], { ...CONFIG, maxAttempts: 0 }).state.name).toBe('error');
  });

  it('counts a connection that ends at once as a failure', () => {
    const brief = [...UP.slice(1), close(1006, 'retry', 1), { type: 'wake' }];
    expect(run([{ type: 'start' }, ...brief, ...brief, ...brief]).state.attempt).toBe(3);
  });

  it('hears nothing of an older socket', () => {
    const { state } = run([...UP, { type: 'force' }]);
    expect(state).toMatchObject({ name: 'reconnecting', step: 'opening', generation: 2 });
    const late = reduce(state, { ...close(1006, 'retry'), gen: 1 } as MachineInput, CONFIG);
    expect(late).toEqual({ state, effects: [] });
  });

  it('is degraded while nothing is heard', () => {
    expect(run([...UP, { type: 'silent' }]).state.name).toBe('degraded');
    expect(run([...UP, { type: 'silent' }, { type: 'heard' }]).state.name).toBe('connected');
    expect(run([{ type: 'start' }, { type: 'silent' }]).state.name).toBe('connecting');
  });

  it('lets the page freeze, and wakes', () => {
    const { state, done } = run([...UP, { type: 'freeze' }]);
    expect(state).toMatchObject({ name: 'reconnecting', step: 'frozen' });
    expect(done).toMatchObject([{ do: 'close' }, { do: 'idle' }]);
    expect(run([...UP, { type: 'freeze' }, close(1000, 'retry')]).state.step).toBe('frozen');
    expect(run([...UP, { type: 'freeze' }, { type: 'wake' }]).done).toEqual([{ do: 'open', gen: 2 }]);
  });

  it('stops from every state, and does nothing afterwards', () => {
    const states = [[], UP.slice(0, 1), UP.slice(0, 2), UP, [...UP, close(1006, 'retry')], [...UP, { type: 'freeze' }]];
    for (const before of states) {
      const stopped = [...before, { type: 'stop', code: 1000, reason: '' }];
      expect(run(stopped).state.name).toBe('disconnected');
      for (const input of [...UP, { type: 'wake' }, { type: 'force' }, { type: 'freeze' }, close(1006, 'retry')]) {
        expect(run([...stopped, input])).toMatchObject({ state: { name: 'disconnected' }, done: [] });
      }
    }
  });
});
