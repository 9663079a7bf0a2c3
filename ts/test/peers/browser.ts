/** A Chromium and its pages, for the tests of this folder. */

import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { findChromium } from './harness.js';

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** How long a page may take for one thing, in milliseconds. */
export const PATIENCE_MS = 20_000;
/** How long a browser may take to start, in milliseconds. */
export const START_MS = 60_000;

/** A page and what it complained about. */
export interface Tab extends AsyncDisposable {
  readonly page: Page;
  /** Errors and warnings of its console, and exceptions nobody caught. */
  readonly complaints: string[];
}

export const launchBrowser = async (): Promise<Browser> => chromium.launch({ executablePath: await findChromium(), args: ARGS });

/** Opens a page in a context of its own. */
export async function openPage(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Tab> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(url);
  return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
}
