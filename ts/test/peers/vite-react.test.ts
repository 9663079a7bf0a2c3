/** The example with Vite and React, as its README says: built and opened in a browser, and reloaded while somebody works on it. */

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { build, createServer } from 'vite';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { waitUntil } from '../support/wait.js';
import { launchBrowser, openPage, PATIENCE_MS, START_MS } from './browser.js';
import { Child } from './harness.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const EXAMPLE = join(ROOT, 'examples', 'vite-react');

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
}, START_MS);

afterAll(async () => browser?.close());

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wse-vite-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const serve = (port: string, dist: string) =>
  new Child(process.execPath, ['examples/vite-react/server.mjs'], { env: { ...process.env, PORT: port, DIST: dist } });
const address = (child: Child) => child.line((line) => line.startsWith('http:'), 'its address', PATIENCE_MS);
const state = (page: Page, name: string) => page.locator(`[data-state=${name}]`).waitFor();
const here = (page: Page) => page.getByLabel('Here').locator('li').allTextContents();

it('shows prices, a room and who is in it, and comes back after a restart', async () => {
  const dist = temporary();
  await build({ configFile: join(EXAMPLE, 'vite.config.mjs'), logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } });
  await using first = serve('0', dist);
  const origin = await address(first);
  await using ada = await openPage(browser, `${origin}/?name=Ada`);
  await using bob = await openPage(browser, `${origin}/?name=Bob`);
  for (const { page } of [ada, bob]) {
    await state(page, 'connected');
    await waitUntil(async () => (await here(page)).sort().join() === 'Ada,Bob', 'both are here', PATIENCE_MS);
  }
  const price = ada.page.locator('article', { hasText: 'ACME' }).locator('output');
  const before = await price.textContent();
  await waitUntil(async () => (await price.textContent()) !== before, 'another price', PATIENCE_MS);

  const say = async (page: Page, text: string): Promise<void> => {
    await page.getByLabel('Say', { exact: true }).first().fill(text);
    await page.getByRole('button', { name: 'Say' }).click();
  };
  await say(ada.page, '<b>hi</b>');
  const lines = (page: Page) => page.getByLabel('Lines').locator('li').allTextContents();
  for (const { page } of [ada, bob])
    await waitUntil(async () => (await lines(page)).join() === 'Ada <b>hi</b>', 'a line', PATIENCE_MS);
  await say(ada.page, ' ');
  expect(await ada.page.getByRole('alert').textContent()).toBe('Nothing was said.');
  // Who comes later begins with what was said.
  await using eve = await openPage(browser, `${origin}/?name=Eve`);
  await waitUntil(async () => (await lines(eve.page)).join() === 'Ada <b>hi</b>', 'the room so far', PATIENCE_MS);
  await eve.page.getByLabel('Your name').fill('Mallory');
  await eve.page.getByRole('button', { name: 'Rename' }).click();
  await waitUntil(async () => (await here(bob.page)).sort().join() === 'Ada,Bob,Mallory', 'another name', PATIENCE_MS);

  first.signal('SIGTERM');
  expect(await first.ended).toBe(0);
  await state(ada.page, 'reconnecting');
  await using second = serve(new URL(origin).port, dist);
  await address(second);
  for (const { page } of [ada, bob]) await state(page, 'connected');
  await say(bob.page, 'again');
  await waitUntil(async () => (await lines(ada.page)).at(-1) === 'Bob again', 'a line', PATIENCE_MS);
  const complaints = [ada, bob, eve].flatMap((tab) => tab.complaints);
  expect(complaints.filter((line) => !/WebSocket connection to/.test(line))).toEqual([]);
  second.signal('SIGTERM');
  expect(await second.ended).toBe(0);
  expect([...first.err, ...second.err]).toEqual([]);
}, 90_000);

it('keeps its socket while its components are edited', async () => {
  const folder = temporary();
  cpSync(EXAMPLE, folder, { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'), 'junction');
  await using engine = serve('0', folder);
  const target = (await address(engine)).replace('http', 'ws');
  const vite = await createServer({
    configFile: join(folder, 'vite.config.mjs'),
    root: folder,
    cacheDir: join(folder, 'cache'),
    logLevel: 'warn',
    server: { port: 0, host: '127.0.0.1', proxy: { '/wse': { target, ws: true } }, fs: { strict: false } },
  });
  onTestFinished(() => vite.close());
  await vite.listen();
  await using tab = await openPage(browser, 'about:blank');
  const sockets: string[] = [];
  tab.page.on('websocket', (socket) => sockets.push(new URL(socket.url()).pathname));
  await tab.page.goto(`${vite.resolvedUrls?.local[0]}?name=Ada`);
  await state(tab.page, 'connected');
  await waitUntil(async () => (await here(tab.page)).join() === 'Ada', 'presence', PATIENCE_MS);
  await tab.page.evaluate(() => Object.assign(globalThis, { marked: true }));

  const file = join(folder, 'src', 'app.jsx');
  const edit = (...changes: [from: string, to: string][]): void => {
    let text = readFileSync(file, 'utf8');
    for (const [from, to] of changes) {
      expect(text).toContain(from);
      text = text.replace(from, to);
    }
    writeFileSync(file, text);
  };
  edit(['<h1>Prices and a room</h1>', '<h1>Edited</h1>']);
  await tab.page.getByText('Edited').waitFor();
  // With another hook React unmounts the component and mounts it anew, the provider and all.
  edit(['<h1>Edited</h1>', '<h1>Edited {again}</h1>'], ['const [name', "const [again] = useState('again');\n  const [name"]);
  await tab.page.getByText('Edited again').waitFor();
  const price = tab.page.locator('article', { hasText: 'ACME' }).locator('output');
  const before = await price.textContent();
  await waitUntil(async () => (await price.textContent()) !== before, 'another price', PATIENCE_MS);
  // The page was not loaded anew, and neither was its socket.
  expect(await tab.page.evaluate(() => 'marked' in globalThis)).toBe(true);
  expect(sockets.filter((path) => path === '/wse')).toEqual(['/wse']);
  expect(await here(tab.page)).toEqual(['Ada']);
  expect(tab.complaints).toEqual([]);
  engine.signal('SIGTERM');
  expect(await engine.ended).toBe(0);
}, 90_000);
