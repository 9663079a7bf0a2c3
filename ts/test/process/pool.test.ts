/** `server.workers()`: supervised threads, in processes that must end by themselves. */

import { describe, expect, it } from 'vitest';
import { Child } from './facade.js';

/** Runs a program to its end and returns everything it reported. */
async function run(name: string, argument = '', stderr: RegExp = /^$/): Promise<Record<string, unknown>> {
  const child = new Child('pool', name, argument);
  const end = await child.ended(25_000);
  expect([end, child.stderr]).toMatchObject([{ code: 0, signal: null }, expect.stringMatching(stderr)]);
  return Object.assign({}, ...child.reports) as Record<string, unknown>;
}

describe('workers', () => {
  it.each(['serve', 'batches', 'drain'])('share the connections evenly and end with the server: %s', async (style) => {
    expect(await run('spread', style)).toEqual({ shares: [4, 4, 4], size: 3, left: 0, prompt: true });
  });

  it.each(['serve', 'batches', 'drain'])(
    'that crash are replaced; no client notices, and no heir meets a stranger: %s',
    async (style) => {
      expect(await run('crashes', style)).toEqual({
        exits: [
          [1, 'asked for'],
          [3, null],
          [1, null],
          [0, null],
          [1, null],
        ],
        places: true,
        strangers: 0,
        backwards: 0,
        open: 10,
        size: 2,
      });
    },
  );

  it('that cannot be kept alive are started ever more rarely, and reported', async () => {
    const { pauses, size, known, warned } = await run('backoff', '', /WSE_WORKER_EXITED|another takes its place/);
    expect(pauses).toEqual([0.1, 0.2, 0.4, 0.8]);
    expect([size, known, warned]).toEqual([1, true, ['WSE_WORKER_EXITED']]);
  });

  it('that never come to read make the call fail, and none is left', async () => {
    const { failures } = await run('failing');
    expect(failures).toEqual([
      ['WSE_WORKER_FAILED', 'broken from the start'],
      ['WSE_WORKER_FAILED', null],
      'ERR_WORKER_PATH',
      ...['TypeError', 'TypeError', 'TypeError', 'TypeError', 'WSEConfigError'],
      'WSE_STOPPED',
      'WSE_NO_WORKER',
    ]);
  });

  it('end when they are asked to, or in time; their clients go to the others, or wait for the next', async () => {
    expect(await run('ending')).toEqual({ before: 3, between: 1, after: 1, known: true, size: 1 });
  });
});
