/** A thousand messages a second into a tab of the dashboard: none is lost, and it draws once a frame. */

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchBrowser, openPage, START_MS } from './browser.js';
import { dashboard, live, started, TIMEOUT_MS } from './dashboard.js';

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
}, START_MS);

afterAll(async () => browser?.close());

const MESSAGES = 3000;

it(
  'draws once a frame however much comes, and loses nothing',
  async () => {
    await using child = dashboard('--port', '0');
    await using tab = await openPage(browser, await started(child));
    // The page's own socket is kept, so that frames can come out of it that no server has sent.
    await tab.page.addInitScript(keepSocket);
    await tab.page.reload();
    await live(tab.page);
    const { taken, drawn, commits, frames } = await tab.page.evaluate(flood, MESSAGES);
    console.error(`${MESSAGES} messages: ${frames} frames, ${drawn} drawings of a chart, ${commits} changes of the panels`);
    // Among the readings of this machine, whose memory is larger.
    const ours = taken.filter((value) => value <= MESSAGES);
    expect(ours).toEqual(Array.from({ length: MESSAGES }, (_, n) => n + 1));
    expect(drawn).toBeGreaterThan(0);
    expect(drawn).toBeLessThanOrEqual(frames + 1);
    expect(commits).toBeGreaterThan(0);
    expect(commits).toBeLessThanOrEqual(frames + 1);
    expect(tab.complaints).toEqual([]);
    child.signal('SIGINT');
    expect(await child.ended).toBe(0);
    expect(child.err).toEqual([]);
  },
  TIMEOUT_MS,
);

interface Chart {
  drawn: number;
  push(values: number[], late: boolean): void;
}

interface Page {
  WebSocket: new (url: string, protocols?: string[]) => EventTarget;
  socket: EventTarget;
  document: { getElementById(id: string): { chart: Chart } };
  MutationObserver: new (fn: () => void) => { observe(node: unknown, options: object): void; disconnect(): void };
  MessageEvent: new (type: string, init: { data: string }) => Event;
  requestAnimationFrame(fn: () => void): void;
}

function keepSocket(): void {
  const page = globalThis as unknown as Page;
  page.WebSocket = class extends page.WebSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols);
      page.socket = this;
    }
  };
}

/** Runs in the page: so many readings, ten every ten milliseconds, with each ten a tab that comes or goes, and what became of them. */
async function flood(messages: number) {
  const page = globalThis as unknown as Page;
  const { chart } = page.document.getElementById('memory-chart');
  const taken: number[] = [];
  const push = chart.push.bind(chart);
  chart.push = (values, late) => {
    taken.push(...values);
    push(values, late);
  };
  let [frames, commits] = [0, 0];
  let over = false;
  const frame = () => {
    frames++;
    if (!over) page.requestAnimationFrame(frame);
  };
  const changes = new page.MutationObserver(() => commits++);
  changes.observe(page.document.getElementById('own'), { subtree: true, childList: true, characterData: true });
  await new Promise<void>((resolve) => page.requestAnimationFrame(resolve));
  const before = chart.drawn;
  page.requestAnimationFrame(frame);
  const began = performance.now();
  const say = (c: string, t: string, p: object) =>
    page.socket.dispatchEvent(new page.MessageEvent('message', { data: JSON.stringify({ c, t, p }) }));
  let sent = 0;
  while (sent < messages) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    // As many as are due: a timer that comes late makes it no slower.
    for (const due = Math.min(messages, performance.now() - began); sent < due; ) {
      const at = Date.now();
      say('U', 'system.memory', { used: ++sent, total: messages, cache: 0, swapTotal: 0, swapUsed: 0, at });
      if (sent % 10 > 0) continue;
      const type = sent % 20 > 0 ? 'presence_join' : 'presence_leave';
      say('WSE', type, { user_id: 'somebody', data: { since: at }, topic: 'tabs' });
    }
  }
  await new Promise<void>((resolve) => page.requestAnimationFrame(() => page.requestAnimationFrame(resolve)));
  over = true;
  changes.disconnect();
  return { taken, drawn: chart.drawn - before, commits, frames };
}
