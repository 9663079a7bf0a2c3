/** What a tab of the dashboard says of what it missed, which points of a curve it marks, and its script that cannot be made. */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Marks {
  size: number;
  added(late: boolean, length: number): void;
  clear(): void;
  runs(length: number): [number, number][];
}

const load = (name: string) => import(new URL(`../../../examples/dashboard/public/${name}.js`, import.meta.url).href);
const { Marks } = (await load('marks')) as { Marks: new () => Marks };

interface Recovery {
  get(): {
    away: boolean;
    reconnects: number;
    back: null | {
      recovered: boolean;
      replayed: number;
      late: number;
      gaps: { topic: string; count: number; ordered: boolean }[];
    };
  };
  subscribe(fn: () => void): () => void;
}
const { createRecovery } = (await load('recovery')) as { createRecovery(link: EventTarget): Recovery };

/** A link that says what it is told to. */
class Link extends EventTarget {
  stats = { reconnectCount: 0 };
  tell(name: string, detail: object): void {
    this.dispatchEvent(Object.assign(new Event(name), { detail }));
  }
  message(topic: string, offset: number, late: boolean): void {
    this.tell('message', { topic, offset, late });
  }
}

describe('the store of what was missed', () => {
  const answer = {
    action: 'subscribe',
    success: true,
    recovered: true,
    recovery: { 'system.cpu': { count: 2 }, b: { count: 1 } },
  };

  it('counts what fills the gaps, by topic and in order', () => {
    const link = new Link();
    const recovery = createRecovery(link);
    let changes = 0;
    recovery.subscribe(() => changes++);
    link.message('system.cpu', 4, false);
    link.message('b', 9, false);
    link.tell('state', { state: 'reconnecting' });
    link.tell('state', { state: 'reconnecting' });
    expect([recovery.get().away, changes]).toEqual([true, 1]);
    link.stats.reconnectCount = 1;
    link.tell('state', { state: 'live' });
    link.message('system.cpu', 5, true);
    link.message('system.cpu', 6, true);
    link.message('b', 11, true);
    link.tell('answer', answer);
    link.message('system.cpu', 7, false);
    expect(recovery.get()).toMatchObject({ away: false, reconnects: 1, back: { recovered: true, replayed: 3, late: 2 } });
    expect(recovery.get().back?.gaps).toMatchObject([
      { topic: 'system.cpu', from: 5, to: 6, count: 2, ordered: true },
      { topic: 'b', count: 1, ordered: false },
    ]);
  });

  it('says nothing of a first connection that took several attempts', () => {
    const link = new Link();
    const recovery = createRecovery(link);
    link.tell('state', { state: 'reconnecting' });
    link.tell('answer', answer);
    expect(recovery.get()).toEqual({ away: false, reconnects: 0, back: null });
  });
});

describe('the bundle of the page', () => {
  it('says its first mistake in one line', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'wse-bundle-'));
    const entry = join(folder, 'app.jsx');
    writeFileSync(entry, "import './missing.js';\nlet a = <b>;\n");
    const path = new URL('../../../examples/dashboard/bundle.mjs', import.meta.url).href;
    const { bundlePage } = (await import(path)) as { bundlePage(entry: string): Promise<Map<string, Uint8Array>> };
    await expect(bundlePage(entry)).rejects.toThrow(/^the page cannot be made: .*app\.jsx:\d+: [^\n]+$/);
  });
});

describe('marks', () => {
  it('move with the curve and leave with it', () => {
    const marks = new Marks();
    const late = [false, true, true, false, true, false];
    late.forEach((one, n) => marks.added(one, Math.min(n + 1, 5)));
    // The first of six values has left a curve of five.
    expect([marks.size, marks.runs(5)]).toEqual([
      3,
      [
        [0, 1],
        [3, 3],
      ],
    ]);
    marks.added(false, 5);
    expect(marks.runs(5)).toEqual([
      [0, 0],
      [2, 2],
    ]);
    marks.clear();
    expect([marks.size, marks.runs(5)]).toEqual([0, []]);
  });
});
