/** A site of a test's own and a browser for it; both are gone with the test. */

import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { onTestFinished } from 'vitest';
import { launchBrowser } from '../../../ts/test/peers/browser.js';

/** Where a site is, and what visits it. */
export interface Site {
  readonly origin: string;
  readonly browser: Browser;
}

/** Answers a browser's requests, on a free port. */
export async function openSite(answer: RequestListener): Promise<Site> {
  const site = createServer(answer);
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  const browser = await launchBrowser();
  onTestFinished(async () => {
    await browser.close();
    site.closeAllConnections();
    site.close();
  });
  return { origin: `http://127.0.0.1:${(site.address() as AddressInfo).port}`, browser };
}
