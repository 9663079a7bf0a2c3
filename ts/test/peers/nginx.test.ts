// docs/http.md's nginx configuration, with an application and the engine on one port behind it. Skipped where there is no nginx.

import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { Client } from '../border/client.js';
import { selfSigned } from '../support/certificate.js';
import { beside } from '../support/http.js';
import { waitUntil } from '../support/server.js';

const run = promisify(execFile);
const HAS_NGINX = process.platform === 'linux' && spawnSync('nginx', ['-v']).status === 0;
const PAGE = readFileSync(new URL('../../../docs/http.md', import.meta.url), 'utf8');
const SAMPLE = /```nginx\n([\s\S]*?)```/.exec(PAGE)?.[1] as string;

/** A port nobody listens at just now. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** nginx with the sample in front of `behind`; its port. */
async function nginx(behind: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'wse-nginx-'));
  const { cert, key } = await selfSigned();
  writeFileSync(join(directory, 'cert.pem'), cert);
  writeFileSync(join(directory, 'key.pem'), key);
  const port = await freePort();
  for (const written of ['listen 8443 ssl;', 'http://127.0.0.1:3000']) expect(SAMPLE).toContain(written);
  const site = SAMPLE.replace('listen 8443 ssl;', `listen 127.0.0.1:${port} ssl http2;`)
    .replace('127.0.0.1:3000', `127.0.0.1:${behind}`)
    .replace('cert.pem', join(directory, 'cert.pem'))
    .replace('key.pem', join(directory, 'key.pem'));
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`);
  const config = join(directory, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off; pid ${directory}/pid; error_log ${directory}/error.log; events {} http { access_log off; ${places.join(' ')} ${site} }`,
  );
  const child = spawn('nginx', ['-p', directory, '-e', join(directory, 'error.log'), '-c', config], { stdio: 'ignore' });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  await waitUntil(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = net.connect(port, '127.0.0.1', () => {
          socket.destroy();
          resolve(true);
        });
        socket.on('error', () => resolve(false));
      }),
    () => `nginx: ${readFileSync(join(directory, 'error.log'), 'utf8')}`,
  );
  return port;
}

it.runIf(HAS_NGINX)('the sample configuration serves pages and WebSockets on one port', async () => {
  const {
    on,
    app,
    port: behind,
  } = await beside({
    allowedOrigins: ['https://app.example'],
    trustProxy: { addresses: ['127.0.0.1'] },
  });
  on.server.attachTo(app, { path: '/ws' });
  const port = await nginx(behind);
  const client = await Client.open(port, {
    path: '/ws',
    scheme: 'wss',
    rejectUnauthorized: false,
    origin: 'https://app.example',
    localAddress: '127.0.0.9',
  });
  client.send('{"t":"hi"}');
  expect(await client.heard(1)).toEqual(['{"t":"hi"}']);
  const [conn] = on.server.getConnections();
  expect(on.server.getConnectionInfo(conn as number)).toMatchObject({ address: '127.0.0.9', secure: false });
  expect(on.gauge('pumped_connections')).toBe(0);

  // curl speaks HTTP/2 with nginx: pages come by it, an upgrade does not.
  const curl = async (path: string, ...more: string[]): Promise<string> => {
    const url = `https://127.0.0.1:${port}${path}`;
    return (await run('curl', ['-sk', '--http2', '-w', '|%{http_version}|%{http_code}', ...more, url])).stdout;
  };
  expect(await curl('/')).toBe('page|2|200');
  expect(await curl('/ws', '-H', 'Sec-WebSocket-Version: 13')).toBe('page|2|200');
  client.send('{"t":"bye"}');
  await client.heard(2);
});
