/** A tab of the dashboard that loses its network: what it missed comes, and nothing twice. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitUntil } from '../support/wait.js';
import { launchBrowser, openPage, PATIENCE_MS, START_MS } from './browser.js';
import { chartsMove, dashboard, facts, live, shown, started, state, TIMEOUT_MS, testId } from './dashboard.js';

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
}, START_MS);

afterAll(async () => browser?.close());

/** The memory's curve as a page has it, and how many of its points came late. */
const memoryOf = (page: Page): Promise<{ curve: number[]; late: number }> =>
  page.evaluate(() => {
    const { document } = globalThis as unknown as { document: { getElementById(id: string): { chart: MemoryChart } } };
    const { curves, marks } = document.getElementById('memory-chart').chart;
    return { curve: [...(curves[0] ?? [])], late: marks.size };
  });

interface MemoryChart {
  curves: number[][];
  marks: { size: number };
}

/** How far one curve is ahead of another that is otherwise the same; undefined: they are not, or too short to tell. */
function ahead(one: readonly number[], other: readonly number[]): number | undefined {
  const shifts = Array.from({ length: 201 }, (_, n) => n - 100);
  const fits = shifts.filter((shift) => {
    const [a, b] = shift < 0 ? [one, other.slice(0, shift)] : [shift === 0 ? one : one.slice(0, -shift), other];
    const length = Math.min(a.length, b.length);
    return length >= 100 && a.slice(-length).every((value, n) => value === b[b.length - length + n]);
  });
  return fits.length === 1 ? fits[0] : undefined;
}

describe('a tab of the dashboard that is cut off', () => {
  it(
    'has every point when it is back, once, and says so',
    async () => {
      await using child = dashboard('--port', '0');
      const url = await started(child);
      await using stays = await openPage(browser, url);
      await using cut = await openPage(browser, url);
      const sockets: { t?: unknown; tp?: string; e?: string; o?: number }[][] = [];
      cut.page.on('websocket', (socket) => {
        const frames: (typeof sockets)[number] = [];
        sockets.push(frames);
        socket.on('framereceived', ({ payload }) => {
          if (typeof payload === 'string') frames.push(JSON.parse(payload));
        });
      });
      for (const { page } of [stays, cut]) await live(page);
      await waitUntil(async () => (await memoryOf(cut.page)).curve.length > 120, 'a curve', TIMEOUT_MS);
      expect((await memoryOf(cut.page)).late).toBe(0);

      const number = async (id: string) => Number((await shown(cut.page, id)).replace(' ms', ''));
      for (const id of ['conn-latency', 'conn-jitter']) {
        await waitUntil(async () => (await number(id)) >= 0, id, PATIENCE_MS);
      }
      expect(await shown(cut.page, 'conn-grade')).toMatch(/^(excellent|good|fair|poor)$/);
      expect([await shown(cut.page, 'conn-state'), await number('conn-reconnects')]).toEqual(['connected', 0]);

      // By keyboard, and the focus stays where it is.
      await testId(cut.page, 'act-cut').focus();
      await cut.page.keyboard.press('Enter');
      await waitUntil(async () => (await state(cut.page)) === 'reconnecting', 'tab that is off', PATIENCE_MS);
      await facts(cut.page, 'cut-facts', /^Off/);
      expect([await shown(cut.page, 'conn-grade'), await shown(cut.page, 'tabs-count')]).toEqual(['unknown', 'not connected']);
      expect(await testId(cut.page, 'act-cut').getAttribute('aria-disabled')).toBe('true');
      const held = (await memoryOf(cut.page)).curve.length;
      const [, away, replayed, late] = await facts(
        cut.page,
        'cut-facts',
        /^Away for ([\d.]+) s\. ([\d,]+) missed messages came first, in order; (\d+) of them/,
      );
      expect(Number(away)).toBeGreaterThanOrEqual(5);
      await live(cut.page);
      await chartsMove(cut.page);

      // A tab that stayed has the same curve, point for point.
      const [a, b] = await Promise.all([memoryOf(stays.page), memoryOf(cut.page)]);
      expect(ahead(a.curve, b.curve)).toBeDefined();
      expect(b.curve.length).toBeGreaterThan(Math.min(held + 10, 599));
      expect(b.late).toBeGreaterThanOrEqual(10);
      expect(Math.abs(b.late - Number(late))).toBeLessThanOrEqual(1);
      // Its new socket was sent what followed, from the first, as the page says.
      const topic = (sockets.at(-1) ?? []).filter(({ tp }) => tp === 'system.memory');
      expect(topic.length).toBeGreaterThanOrEqual(b.late);
      expect(topic.map(({ o }) => o)).toEqual(topic.map((_, n) => (topic[0]?.o ?? 0) + n));
      expect(Number(replayed?.replaceAll(',', ''))).toBeGreaterThanOrEqual(4 * b.late);
      // Each topic's gap, and how many messages filled it.
      const gaps = await testId(cut.page, 'gaps').locator('li').allTextContents();
      const filled = new Map(gaps.map((text) => /^([a-z.]+)([\d,]+)$/.exec(text)?.slice(1) as [string, string]));
      expect(Math.abs(Number(filled.get('system.memory')) - b.late)).toBeLessThanOrEqual(1);
      const sum = [...filled.values()].reduce((sum, n) => sum + Number(n.replaceAll(',', '')), 0);
      expect(sum).toBeGreaterThanOrEqual(Number(replayed?.replaceAll(',', '')));
      expect([await number('conn-reconnects'), await number('conn-losses')]).toEqual([1, 0]);
      await waitUntil(async () => (await testId(cut.page, 'tabs').locator('li').count()) === 2, 'both present', PATIENCE_MS);
      const focused = '(globalThis.document.activeElement || {}).id';
      expect(await cut.page.evaluate(focused)).toBe('act-cut');
      expect([...stays.complaints, ...cut.complaints]).toEqual([]);
      child.signal('SIGINT');
      expect(await child.ended).toBe(0);
      expect(child.err).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
