/** The dashboard's load, without a page: it ends when it should, and changing one's mind does not confuse it. */

import { afterEach, expect, test } from 'vitest';
import { waitUntil } from '../support/wait.js';

interface State {
  running: boolean;
  note: string;
  now: { open: number; deliveries: number | null } | null;
  settings: { server: string };
}
interface Load {
  command(name: string, p: object): string | null;
  sample(watchers: number): State;
  state(): State;
  close(): Promise<void>;
}

const path = new URL('../../../examples/dashboard/load/control.mjs', import.meta.url).href;
const { createLoad } = (await import(path)) as { createLoad: () => Load };
const DEADLINE_MS = 20_000;

let load: Load;
afterEach(() => load.close());

const settings = (server: string, connections: number) => ({ server, connections, rate: 50, size: 64 });

/** Samples as the dashboard does, until the state is as wanted. */
const until = (wanted: (state: State) => boolean, what: string, watchers = 1): Promise<State> =>
  waitUntil(
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      const state = load.sample(watchers);
      return wanted(state) ? state : undefined;
    },
    what,
    DEADLINE_MS,
  );

test('the last word counts, however fast the others came', async () => {
  load = createLoad();
  for (let i = 0; i < 5; i += 1) {
    for (const server of ['wse', 'ws']) expect(load.command('load_set', settings(server, 5 + i))).toBeNull();
    expect(load.command('load_stop', {})).toBeNull();
  }
  expect(load.state().running).toBe(false);
  load.command('load_set', settings('ws', 9));
  load.command('load_set', settings('wse', 7));
  const state = await until(({ now }) => now?.open === 7 && (now.deliveries ?? 0) > 100, 'seven connections');
  expect(state).toMatchObject({ running: true, settings: { server: 'wse' } });
  load.command('load_set', settings('ws', 3));
  await until(({ now, settings: { server } }) => server === 'ws' && now?.open === 3 && (now.deliveries ?? 0) > 50, 'three on ws');
});

test('it stops when no page watches', async () => {
  load = createLoad();
  load.command('load_set', settings('wse', 5));
  await until(({ now }) => now?.open === 5, 'five connections');
  const { note } = await until(({ running }) => !running, 'its end', 0);
  expect(note).toContain('no page');
});

test('nobody starts it while the dashboard ends', async () => {
  load = createLoad();
  load.command('load_set', settings('wse', 5));
  await load.close();
  expect(load.command('load_set', settings('wse', 5))).toContain('ending');
  expect(load.state().running).toBe(false);
});
