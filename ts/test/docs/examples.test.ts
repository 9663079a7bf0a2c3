// Every example runs, does what its first line says, and ends cleanly.

import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { Client } from './client.js';
import { Program } from './run.js';

test('no example is forgotten', () => {
  const files = readdirSync(new URL('../../../examples', import.meta.url)).filter((name) => name !== 'README.md');
  // The dashboard and the pages have tests of their own, in a browser; Next.js is 340 MB, and tried by hand.
  expect(files.sort()).toEqual([
    'browser',
    'chat.mjs',
    'dashboard',
    'echo.mjs',
    'express.mjs',
    'fastify.mjs',
    'jwks.mjs',
    'market.mjs',
    'next',
    'nginx',
    'node-client.mjs',
    'own-port.mjs',
    'tokens.mjs',
    'vite-react',
    'workers.mjs',
  ]);
});

test('chat', async () => {
  const program = new Program(['examples/chat.mjs']);
  const url = await program.firstLine();
  const [ann, bob, eve] = [await Client.open(url), await Client.open(url), await Client.open(url)];
  // A room called * is no other's, and a text that cannot become one does nothing; a room's answer comes after both.
  eve.send('join', { room: '*' });
  eve.send('say', { room: 'tea', text: { toString: null, valueOf: null } });
  eve.send('join', { room: 'eve' });
  expect((await eve.next('joined')).p['members']).toBe(1);
  ann.send('join', { room: 'tea' });
  expect((await ann.next('joined')).p['members']).toBe(1);
  bob.send('join', { room: 'tea' });
  expect((await bob.next('joined')).p['members']).toBe(2);
  ann.send('say', { room: 'tea', text: '<b>hi</b>' });
  expect((await bob.next('said')).p['text']).toBe('<b>hi</b>');
  // Of all that eve hears, what was said in another room is none.
  eve.send('say', { room: 'eve', text: 'me' });
  expect((await eve.next('said')).p['text']).toBe('me');
  const closed = [ann.closed(), bob.closed()];
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
  expect(await Promise.all(closed)).toEqual([4300, 4300]);
});

test('chat survives whatever a client sends', async () => {
  const program = new Program(['examples/chat.mjs']);
  const url = await program.firstLine();
  const ann = await Client.open(url);
  ann.send('join', { room: 'tea' });
  await ann.next('joined');

  const nasty = new WebSocket(url);
  await once(nasty, 'open');
  const values: unknown[] = [
    null,
    7,
    '',
    [],
    {},
    { toString: null },
    '*',
    '?',
    'tea.*',
    '../tea',
    '\u0000',
    '\ud800',
    'x'.repeat(65),
    { length: 3 },
  ];
  for (const t of ['join', 'leave', 'say', '__proto__', 'constructor']) {
    for (const room of values) for (const text of values) nasty.send(JSON.stringify({ t, p: { room, text } }));
  }
  for (const p of values) nasty.send(JSON.stringify({ t: 'say', p }));
  for (const text of [
    '',
    '{',
    '[]',
    'null',
    '{"t":{}}',
    '{"t":"join"}',
    '{"__proto__":{"t":"join"}}',
    '{"t":"say","p":{"room":"\\ud800"}}',
  ]) {
    nasty.send(text);
  }
  nasty.send(Buffer.from([0x43, 0x3a, 1, 2, 3])); // no zlib
  nasty.send(Buffer.from([0x4d, 0x3a, 0xc1])); // no MessagePack
  for (let i = 0; i < 40; i += 1) nasty.send(JSON.stringify({ t: 'join', p: { room: `r${i}` } }));
  const refused = new Promise<void>((resolve) => {
    nasty.on(
      'message',
      (data) => String(data).includes('"refused"') && String(data).includes('WSE_SUBSCRIPTION_LIMIT') && resolve(),
    );
  });
  await refused;
  nasty.send('x'.repeat(5000)); // more than maxMessageSize
  expect((await once(nasty, 'close'))[0]).toBe(1009);

  ann.send('say', { room: 'tea', text: 'still here' });
  expect((await ann.next('said')).p['text']).toBe('still here');
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
});

