/** A browser's own WebSocket, on a bare page. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startServer, waitUntil } from '../support/server.js';
import { launchBrowser, openPage as open, START_MS, type Tab } from './browser.js';
import { echo, PING } from './harness.js';

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
}, START_MS);

afterAll(async () => browser?.close());

const openPage = (url: string): Promise<Tab> => open(browser, url);

/** Serves an empty page, on two origins. */
async function blankSite(): Promise<{ origin: string; other: string } & AsyncDisposable> {
  const server = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<!doctype html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    other: `http://localhost:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Opens a WebSocket in the page as `socket`, with what it hears but the engine's pings in `heard`. */
function openSocket(page: Page, port: number): Promise<string> {
  return page.evaluate(
    ({ url, ignore }) => {
      const scope = globalThis as unknown as BrowserScope;
      const socket = new scope.WebSocket(url);
      const heard: unknown[] = [];
      Object.assign(scope, { socket, heard });
      socket.binaryType = 'arraybuffer';
      return new Promise<string>((resolve) => {
        socket.onopen = () => resolve(`open, protocol '${socket.protocol}', extensions '${socket.extensions}'`);
        socket.onmessage = ({ data }) => {
          if (typeof data !== 'string') heard.push([...new Uint8Array(data)]);
          else if (!data.startsWith(ignore)) heard.push(data);
        };
        socket.onclose = ({ code, reason, wasClean }) => {
          heard.push({ code, reason, wasClean });
          resolve(`closed ${code}`);
        };
      });
    },
    { url: `ws://127.0.0.1:${port}/wse`, ignore: PING },
  );
}

interface BrowserSocket {
  binaryType: string;
  protocol: string;
  extensions: string;
  onopen: () => void;
  onmessage: (event: { data: string | ArrayBuffer }) => void;
  onclose: (event: { code: number; reason: string; wasClean: boolean }) => void;
  send(data: string | Uint8Array): void;
  close(code: number, reason: string): void;
}

/** What the page has; the tests are compiled without the DOM's types. */
interface BrowserScope {
  WebSocket: new (url: string, protocols?: string[]) => BrowserSocket;
  socket: BrowserSocket;
  heard: unknown[];
}

const heard = (page: Page): Promise<unknown[]> => page.evaluate(() => (globalThis as unknown as BrowserScope).heard);

async function heardMany(page: Page, n: number): Promise<unknown[]> {
  await page.waitForFunction((n) => (globalThis as unknown as BrowserScope).heard.length >= n, n);
  return heard(page);
}

