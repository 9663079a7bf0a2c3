/** The dashboard for its tests: started as `npm start` starts it once everything is built, and what a page of it shows. */

import { fileURLToPath } from 'node:url';
import type { Locator, Page } from 'playwright-core';
import { waitUntil } from '../support/wait.js';
import { PATIENCE_MS } from './browser.js';
import { Child } from './harness.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** How long a test of it may take, in milliseconds. */
export const TIMEOUT_MS = 60_000;

/** The process, with the words of its command line. */
export function dashboard(...args: string[]): Child {
  return new Child(process.execPath, ['examples/dashboard/server.mjs', ...args], { cwd: ROOT });
}

/** The page's address, once it is served. */
export async function started(child: Child): Promise<string> {
  const line = await child.line((line) => line.startsWith('Dashboard of this machine: '), 'its URL', PATIENCE_MS);
  return /http:\S+/.exec(line)?.[0] ?? line;
}

/** A part of the page. */
export const testId = (page: Page, id: string): Locator => page.getByTestId(id);
/** `live`, `reconnecting`, … */
export const state = (page: Page): Promise<string | null> => testId(page, 'state').getAttribute('data-state');
/** The text of a part of the page. */
export const shown = async (page: Page, id: string): Promise<string> => (await testId(page, id).textContent()) ?? '';

/** Waits until the tab is connected and hears something. */
export async function live(page: Page): Promise<void> {
  await waitUntil(async () => (await state(page)) === 'live', 'live tab', PATIENCE_MS);
}

/** Waits until every chart has drawn more than once since. */
export async function chartsMove(page: Page): Promise<void> {
  for (const id of ['cpu-chart', 'memory-chart', 'load-chart']) {
    const samples = async () => Number(await testId(page, id).getAttribute('data-samples'));
    const before = await samples();
    await waitUntil(async () => (await samples()) > before + 2, `movement of ${id}`, PATIENCE_MS);
  }
}

/** Waits until a part of the page says this. */
export const facts = (page: Page, id: string, wanted: RegExp): Promise<RegExpExecArray> =>
  waitUntil(async () => wanted.exec(await shown(page, id)) ?? undefined, `${wanted} in ${id}`, TIMEOUT_MS);
