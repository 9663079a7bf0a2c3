/** What `connect()` refuses, and what holds where it is told nothing. */

import { describe, expect, it } from 'vitest';
import { BACKOFF } from '../../src/core/backoff.js';
import { type ClientOptions, settle } from '../../src/core/options.js';

const refusal = (options: unknown): unknown => {
  try {
    settle(options as ClientOptions);
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  return undefined;
};

describe('options that would make a client turn without a pause', () => {
  for (const options of [
    { heartbeat: 0 },
    { idleTimeout: 0 },
    { heartbeat: Number.NaN },
    { idleTimeout: -1 },
    { heartbeat: 0.001 },
  ]) {
    it(`are refused: ${JSON.stringify(options)}`, () => expect(refusal(options)).toBe('WSE_ARGUMENT'));
  }
  for (const reconnect of [
    { baseDelay: Number.NaN },
    { baseDelay: -1 },
    { baseDelay: '5' },
    { maxDelay: Number.NaN },
    { maxDelay: 0 },
    { factor: 0 },
    { factor: 0.5 },
    { factor: Number.NaN },
    { maxAttempts: Number.NaN },
    { mode: 1 },
    { jitter: 'no' },
  ]) {
    it(`are refused: reconnect ${JSON.stringify(reconnect)}`, () => expect(refusal({ reconnect })).toBe('WSE_ARGUMENT'));
  }
  it('are refused where they are no numbers at all', () => expect(refusal({ timeout: '5' })).toBe('WSE_ARGUMENT'));
});

it('what is undefined is the default', () => {
  const unsaid = { baseDelay: undefined, factor: undefined, mode: undefined, maxAttempts: undefined };
  expect(settle({ reconnect: unsaid } as unknown as ClientOptions).backoff).toEqual(BACKOFF);
  expect(settle({ heartbeat: undefined } as unknown as ClientOptions)).toMatchObject({ heartbeat: 15_000, backoff: BACKOFF });
});

it('what can be meant is taken', () => {
  const { backoff, heartbeat } = settle({
    heartbeat: Infinity,
    reconnect: { baseDelay: 0, maxAttempts: -1, maxDelay: Infinity },
  });
  expect([backoff, heartbeat]).toEqual([{ ...BACKOFF, baseDelay: 0, maxDelay: Infinity }, Infinity]);
  expect(settle({ reconnect: false }).backoff.maxAttempts).toBe(0);
});