describe("the browser's WebSocket", () => {
  it('stays connected although the page only listens, and hears what it is sent as text', async () => {
    await using site = await blankSite();
    const times = { pingInterval: 0.3, idleTimeout: 1 };
    await using host = await startServer({ allowedOrigins: [site.origin], serverReady: false, ...times });
    await using tab = await openPage(site.origin);
    await openSocket(tab.page, host.port);
    const [, conn] = await host.take('connect');
    await tab.page.waitForTimeout(4000);
    expect(await heard(tab.page)).toEqual([]);
    const event = { t: 'x', id: '1', ts: '', seq: 0, p: 'y'.repeat(3000) };
    expect(host.server.sendEvent(conn, event)).toBeGreaterThan(3000);
    const [text] = await heardMany(tab.page, 1);
    expect(JSON.parse(text as string)).toEqual({ ...event, c: 'U', v: 1 });
    // Counted once it is written; nobody was pinged in text.
    await waitUntil(() => host.metric('wse_messages_sent_total') === 1, 'the one message');
  });

  it('gets the subprotocol it asked for', async () => {
    await using site = await blankSite();
    await using host = await startServer({ allowedOrigins: [site.origin], protocol: 'raw', protocols: ['chat.v1'] });
    await using tab = await openPage(site.origin);
    const protocol = await tab.page.evaluate((url) => {
      const socket = new (globalThis as unknown as BrowserScope).WebSocket(url, ['mqtt', 'chat.v1']);
      return new Promise<string>((resolve) => {
        socket.onopen = () => resolve(socket.protocol);
        socket.onclose = ({ code }) => resolve(`closed ${code}`);
      });
    }, `ws://127.0.0.1:${host.port}/`);
    expect(protocol).toBe('chat.v1');
    const [, conn] = await host.take('connect');
    expect(host.server.getConnectionProtocol(conn)).toBe('chat.v1');
  });

  it('talks in text and in bytes', async () => {
    await using site = await blankSite();
    await using host = await startServer({ allowedOrigins: [site.origin], onEvent: echo });
    await using tab = await openPage(site.origin);
    expect(await openSocket(tab.page, host.port)).toBe("open, protocol '', extensions ''");
    await tab.page.evaluate(() => {
      const { socket } = globalThis as unknown as BrowserScope;
      socket.send('gr\u{fc}\u{df} \u{1f980}');
      socket.send(new Uint8Array([0, 1, 254, 255]));
      socket.send('x'.repeat(1024 * 1024));
    });
    const [ready, text, bytes, large] = await heardMany(tab.page, 4);
    expect(ready).toContain('"t":"server_ready"');
    expect([text, bytes]).toEqual(['gr\u{fc}\u{df} \u{1f980}', [0, 1, 254, 255]]);
    expect(large === 'x'.repeat(1024 * 1024)).toBe(true);
    expect(tab.complaints).toEqual([]);
  });

  it('hears and sends close codes', async () => {
    await using site = await blankSite();
    await using host = await startServer();
    await using kicked = await openPage(site.origin);
    await using drained = await openPage(site.origin);
    await using leaving = await openPage(site.origin);
    await openSocket(kicked.page, host.port);
    const [, conn] = await host.take('connect');
    await openSocket(leaving.page, host.port);
    const [, gone] = await host.take('connect');
    await openSocket(drained.page, host.port);

    host.server.disconnect(conn, { reason: 'moved' });
    expect((await heardMany(kicked.page, 2))[1]).toEqual({ code: 4300, reason: 'moved', wasClean: true });
    await leaving.page.evaluate(() => (globalThis as unknown as BrowserScope).socket.close(4001, 'bye'));
    await host.take('disconnect', gone);
    expect((await heardMany(leaving.page, 2))[1]).toMatchObject({ code: 4001, wasClean: true });
    expect(await host.server.drain({ timeout: 5, reason: 'restart' })).toBe(true);
    expect((await heardMany(drained.page, 2))[1]).toEqual({ code: 4300, reason: 'restart', wasClean: true });
  });

  it('is let in from an allowed origin only', async () => {
    await using site = await blankSite();
    await using host = await startServer({ allowedOrigins: [site.origin] });
    await using allowed = await openPage(site.origin);
    await using foreign = await openPage(site.other);
    expect(await openSocket(allowed.page, host.port)).toMatch(/^open/);
    expect(await openSocket(foreign.page, host.port)).toBe('closed 1006');
    expect(host.server.getConnectionCount()).toBe(1);
  });

  it('hears 10,000 broadcasts in order', async () => {
    const MESSAGES = 10_000;
    await using site = await blankSite();
    await using host = await startServer();
    await using tab = await openPage(site.origin);
    await openSocket(tab.page, host.port);
    const [, conn] = await host.take('connect');
    host.server.subscribeConnection(conn, ['flood']);
    for (let i = 0; i < MESSAGES; i += 1) {
      if (!host.server.broadcast('flood', `{"t":"n","p":${i}}`)) await host.server.drained();
    }
    const [, ...frames] = await heardMany(tab.page, MESSAGES + 1);
    expect(frames.map((text) => JSON.parse(text as string).p)).toEqual(Array.from({ length: MESSAGES }, (_, i) => i));
  });
});
