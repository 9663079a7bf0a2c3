/** What the engine answers itself, to those who ask in production: curl, a browser's fetch, a load balancer; and the warning of a full server. */

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { selfSigned } from '../support/certificate.js';
import { RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, waitUntil } from '../support/server.js';
import { QUIET } from './client.js';

const QUESTIONS = { health: '/healthz', ready: '/readyz', metrics: '/metrics' } as const;

/** Warnings of the process with this code. */
function warnings(code: string): string[] {
  const heard: string[] = [];
  const note = (warning: Error & { code?: string }): void => {
    if (warning.code === code) heard.push(warning.message);
  };
  process.on('warning', note);
  onTestFinished(() => void process.off('warning', note));
  return heard;
}

async function hasCurl(): Promise<boolean> {
  return promisify(execFile)('curl', ['--version']).then(
    () => true,
    () => false,
  );
}

/** Status and body, as curl sees them. */
async function curl(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('curl', ['-sk', '-m', '10', '-w', ' %{http_code} %{content_type}', ...args]);
  return stdout;
}

describe('http: health, ready, metrics', () => {
  it.each(['http', 'https'])('are answered over %s', async (scheme) => {
    if (!(await hasCurl())) return;
    const tls = scheme === 'https' ? await selfSigned() : null;
    const on = await startServer({ ...QUIET, tls, http: QUESTIONS });
    const url = `${scheme}://127.0.0.1:${on.port}`;
    expect(await curl(`${url}/healthz`)).toBe('ok\n 200 text/plain; charset=utf-8');
    expect(await curl(`${url}/readyz?x=1`)).toBe('ready\n 200 text/plain; charset=utf-8');
    expect(await curl(`${url}/metrics`)).toMatch(/\nwse_connections 0\n[\s\S]* 200 text\/plain; version=0\.0\.4; charset=utf-8$/);
    expect(await curl('-I', `${url}/healthz`)).toMatch(/Content-Length: 3\r\n[\s\S]* 200 /);
    expect(await curl('-d', 'x', `${url}/healthz`)).toMatch(/ 405 /);
    expect(await curl(`${url}/elsewhere`)).toMatch(/ 426 /);
  });

  it('stand beside an application, which serves its own paths', async () => {
    const app = http.createServer((request, response) => response.end(`app ${request.url}`));
    onTestFinished(() => app.closeAllConnections());
    const on = await startServer({ ...QUIET, http: { server: app, ...QUESTIONS, allow: ['192.0.2.1'] } });
    const get = async (path: string): Promise<[number, string]> => {
      const response = await fetch(`http://127.0.0.1:${on.port}${path}`);
      return [response.status, await response.text()];
    };
    expect(await get('/healthz')).toEqual([403, 'This address is not allowed.\n']);
    expect(await get('/healthz/')).toEqual([200, 'app /healthz/']);
  });

  it('are answered behind other requests of a connection too', async () => {
    const app = http.createServer((request, response) => response.end(`app ${request.url}`));
    onTestFinished(() => app.closeAllConnections());
    const { emit } = app;
    const on = await startServer({
      ...QUIET,
      trustProxy: { addresses: ['127.0.0.1'] },
      http: { server: app, ...QUESTIONS },
    });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    let connections = 0;
    app.on('connection', () => {
      connections += 1;
    });
    const ask = async (path: string, method = 'GET', headers: http.OutgoingHttpHeaders = {}): Promise<unknown[]> => {
      const request = http.request({ port: on.port, host: '127.0.0.1', agent, path, method, headers });
      if (method === 'POST') request.write('a body');
      const [response] = (await once(request.end(), 'response')) as [http.IncomingMessage];
      let body = '';
      for await (const chunk of response.setEncoding('utf8')) body += chunk;
      return [response.statusCode, body.slice(0, 20), response.headers['content-length']];
    };
    expect(await ask('/page')).toEqual([200, 'app /page', '9']);
    expect(await ask('/healthz')).toEqual([200, 'ok\n', '3']);
    expect(await ask('/readyz?x', 'HEAD')).toEqual([200, '', '6']);
    expect(await ask('/healthz', 'POST')).toEqual([405, 'GET or HEAD.\n', '13']);
    expect((await ask('/metrics')).slice(0, 2)).toEqual([200, '# HELP wse_connectio']);
    expect((await ask('/metrics', 'GET', { 'X-Forwarded-For': '203.0.113.7' }))[0]).toBe(403);
    expect(await ask('/page')).toEqual([200, 'app /page', '9']);
    expect([connections, on.metric('wse_http_handed_total'), on.metric('wse_http_answers_total')]).toEqual([1, 1, 5]);
    await on.stop();
    expect(app.emit).toBe(emit);
  });

  it('fail first when the server drains', async () => {
    const on = await startServer({ ...QUIET, http: QUESTIONS });
    const peer = await RawPeer.open(on.port);
    const drained = on.server.drain({ timeout: 20 });
    expect((await peer.closing()).code).toBe(4300);
    const status = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${on.port}${path}`)).status;
    expect([await status('/readyz'), await status('/healthz')]).toEqual([503, 200]);
    peer.destroy();
    await drained;
  });
});

describe('a server that is full', () => {
  it('says once which option to raise', async () => {
    const heard = warnings('WSE_CONNECTIONS_FULL');
    const on = await startServer({ ...QUIET, maxConnections: 1, handshake: { maxPendingPerAddress: 2 } });
    const peer = await RawPeer.open(on.port);
    for (let n = 0; n < 3; n += 1) expect((await RawPeer.ask(on.port, upgradeRequest()))[0].status).toBe(503);
    await waitUntil(() => heard.length > 0, 'a warning');
    for (let n = 0; n < 3; n += 1) expect((await RawPeer.ask(on.port, upgradeRequest()))[0].status).toBe(503);
    const idle = await Promise.all(Array.from({ length: 4 }, () => RawPeer.dial(on.port)));
    await waitUntil(() => heard.length > 1, 'another option');
    for (const each of [...idle, peer]) each.destroy();
    expect(heard).toEqual([
      'a server is full and has answered a client 503: raise maxConnections to let more in',
      'a server is full and has answered a client 503: raise handshake.maxPendingPerAddress to let more in',
    ]);
    expect(on.metric('wse_refused_max_connections_total')).toBe(6);
    // One that was refused may linger a moment in its place.
    expect(on.metric('wse_refused_max_pending_per_address_total')).toBeGreaterThan(1);
  });
});
