// Upgrades behind other requests of their connection: whatever is answered is answered in order.

import http, { type RequestListener, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import tls from 'node:tls';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { selfSigned } from '../support/certificate.js';
import { echo, listen, portless, RawClient, text, upgradeHead } from '../support/http.js';
import { MIB, startServer, type TestServer, waitUntil } from '../support/server.js';
import { QUIET } from './client.js';

const GET = 'GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n';

interface Open extends TestServer {
  app: http.Server;
  port: number;
}

/** An HTTP server and an engine that echoes at `/ws`, with one port. */
const WAYS: Record<string, (handler: RequestListener) => Promise<Open>> = {
  'attachTo()': async (handler) => {
    const on = await portless({ protocol: 'raw' });
    const app = http.createServer(handler);
    on.server.attachTo(app, { path: '/ws' });
    return { ...on, app, port: await listen(app) };
  },
  'a port of the engine': async (handler) => {
    const app = http.createServer(handler);
    const on = await startServer({ ...QUIET, path: '/ws', http: app, protocol: 'raw', onEvent: echo });
    onTestFinished(() => app.closeAllConnections());
    return { ...on, app };
  },
};

/** Notes each response that is due, and when the upgrade has come. */
async function slow(way: (handler: RequestListener) => Promise<Open>) {
  const due: ServerResponse[] = [];
  const on = await way((_, response) => void due.push(response));
  const sockets: Duplex[] = [];
  on.app.prependListener('upgrade', (_, socket) => void sockets.push(socket));
  return { ...on, due, sockets };
}

describe.each(Object.entries(WAYS))('%s', (_, way) => {
  it('answers an upgrade behind the responses before it, and hands it over', async () => {
    const on = await slow(way);
    const client = new RawClient(on.port, GET + GET + upgradeHead());
    await waitUntil(() => on.due.length === 2 && on.sockets.length === 1, 'all three');
    client.socket.write(text('early'));
    // The second is ready first, and Node itself keeps that one back.
    on.due[1]?.end('page two');
    on.due[0]?.write('page one, ');
    await waitUntil(() => client.heard.includes('page one'), 'the beginning of the first');
    client.socket.write(text('later'));
    on.due[0]?.end('complete');
    await waitUntil(() => client.heard.includes('later'), 'both echoes');
    expect(client.heard).toMatch(
      /^HTTP\/1.1 200 .*page one, .*complete.*HTTP\/1.1 200 .*page two.*HTTP\/1.1 101 .*early.*later$/s,
    );
    expect(on.gauge('pumped_connections')).toBe(0);
  });

  it('refuses one in its turn', async () => {
    const on = await slow(way);
    on.app.off('upgrade', on.app.listeners('upgrade')[0] as () => void);
    const client = new RawClient(on.port, GET + upgradeHead('/elsewhere'));
    await waitUntil(() => on.due.length === 1, 'the request');
    on.due[0]?.end('page');
    expect(await client.ended()).toMatch(/^HTTP\/1.1 200 .*page.*HTTP\/1.1 404 /s);
  });

  it('does not stall a long response, and loses nothing that comes meanwhile', async () => {
    const on = await slow(way);
    const client = new RawClient(on.port, GET + upgradeHead());
    await waitUntil(() => on.due.length === 1 && on.sockets.length === 1, 'both');
    client.socket.write(text('x'.repeat(MIB / 2)));
    const [response] = on.due as [ServerResponse];
    client.socket.pause();
    const part = Buffer.alloc(MIB, 'p');
    let parts = 0;
    const write = (): void => {
      while (parts < 16) {
        parts += 1;
        if (!response.write(part)) return void response.once('drain', write);
      }
      response.end();
    };
    write();
    await waitUntil(() => response.writableNeedDrain, 'a full socket');
    client.socket.resume();
    await waitUntil(() => client.heard.endsWith('x'.repeat(MIB / 2)), 'the echo');
    expect(client.heard.indexOf(' 101 ')).toBeGreaterThan(16 * MIB);
  });

  it('leaves it at a response that is the last of its connection', async () => {
    const on = await slow(way);
    const client = new RawClient(on.port, GET + upgradeHead());
    await waitUntil(() => on.due.length === 1 && on.sockets.length === 1, 'both');
    on.due[0]?.setHeader('Connection', 'close').end('bye');
    expect(await client.ended()).toMatch(/bye/);
    expect(client.heard).not.toContain(' 101 ');
  });

  it('outlives a peer that leaves meanwhile', async () => {
    const on = await slow(way);
    const client = new RawClient(on.port, GET + upgradeHead());
    await waitUntil(() => on.due.length === 1 && on.sockets.length === 1, 'both');
    client.socket.resetAndDestroy();
    await waitUntil(() => on.sockets[0]?.destroyed, 'the end');
    on.due[0]?.end('page');
    expect([on.server.getConnectionCount(), on.gauge('pending_handshakes')]).toEqual([0, 0]);
  });

  it('is answered 503 where the engine has stopped meanwhile', async () => {
    const on = await slow(WAYS['attachTo()'] as typeof way);
    const client = new RawClient(on.port, GET + upgradeHead());
    await waitUntil(() => on.due.length === 1 && on.sockets.length === 1, 'both');
    await on.server.stop();
    on.due[0]?.end('page');
    expect(await client.ended()).toMatch(/page.*HTTP\/1.1 503 /s);
  });

  it('closes the connection when the responses take ten seconds', async () => {
    const on = await slow(way);
    onTestFinished(() => void vi.useRealTimers());
    on.app.prependListener('upgrade', () => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
    const alive: boolean[] = [];
    on.app.on('upgrade', (_, socket) => {
      vi.advanceTimersByTime(9999);
      alive.push(!socket.destroyed);
      vi.advanceTimersByTime(1);
      alive.push(!socket.destroyed);
      vi.useRealTimers();
    });
    expect(await new RawClient(on.port, GET + upgradeHead()).ended()).toBe('');
    expect(alive).toEqual([true, false]);
  });
});

it('TLS that Node speaks waits too', async () => {
  const on = await portless();
  const { cert, key } = await selfSigned();
  const due: ServerResponse[] = [];
  const app = https.createServer({ cert, key }, (_, response) => void due.push(response));
  on.server.attachTo(app);
  const socket = tls.connect({ port: await listen(app), host: '127.0.0.1', rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  let heard = '';
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1');
  });
  socket.write(GET + upgradeHead());
  await waitUntil(() => due.length === 1, 'the request');
  due[0]?.write('a ');
  await waitUntil(() => heard.includes('a '), 'the beginning');
  // As long as the way through the pump takes many times.
  await pause(200);
  due[0]?.end('page');
  await waitUntil(() => heard.includes(' 101 '), 'the upgrade');
  expect(heard).toMatch(/^HTTP\/1.1 200 .*a .*page.*HTTP\/1.1 101 /s);
  expect(on.gauge('pumped_connections')).toBe(1);
});
