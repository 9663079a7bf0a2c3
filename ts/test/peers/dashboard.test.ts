/** The dashboard as a person uses it: in a browser, started as `npm start` starts it once everything is built. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitUntil } from '../support/wait.js';
import { launchBrowser, openPage as open, PATIENCE_MS, START_MS, type Tab } from './browser.js';
import { chartsMove, dashboard, facts, live, shown, started, state, TIMEOUT_MS, testId } from './dashboard.js';

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
}, START_MS);

afterAll(async () => browser?.close());

const openPage = (url: string): Promise<Tab> => open(browser, url);

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
        const tabs = testId(page, 'tabs').locator('li');
        await waitUntil(async () => (await tabs.count()) === 2, 'both tabs are present', PATIENCE_MS);
        expect(await tabs.locator('text=this tab').count()).toBe(1);
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

  it('says within seconds that nothing comes any more', async () => {
    await using child = dashboard('--port', '0');
    await using tab = await openPage(await started(child));
    await live(tab.page);
    child.signal('SIGSTOP');
    await waitUntil(async () => (await state(tab.page)) === 'quiet', 'word of the silence', PATIENCE_MS);
    expect(await shown(tab.page, 'state')).toContain('No signal');
    child.signal('SIGCONT');
    await live(tab.page);
    child.signal('SIGINT');
    expect(await child.ended).toBe(0);
  });
});

/** The place of a value on a slider, whose scale is logarithmic in a thousand steps. */
const place = (value: number, min: number, max: number): string =>
  String(5 * Math.round((200 * Math.log(value / min)) / Math.log(max / min)));

const number = async (page: Page, id: string): Promise<number> => Number((await shown(page, id)).replaceAll(',', ''));

/** Polls until a number on the page is more than `least`. */
const above = (page: Page, id: string, least: number) =>
  waitUntil(async () => (await number(page, id)) > least, `${id} above ${least}`, TIMEOUT_MS);

