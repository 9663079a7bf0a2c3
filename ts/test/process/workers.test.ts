import { describe, expect, it } from 'vitest';
import { Child } from './facade.js';

/** At once, on however busy a machine: below the five seconds of `closeTimeout` and the ten that `stop()` has. */
const PROMPT_MS = 4000;

/** Runs a program to its end and returns everything it reported. */
async function run(name: string, args: string[] = [], deadlineMs = 20_000): Promise<Record<string, unknown>> {
  const child = new Child(name, ...args);
  const end = await child.ended(deadlineMs);
  expect([end, child.stderr]).toMatchObject([{ code: 0, signal: null }, '']);
  return Object.assign({}, ...child.reports) as Record<string, unknown>;
}

describe('worker threads', () => {
  it('share the events: each reaches exactly one, all of a connection the same, in order', async () => {
    expect(await run('workers', ['share'])).toEqual({
      events: 12 * 202,
      perWorker: [4, 4, 4],
      split: 0,
      wrong: 0,
      connects: 12,
      disconnects: 12,
    });
  });

  it('that are terminated while clients wait for their onUpgrade leave nobody waiting and nothing behind', async () => {
    expect(await run('upgrade')).toEqual({ heard: [20, 20, 20, 20], left: 'none', stopped: 20 });
  });

  it('that are terminated in the middle of a drain hand their connections on, and no other loses an event', async () => {
    const result = await run('terminate', [], 25_000);
    expect(result).toMatchObject({
      clients: 40,
      connections: 40,
      mostSpans: 2,
      holes: 0,
      steadyFromZero: true,
      backwards: 0,
      ends: 40,
      disconnects: 40,
      done: true,
    });
    expect(result['moved']).toBe(2 + 9 * 4);
  });

  it('find what came after the death of the only one', async () => {
    const { numbers, kinds } = await run('workers', ['successor']);
    expect(numbers).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(kinds).toContain('raw');
  });

  it('publish on an engine that the main thread reads', async () => {
    expect(await run('workers', ['publish'])).toEqual({ inOrder: true, texts: 1000, echoes: 200 });
  });

  it('may load the addon, allocate and end twelve times in sequence', async () => {
    expect(await run('workers', ['sequence'])).toEqual({ results: 1, workers: 12 });
  });

  it('that die with an engine of their own close its clients and free its port; the process goes on', async () => {
    expect(await run('workers', ['orphan'])).toEqual({ codes: Array<number>(25).fill(1012) });
  });

  it('are terminated at once while a stop() of theirs waits for a client', async () => {
    expect((await run('workers', ['stopping']))['took']).toBeLessThan(PROMPT_MS);
  });

  it('do not hold process.exit() up while a stop() of theirs waits for a client', async () => {
    const child = new Child('workers', 'exit-stopping');
    await child.report('exiting');
    const began = performance.now();
    expect(await child.ended(15_000)).toMatchObject({ code: 12, signal: null });
    expect(performance.now() - began).toBeLessThan(PROMPT_MS);
  });

  it('may die while calls of theirs are pending', async () => {
    expect(await run('workers', ['pending'], 25_000)).toEqual({ rounds: 12 });
  });
});
