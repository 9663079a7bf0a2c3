/** A browser: its own WebSocket on a bare page, and the dashboard as a person uses it. */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startServer, waitUntil } from '../support/server.js';
import { Child, echo, findChromium, PING } from './harness.js';

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PATIENCE_MS = 20_000;
const TIMEOUT_MS = 60_000;

let browser: Browser;

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: await findChromium(), args: ARGS });
}, TIMEOUT_MS);

afterAll(async () => browser?.close());

/** A page and what it complained about. */
async function openPage(url: string): Promise<{ page: Page; complaints: string[] } & AsyncDisposable> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
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

/** The dashboard as `npm start` runs it once everything is built. */
function dashboard(...args: string[]): Child {
  return new Child(process.execPath, ['examples/dashboard/server.mjs', ...args], { cwd: ROOT });
}

async function started(child: Child): Promise<string> {
  const line = await child.line((line) => line.startsWith('Dashboard of this machine: '), 'its URL', PATIENCE_MS);
  return /http:\S+/.exec(line)?.[0] ?? line;
}

const testId = (page: Page, id: string) => page.getByTestId(id);
const state = (page: Page) => testId(page, 'state').getAttribute('data-state');
const shown = async (page: Page, id: string) => (await testId(page, id).textContent()) ?? '';

async function live(page: Page): Promise<void> {
  await waitUntil(async () => (await state(page)) === 'live', 'live tab', PATIENCE_MS);
}

/** Waits until every chart has drawn more than once since. */
async function chartsMove(page: Page): Promise<void> {
  for (const id of ['cpu-chart', 'memory-chart', 'load-chart']) {
    const samples = async () => Number(await testId(page, id).getAttribute('data-samples'));
    const before = await samples();
    await waitUntil(async () => (await samples()) > before + 2, `movement of ${id}`, PATIENCE_MS);
  }
}

describe('the dashboard', () => {
  it(
    'lives in two tabs, lets them talk, stops at Ctrl-C, and comes back',
    async ({ onTestFailed }) => {
      let picture: Buffer | undefined;
      onTestFailed(() => {
        if (picture === undefined) return;
        const file = joinPath(mkdtempSync(joinPath(tmpdir(), 'wse-dashboard-')), 'tab.png');
        writeFileSync(file, picture);
        console.error(`the dashboard, when it was live: ${file}`);
      });
      await using first = dashboard('--port', '0');
      const url = await started(first);
      await using a = await openPage(url);
      await using b = await openPage(url);
      for (const { page } of [a, b]) {
        await live(page);
        await chartsMove(page);
        await waitUntil(async () => (await shown(page, 'connections')) === '2', 'two connections', PATIENCE_MS);
        await waitUntil(async () => Number(await shown(page, 'rate')) > 20, 'messages per second', PATIENCE_MS);
        await testId(page, 'process-row').nth(3).waitFor();
        await waitUntil(async () => /^\d/.test(await shown(page, 'rtt')), 'round trip', PATIENCE_MS);
        // Both clocks are this machine's: generous, because it has other work too.
        const [median, p99] = [Number(await shown(page, 'latency')), Number(await shown(page, 'age-p99'))];
        expect(median).toBeGreaterThan(0);
        expect(median).toBeLessThan(250);
        expect(p99).toBeGreaterThanOrEqual(median);
      }
      picture = await a.page.screenshot({ fullPage: true });

      const text = '<img src=x onerror="globalThis.pwned=1"><script>globalThis.pwned=1</script> & hello';
      await testId(a.page, 'chat-nick').fill('<b>me</b>');
      await testId(a.page, 'chat-input').fill(text);
      await testId(a.page, 'chat-input').press('Enter');
      for (const { page } of [a, b]) {
        const message = testId(page, 'chat-message');
        await message.waitFor();
        expect(await message.locator('p').textContent()).toBe(text);
        expect(await message.locator('b').textContent()).toBe('<b>me</b>');
        expect(await message.locator('img, script').count()).toBe(0);
        expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false);
      }
      expect(await testId(a.page, 'chat-input').inputValue()).toBe('');
      expect([...a.complaints, ...b.complaints]).toEqual([]);

      first.signal('SIGINT');
      expect(await first.ended).toBe(0);
      expect(first.err).toEqual([]);
      for (const { page } of [a, b]) {
        await waitUntil(async () => (await state(page)) === 'reconnecting', 'reconnecting tab', PATIENCE_MS);
        expect(await shown(page, 'state')).toContain('Reconnecting');
      }

      await using second = dashboard('--port', new URL(url).port);
      expect(await started(second)).toBe(url);
      for (const { page } of [a, b]) {
        await live(page);
        await chartsMove(page);
        await waitUntil(async () => (await shown(page, 'connections')) === '2', 'two connections again', PATIENCE_MS);
      }
      // While nobody answered, the browser said so in its own words; nothing else was wrong.
      const unreachable = /^(Failed to load resource|WebSocket connection to)\b/;
      expect([...a.complaints, ...b.complaints].filter((text) => !unreachable.test(text))).toEqual([]);
      second.signal('SIGTERM');
      expect(await second.ended).toBe(0);
      expect(second.err).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it('says in one line that a port is taken', async () => {
    const squatter = createTcpServer();
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
    const { port } = squatter.address() as AddressInfo;
    await using child = dashboard('--port', String(port));
    try {
      expect(await child.ended).toBe(1);
      expect(child.err).toEqual([
        expect.stringMatching(`^dashboard: port ${port} is already in use; choose another: npm start -- --port \\d+$`),
      ]);
      expect(child.out).toEqual([]);
    } finally {
      squatter.close();
    }
  });

  it.each([
    [['--port', '99999'], /^dashboard: --port must be a whole number from 0 to 65535, not "99999"$/],
    [['--port=eighty'], /^dashboard: --port must be .* not "eighty"$/],
    [['--port'], /^dashboard: --port needs a number; usage: npm start/],
    [['--prot', '1'], /^dashboard: unknown argument "--prot"; usage: npm start/],
  ])('refuses %j in one line', async (args, line) => {
    await using child = dashboard(...args);
    expect(await child.ended).toBe(1);
    expect(child.err).toEqual([expect.stringMatching(line)]);
    expect(child.out).toEqual([]);
  });
});