test('market', async () => {
  const program = new Program(['examples/market.mjs']);
  const [xetra, all] = [await Client.open(await program.firstLine()), await Client.open(await program.firstLine())];
  for (const client of [xetra, all]) await client.next('welcome');
  xetra.send('subscription_update', { action: 'subscribe', topics: ['md.xetra.*', 'desk.orders', '*'] });
  expect((await xetra.next('subscription_update')).p).toMatchObject({
    success_topics: ['md.xetra.*'],
    failed_topics: ['desk.orders', '*'],
    failed_reasons: ['not_allowed', 'not_allowed'],
  });
  all.send('subscription_update', { action: 'subscribe', topics: ['md.*', 'md.????q.*'] });
  const topics = async (client: Client, quotes: number) => {
    const seen = new Set<string>();
    for (let i = 0; i < quotes; i += 1) {
      const { topic, p } = (await client.next('quote')) as unknown as { topic: string; p: { price: number } };
      expect(p.price).toBeGreaterThan(0);
      seen.add(topic);
    }
    return [...seen].sort();
  };
  expect(await topics(xetra, 20)).toEqual(['md.xetra.BMW', 'md.xetra.SAP']);
  expect(await topics(all, 30)).toEqual(['md.nasdaq.AAPL', 'md.xetra.BMW', 'md.xetra.SAP']);
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
});

test('echo', async () => {
  const program = new Program(['examples/echo.mjs']);
  const socket = new WebSocket(await program.firstLine());
  await once(socket, 'open');
  for (const [data, binary] of [
    ['{"t":"ping"}', false],
    ['', false],
    [Buffer.from('M:\x80', 'latin1'), true],
    [Buffer.alloc(3 * 2 ** 20, 'x'), true],
  ] as const) {
    socket.send(data);
    const [back, isBinary] = (await once(socket, 'message')) as [Buffer, boolean];
    expect([isBinary, back.equals(Buffer.from(data))]).toEqual([binary, true]);
  }
  const closed = once(socket, 'close');
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
  expect((await closed)[0]).toBe(4300);
});

test('workers', async () => {
  const program = new Program(['examples/workers.mjs']);
  const url = await program.firstLine();
  const clients = await Promise.all([1, 2, 3, 4].map(() => Client.open(url)));
  const threads = new Set<unknown>();
  for (const client of clients) {
    for (let n = 0; n < 20; n += 1) client.send('work', { n });
    const by = new Set<unknown>();
    for (let n = 0; n < 20; n += 1) {
      const { p } = await client.next('done');
      expect(p['n']).toBe(n);
      by.add(p['by']);
    }
    expect(by.size).toBe(1);
    threads.add([...by][0]);
  }
  expect(threads.size).toBe(2);
  // The worker of the first dies of what it says; nobody's socket does, and who serves it now has been told of it.
  const [first] = clients as [Client];
  first.send('work', { n: 0 });
  const { by: dead } = (await first.next('done')).p;
  first.send('crash', {});
  const pulse = setInterval(() => first.send('work', { n: 0 }), 20);
  let { p: heard } = await first.next('done');
  while (heard['by'] === dead) ({ p: heard } = await first.next('done'));
  clearInterval(pulse);
  expect(heard['jobs']).toBe(1);
  for (const client of clients) {
    client.send('work', { n: 999 });
    while ((await client.next('done')).p['n'] !== 999);
  }
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
});

test('tokens', async () => {
  const program = new Program(['examples/tokens.mjs']);
  const { url, ann, bob } = JSON.parse(await program.firstLine()) as Record<'url' | 'ann' | 'bob', string>;
  const [first, second] = [await Client.open(url, ann), await Client.open(url, bob)];
  expect((await first.next('welcome')).p).toEqual({ user: 'ann', news: true });
  expect((await second.next('welcome')).p).toEqual({ user: 'bob', news: false });
  first.send('job', { n: 1 });
  first.send('job', { n: 2 });
  const jobs = await Promise.all([first.next('job'), second.next('job')]);
  expect(jobs.map(({ p }) => p['n']).sort()).toEqual([1, 2]);
  expect((await program.end('SIGTERM')).code).toBe(0);
});

test('express', async () => {
  const program = new Program(['examples/express.mjs']);
  const url = await program.firstLine();
  const page = await fetch(url);
  expect([page.headers.get('x-powered-by'), await page.text()]).toEqual(['Express', expect.stringContaining('WebSocket("/ws")')]);
  const clients = [await Client.open(`${url}/ws`), await Client.open(`${url}/ws`)];
  for (const client of clients) await client.next('server_ready');
  const post = (): Promise<{ listeners: number }> =>
    fetch(`${url}/news`, { method: 'POST', body: '{"n":1}', headers: { 'Content-Type': 'application/json' } }).then(
      async (response) => (await response.json()) as { listeners: number },
    );
  await expect.poll(post).toEqual({ listeners: 2 });
  for (const client of clients) expect((await client.next('news')).p).toEqual({ n: 1 });
  const closed = clients.map((client) => client.closed());
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
  expect(await Promise.all(closed)).toEqual([4300, 4300]);
});

