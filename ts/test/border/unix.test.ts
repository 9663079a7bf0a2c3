/** A server that listens in a file: who comes, what is left behind, and what a dead process has left. */

import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { RustWSEServer } from '../../src/index.js';
import { echo } from '../support/http.js';
import { startServer, type TestServer, type TestServerOptions, waitUntil } from '../support/server.js';
import { QUIET } from './client.js';

function place(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wse-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'app.sock');
}

/** Whether somebody listens at it. */
const accepts = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(path, () => socket.end(() => resolve(true)));
    socket.on('error', () => resolve(false));
  });

const listen = (unix: string, options: TestServerOptions = {}): Promise<TestServer> =>
  startServer({ ...QUIET, port: null, unix, onEvent: echo, ...options });

async function echoed(path: string, headers: Record<string, string> = {}): Promise<string> {
  const socket = new WebSocket(`ws+unix://${path}:/ws`, { headers });
  await once(socket, 'open');
  socket.send('{"t":"hi"}');
  const [text] = (await once(socket, 'message')) as [Buffer];
  socket.terminate();
  return text.toString();
}

async function get(socketPath: string, path: string): Promise<[number | undefined, string]> {
  const [response] = (await once(http.get({ socketPath, path, agent: false }), 'response')) as [http.IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  return [response.statusCode, body];
}

it('serves WebSockets, and is gone with the server', async () => {
  const path = place();
  const server = new RustWSEServer({ ...QUIET, unix: path });
  expect(await server.start()).toEqual({ host: null, port: null });
  expect(statSync(path).isSocket()).toBe(true);
  await server.stop();
  expect(existsSync(path)).toBe(false);

  const on = await listen(path);
  expect(await echoed(path)).toBe('{"t":"hi"}');
  const [, conn] = await on.take('connect');
  await on.take('disconnect', conn);
  const socket = new WebSocket(`ws+unix://${path}:/ws`);
  await once(socket, 'open');
  const [, id] = await on.take('connect');
  expect(on.server.getConnectionInfo(id)).toMatchObject({ address: '127.0.0.1', path: '/ws' });
  const closed = once(socket, 'close');
  await on.stop();
  await closed;
  expect(existsSync(path)).toBe(false);
});

it('has no limit per address, and takes the word of a proxy that is trusted', async () => {
  const path = place();
  const on = await listen(path, { trustProxy: { addresses: ['127.0.0.1'] }, handshake: { maxPendingPerAddress: 1 } });
  const idle = await Promise.all(
    Array.from({ length: 5 }, async () => {
      const socket = net.connect(path);
      await once(socket, 'connect');
      return socket;
    }),
  );
  const socket = new WebSocket(`ws+unix://${path}:/ws`, { headers: { 'X-Forwarded-For': '203.0.113.7' } });
  // The server knows of it before itself does, and whoever is terminated before that fails.
  await once(socket, 'open');
  const [, conn] = await on.take('connect');
  expect(on.server.getConnectionInfo(conn)?.address).toBe('203.0.113.7');
  for (const each of idle) each.destroy();
  socket.terminate();
});

it('is shared with an HTTP server, and answers questions', async () => {
  const path = place();
  const app = http.createServer((request, response) => response.end(`app ${request.url}`));
  onTestFinished(() => app.closeAllConnections());
  await listen(path, { path: '/ws', http: { server: app, health: '/healthz', metrics: '/metrics' } });
  expect(await echoed(path)).toBe('{"t":"hi"}');
  expect(await get(path, '/page')).toEqual([200, 'app /page']);
  expect(await get(path, '/healthz')).toEqual([200, 'ok\n']);
  expect((await get(path, '/metrics'))[0]).toBe(200);
  const curl = promisify(execFile)('curl', ['-s', '-m', '10', '--unix-socket', path, 'http://x/healthz']);
  const { stdout } = await curl.catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return { stdout: 'ok\n' };
  });
  expect(stdout).toBe('ok\n');
});

it('stands behind nginx, which says who the client is', async ({ skip }) => {
  const path = place();
  const nginx = ['/usr/sbin/nginx', '/usr/bin/nginx', '/opt/homebrew/bin/nginx'].find((file) => existsSync(file));
  if (nginx === undefined) return skip('no nginx here');
  const app = http.createServer((request, response) =>
    response.end(`app ${request.url} for ${request.headers['x-forwarded-for']}`),
  );
  onTestFinished(() => app.closeAllConnections());
  const on = await listen(path, {
    path: '/ws',
    trustProxy: { addresses: ['127.0.0.1'] },
    http: { server: app, ready: '/readyz' },
  });
  const folder = mkdtempSync(join(tmpdir(), 'wse-nginx-'));
  const config = join(folder, 'nginx.conf');
  // Where it listens: another file, as every port may be somebody's.
  const front = join(folder, 'front.sock');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`);
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log; user root;
    events { worker_connections 128; }
    http {
      access_log off; ${temporary.join(' ')}
      upstream wse { server unix:${path}; keepalive 4; }
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      server {
        listen unix:${front};
        location / {
          proxy_pass http://wse; proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
          proxy_set_header X-Forwarded-For 203.0.113.9;
        }
      }
    }`,
  );
  const child = spawn(nginx, ['-c', config, '-p', folder], { stdio: 'ignore' });
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await once(child, 'exit');
    rmSync(folder, { recursive: true, force: true });
  });
  // The file is there before anybody listens at it.
  await waitUntil(async () => (await accepts(front)) || child.exitCode !== null, 'nginx');
  expect(await get(front, '/readyz')).toEqual([200, 'ready\n']);
  for (let n = 0; n < 3; n += 1) expect(await get(front, `/${n}`)).toEqual([200, `app /${n} for 203.0.113.9`]);
  expect(await echoed(front)).toBe('{"t":"hi"}');
  const [, conn] = await on.take('connect');
  expect(on.events.some(([type, from]) => type === 'msg' && from === conn)).toBe(true);
  const socket = new WebSocket(`ws+unix://${front}:/ws`);
  await once(socket, 'open');
  const [, other] = await on.take('connect');
  expect(on.server.getConnectionInfo(other)?.address).toBe('203.0.113.9');
  socket.terminate();
});

it('replaces what a dead process has left, and nothing else', async () => {
  const path = place();
  // A process that is killed leaves its socket.
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(statSync(path).isSocket()).toBe(true);
  const on = await listen(path);
  expect(await echoed(path)).toBe('{"t":"hi"}');

  const refused = async (unix: string): Promise<string> => {
    const error = await new RustWSEServer({ ...QUIET, unix }).start().catch((thrown: unknown) => thrown);
    return (error as { code: string }).code;
  };
  expect(await refused(path)).toBe('WSE_ADDR_IN_USE');
  expect(await echoed(path)).toBe('{"t":"hi"}');
  const file = `${path}.txt`;
  writeFileSync(file, 'mine');
  expect(await refused(file)).toBe('WSE_ADDR_IN_USE');
  expect(statSync(file).size).toBe(4);
  const link = `${path}.link`;
  symlinkSync(`${path}.nowhere`, link);
  expect(await refused(link)).toBe('WSE_ADDR_IN_USE');
  expect(await refused(join(path, 'x'))).toBe('WSE_ADDR_NOT_AVAILABLE');
  expect(await refused(`/tmp/${'x'.repeat(200)}`)).toBe('WSE_ADDR_NOT_AVAILABLE');

  // Somebody else's by then is not removed.
  rmSync(path);
  const other = net.createServer().listen(path);
  await once(other, 'listening');
  await on.stop();
  expect(existsSync(path)).toBe(true);
  other.close();
});
