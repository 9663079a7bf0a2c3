/** The examples' page, in a browser. */

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchBrowser, openPage, PATIENCE_MS, START_MS } from './browser.js';
import { Child } from './harness.js';

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
}, START_MS);

afterAll(async () => browser?.close());

it('hears what another page says, as text, and comes back after a restart', async () => {
  const start = (port: string) =>
    new Child(process.execPath, ['examples/browser/server.mjs'], { env: { ...process.env, PORT: port } });
  await using first = start('0');
  const origin = await first.line((line) => line.startsWith('http:'), 'its address', PATIENCE_MS);
  await using a = await openPage(browser, origin);
  await using b = await openPage(browser, origin);
  for (const { page } of [a, b]) await page.getByText('Connected').waitFor();
  const text = '<img src=x onerror="document.title=1"> & hello';
  await a.page.getByLabel('Message').fill(text);
  await a.page.getByRole('button').click();
  for (const { page } of [a, b]) expect(await page.locator('li').textContent()).toBe(text);

  first.signal('SIGTERM');
  expect(await first.ended).toBe(0);
  await a.page.getByText('Reconnecting').waitFor();
  await using second = start(new URL(origin).port);
  await second.line((line) => line === origin, 'the same address', PATIENCE_MS);
  await a.page.getByText('Connected').waitFor();
  expect(
    [...a.complaints, ...b.complaints].filter((line) => !/Failed to load resource|WebSocket connection to|favicon/.test(line)),
  ).toEqual([]);
  second.signal('SIGTERM');
  expect(await second.ended).toBe(0);
  expect([...first.err, ...second.err]).toEqual([]);
});
