// The example behind a real nginx with TLS; skipped where there is none (Debian: nginx-light).

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { selfSigned } from '../support/certificate.js';
import { waitUntil } from '../support/wait.js';
import { Program } from './run.js';

const PATH = `${process.env['PATH']}:/usr/sbin:/usr/local/sbin`;
const options = { encoding: 'utf8', env: { ...process.env, PATH } } as const;
const build = spawnSync('nginx', ['-V'], options).stderr;
if (build === null) console.error('wse: nginx is missing, its example is not tested (Debian: nginx-light)');

/** A port nobody has now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Starts nginx with the example's configuration, on free ports, in a folder of its own. */
async function nginx(listen: number, upstream: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'wse-nginx-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const { cert, key } = await selfSigned();
  writeFileSync(join(folder, 'cert.pem'), cert);
  writeFileSync(join(folder, 'key.pem'), key);
  // Modules the example does not use want folders too, and the system's need not be ours.
  const unused = ['fastcgi', 'uwsgi', 'scgi'].filter((name) => !build?.includes(`--without-http_${name}_module`));
  const conf = readFileSync(new URL('../../../examples/nginx/nginx.conf', import.meta.url), 'utf8');
  expect(conf).toContain('listen 8443 ssl;');
  expect(conf).toContain('server 127.0.0.1:5007;');
  const ours = conf
    .replace('listen 8443 ssl;', `listen 127.0.0.1:${listen} ssl;`)
    .replace('127.0.0.1:5007', `127.0.0.1:${upstream}`)
    .replace('access_log off;', ['access_log off;', ...unused.map((name) => `${name}_temp_path temp;`)].join('\n'));
  writeFileSync(join(folder, 'nginx.conf'), ours);
  execFileSync('nginx', ['-t', '-q', '-p', folder, '-c', 'nginx.conf'], { ...options, stdio: 'pipe' });
  const child = spawn('nginx', ['-p', folder, '-c', 'nginx.conf'], { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => (errors += String(chunk)));
  onTestFinished(async () => {
    child.kill('SIGQUIT');
    if (child.exitCode === null) await once(child, 'exit');
  });
  await waitUntil(async () => {
    if (child.exitCode !== null) throw new Error(`nginx ended: ${errors}`);
    return (await fetch(`http://127.0.0.1:${listen}/`).catch(() => undefined)) !== undefined;
  }, 'nginx');
}

test.skipIf(build === null)('nginx with TLS in front', async () => {
  const [listen, upstream] = [await freePort(), await freePort()];
  const origin = `https://localhost:${listen}`;
  const program = new Program(['examples/nginx/server.mjs'], { PORT: String(upstream), ORIGIN: origin });
  await program.firstLine();
  await nginx(listen, upstream);

  const open = async (more: ClientOptions = {}): Promise<{ socket: WebSocket; welcome: unknown }> => {
    const socket = new WebSocket(`wss://127.0.0.1:${listen}/wse`, { rejectUnauthorized: false, ...more });
    onTestFinished(() => socket.terminate());
    const welcome = new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.on('message', (data) => {
        const { t, p } = JSON.parse(String(data));
        if (t === 'welcome') resolve(p);
      });
    });
    return { socket, welcome: await welcome };
  };

  const { socket, welcome } = await open({ origin });
  expect(welcome).toEqual({ address: '127.0.0.1' });
  // What a client claims about itself is replaced by the proxy; what the proxy says is believed.
  const liar = await open({ headers: { 'X-Forwarded-For': '6.6.6.6' } });
  expect(liar.welcome).toEqual({ address: '127.0.0.1' });
  if (process.platform === 'linux') expect((await open({ localAddress: '127.0.0.2' })).welcome).toEqual({ address: '127.0.0.2' });

  const text = 'gr\u{fc}\u{df} \u{1f980} '.repeat(40_000);
  const back = new Promise((resolve) => {
    socket.on('message', (data) => {
      const { t, p } = JSON.parse(String(data));
      if (t === 'echo') resolve(p);
    });
  });
  socket.send(JSON.stringify({ t: 'echo', p: { text } }));
  expect(await back).toEqual({ text });

  await expect(open({ origin: 'https://elsewhere.example' })).rejects.toThrow('403');
  const closed = once(socket, 'close');
  expect(await program.end('SIGTERM')).toEqual({ code: 0, errors: '' });
  expect((await closed)[0]).toBe(4300);
});