test('fastify', async () => {
  const program = new Program(['examples/fastify.mjs']);
  const url = await program.firstLine();
  const client = await Client.open(`${url}/ws`);
  client.send('say', { n: 1 });
  expect((await client.next('echo')).p).toEqual({ n: 1 });
  expect(await (await fetch(url)).json()).toEqual({ connections: 1 });
  const closed = client.closed();
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
  expect(await closed).toBe(4300);
});

test('jwks', async () => {
  const program = new Program(['examples/jwks.mjs']);
  const { url, tokens } = JSON.parse(await program.firstLine()) as { url: string; tokens: [string, string] };
  const clients = await Promise.all(tokens.map((token) => Client.open(url, token)));
  const welcomes = await Promise.all(clients.map((client) => client.next('welcome')));
  expect(welcomes.map(({ p }) => p['user'])).toEqual(['user of spring', 'user of autumn']);
  // The claims of one under the signature of the other.
  const [head, , signature] = tokens[0].split('.');
  const forged = await Client.open(url, `${head}.${tokens[1].split('.')[1]}.${signature}`);
  expect(await forged.closed()).toBe(4401);
  expect((await program.end('SIGTERM')).code).toBe(0);
});

test('own-port', async () => {
  const program = new Program(['examples/own-port.mjs']);
  const url = await program.firstLine();
  const client = await Client.open(`${url}/ws`);
  client.send('say', { n: 1 });
  expect((await client.next('echo')).p).toEqual({ n: 1 });
  const get = async (path: string): Promise<string> => (await fetch(`${url}${path}`)).text();
  expect(await get('/page')).toBe('GET /page from 127.0.0.1, beside 1 sockets');
  expect([await get('/healthz'), await get('/readyz')]).toEqual(['ok\n', 'ready\n']);
  expect(await get('/metrics')).toContain('\nwse_connections 1\n');
  const closed = client.closed();
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
  expect(await closed).toBe(4300);
});

test('node-client: what it was told to say is said by the next one, once there is a server', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'wse-node-client-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const OUTBOX = join(folder, 'outbox');
  const alone = new Program(['examples/node-client.mjs', 'hello'], { OUTBOX, WSE_URL: 'ws://127.0.0.1:1/wse' });
  await expect.poll(() => alone.lines()).toContain('kept: hello');
  expect((await alone.end('SIGKILL')).errors).toBe('');

  const server = new Program(['examples/vite-react/server.mjs'], { PORT: '0', DIST: folder });
  const WSE_URL = `${(await server.firstLine()).replace('http', 'ws')}/wse`;
  const next = new Program(['examples/node-client.mjs'], { OUTBOX, WSE_URL });
  await expect.poll(() => next.lines()).toEqual(expect.arrayContaining(['delivered: hello', 'node: hello', 'here: ']));
  await expect.poll(() => next.lines().some((line) => /^ACME \d+\.\d\d$/.test(line))).toBe(true);
  expect(await next.end('SIGINT')).toEqual({ code: 0, errors: '' });
  expect(next.lines().filter((line) => line === 'node: hello')).toHaveLength(1);

  const last = new Program(['examples/node-client.mjs', 'and again'], { OUTBOX, WSE_URL });
  await expect
    .poll(() => last.lines())
    .toEqual(expect.arrayContaining(['kept: and again', 'delivered: and again', 'node: and again']));
  expect(await last.end('SIGTERM')).toEqual({ code: 0, errors: '' });
  expect(last.lines()).not.toContain('node: hello');
  expect(await server.end('SIGTERM')).toEqual({ code: 0, errors: '' });
});

test('vite-react: its page is found wherever its folder is', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'wse vité-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const program = join(folder, 'server.mjs');
  copyFileSync(join(root, 'examples/vite-react/server.mjs'), program);
  mkdirSync(join(folder, 'dist'));
  writeFileSync(join(folder, 'dist/index.html'), 'the page');
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/wse-server'), 'junction');
  const server = new Program([program], { PORT: '0', DIST: '' });
  const page = await fetch(await server.firstLine());
  expect([page.status, await page.text()]).toEqual([200, 'the page']);
  expect(await server.end('SIGTERM')).toEqual({ code: 0, errors: '' });
});