describe('the load of the dashboard', () => {
  it(
    'runs, survives what is done to it, and stands beside ws',
    async () => {
      await using child = dashboard('--port', '0');
      await using tab = await openPage(await started(child));
      const { page } = tab;
      await live(page);
      await testId(page, 'run-rate').fill(place(200, 1, 1000));
      await testId(page, 'run-size').fill(place(2000, 32, 16_384));
      await testId(page, 'run-connections').fill(place(200, 1, 10_000));
      await facts(page, 'run-open', /^200 connected/);
      await above(page, 'run-deliveries', 1000);
      await above(page, 'run-p99', 0);
      expect(await number(page, 'run-p50')).toBeGreaterThan(0);
      await facts(page, 'run-threads', /Shard 0|and the engine/);

      // One that reads nothing: messages wait for it, then it loses some; the others hear on.
      await testId(page, 'act-freeze').click();
      await facts(page, 'freeze-facts', /[1-9][\d,.]* \w*B of 256 KiB queued/);
      await facts(page, 'freeze-facts', /[1-9]\d* dropped/);
      await above(page, 'run-deliveries', 1000);
      await testId(page, 'act-freeze').click();
      await facts(page, 'freeze-facts', /it lost [1-9]/);

      await testId(page, 'act-block').click();
      const [, answered, pings] = await facts(page, 'block-facts', /(\d+) of (\d+) pings were answered/);
      expect(Number(pings)).toBeGreaterThan(5);
      // An engine on the event loop of the blocked thread answers nobody, and the page says so.
      if (/Shard 0/.test(await shown(page, 'run-threads'))) expect(Number(answered)).toBeGreaterThan(Number(pings) / 2);

      await testId(page, 'act-restart').click();
      await facts(page, 'restart-facts', /^All 200 were back \d+ ms after/);
      await above(page, 'run-deliveries', 1000);
      await facts(page, 'compare', /Deliveries per second[1-9]/);

      await testId(page, 'run-ws').click();
      await facts(page, 'compare', /Deliveries per second[\d,]+[1-9][\d,]*publish/);
      await waitUntil(
        async () => /Memory per connection\S+ \w+B\S+ \w+B/.test(await shown(page, 'compare')),
        'memory',
        TIMEOUT_MS,
      );
      await testId(page, 'run-start').click();
      await facts(page, 'run-note', /Move a slider/);
      expect(await shown(page, 'run-deliveries')).toBe('\u2013');
      expect(tab.complaints).toEqual([]);
      child.signal('SIGINT');
      expect(await child.ended).toBe(0);
      expect(child.err).toEqual([]);
    },
    3 * TIMEOUT_MS,
  );

  it('leaves no process behind when it is killed', async () => {
    await using child = dashboard('--port', '0');
    await using tab = await openPage(await started(child));
    await live(tab.page);
    await testId(tab.page, 'run-connections').fill(place(20, 1, 10_000));
    await facts(tab.page, 'run-open', /^20 connected/);
    const children = childrenOf(child.pid);
    if (existsSync('/proc/self/task')) expect(children.length).toBeGreaterThanOrEqual(2);
    child.signal('SIGKILL');
    await waitUntil(() => children.every((pid) => !existsSync(`/proc/${pid}/cmdline`) || ended(pid)), 'end of all', PATIENCE_MS);
  });

  it('does not believe a page', async () => {
    await using child = dashboard('--port', '0');
    const url = await started(child);
    await using tab = await openPage(url);
    await live(tab.page);
    const nasty: Sent[] = [
      { t: 'load_set', p: { server: '../../x', connections: 1, rate: 1, size: 32 } },
      { t: 'load_set', p: { server: 'wse', connections: 1e9, rate: 1, size: 32 } },
      { t: 'load_set', p: { server: 'wse', connections: '5', rate: [], size: null } },
      { t: 'load_set', p: { server: 'wse', connections: 5, rate: 1.5, size: 1 } },
      { t: 'load_freeze', p: { frozen: true } },
      { t: 'load_restart', p: 7 },
      { t: 'load_block' },
      { t: '__proto__', p: {} },
      { t: 'load_constructor', p: {} },
    ];
    const answers = await tab.page.evaluate(say, nasty);
    expect(answers.filter(({ t, p }) => t === 'error' && p?.['code'] === 'LOAD_REFUSED')).toHaveLength(7);
    expect(await state(tab.page)).toBe('live');
    child.signal('SIGTERM');
    expect(await child.ended).toBe(0);
    expect(child.err).toEqual([]);
  });

  it(
    'fits on a phone',
    async () => {
      await using child = dashboard('--port', '0');
      const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: 'dark' } as const;
      await using tab = await open(browser, await started(child), phone);
      const { page } = tab;
      await live(page);
      await testId(page, 'run-connections').fill(place(50, 1, 10_000));
      await facts(page, 'run-open', /^50 connected/);
      await facts(page, 'compare', /Deliveries per second[1-9]/);
      const width = () => page.evaluate('document.documentElement.scrollWidth');
      expect(await width()).toBe(390);
      // By keyboard: the slider is reached and moves.
      await testId(page, 'run-connections').focus();
      await page.keyboard.press('End');
      await facts(page, 'run-note', /Connecting|client|Starting/);
      await page.keyboard.press('Home');
      await facts(page, 'run-open', /^1 connected/);
      expect(await width()).toBe(390);
      expect(tab.complaints).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** Children of a process, from /proc; elsewhere none. */
function childrenOf(pid: number): number[] {
  if (!existsSync('/proc/self/task')) return [];
  const own = (entry: string) => {
    try {
      return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${entry}/stat`, 'latin1'))?.[1]) === pid;
    } catch {
      return false; // it has ended
    }
  };
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && own(entry))
    .map(Number);
}

/** A process nobody waits for stays in the table until its new parent has noticed. */
function ended(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return true;
  }
}

/** What a page may say: anything. */
interface Sent {
  t: string;
  p?: unknown;
}

interface Said {
  t: string;
  p?: Record<string, unknown>;
}

/** Runs in the page: sends each message on a socket of its own making, and answers with what came back. */
async function say(messages: Sent[]): Promise<Said[]> {
  const scope = globalThis as unknown as {
    fetch(url: string): Promise<{ json(): Promise<{ url: string }> }>;
    WebSocket: new (url: string) => { send(text: string): void; onmessage: (event: { data: string }) => void; onopen(): void };
  };
  const { url } = await (await scope.fetch('/config.json')).json();
  const socket = new scope.WebSocket(url);
  const heard: Said[] = [];
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data) as Said);
  await new Promise<void>((resolve) => (socket.onopen = resolve));
  for (const message of messages) socket.send(JSON.stringify(message));
  socket.send('{"t":"publish","p":{"topic":"nowhere"}}');
  // The answer to the last comes after all others.
  while (!heard.some(({ p }) => p?.['code'] === 'PUBLISH_REFUSED')) await new Promise((resolve) => setTimeout(resolve, 50));
  return heard;
}
