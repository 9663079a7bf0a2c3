// Real applications: their pages, and the engine's WebSockets, on one port.

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import type net from 'node:net';
import { serve } from '@hono/node-server';
import fastify from 'fastify';
import { Hono } from 'hono';
import { describe, expect, it, onTestFinished } from 'vitest';
import { selfSigned } from '../support/certificate.js';
import { listen, portless } from '../support/http.js';
import type { TestServer } from '../support/server.js';
import { Client } from './client.js';

/** As much of Express as is used; it brings no types. */
type Express = () => {
  use(handler: (request: http.IncomingMessage, response: http.ServerResponse, next: () => void) => void): void;
  get(path: string, handler: (request: unknown, response: { send(text: string): void }) => void): void;
  listen(port: number, host: string): http.Server;
};
const express = createRequire(import.meta.url)('express') as Express;

const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port;

/** Starts an application with a page and an engine at `/ws`; returns its port. */
const APPS: Record<string, (on: TestServer) => Promise<{ port: number; secure?: boolean }>> = {
  'node:http': async (on) => {
    const app = http.createServer((_, response) => response.end('page'));
    on.server.attachTo(app, { path: '/ws' });
    return { port: await listen(app) };
  },
  'node:https': async (on) => {
    const { cert, key } = await selfSigned();
    const app = https.createServer({ cert, key }, (_, response) => response.end('page'));
    on.server.attachTo(app, { path: '/ws' });
    return { port: await listen(app), secure: true };
  },
  Express: async (on) => {
    const app = express();
    app.use((_, response, next) => {
      response.setHeader('X-Seen', 'yes');
      next();
    });
    app.get('/', (_, response) => response.send('page'));
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    on.server.attachTo(server, { path: '/ws' });
    return { port: portOf(server) };
  },
  Fastify: async (on) => {
    const app = fastify({ forceCloseConnections: true });
    app.get('/', () => 'page');
    on.server.attachTo(app.server, { path: '/ws' });
    await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    return { port: portOf(app.server) };
  },
  "Hono's Node server": async (on) => {
    const app = new Hono().get('/', (context) => context.text('page'));
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as http.Server;
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    on.server.attachTo(server, { path: '/ws' });
    return { port: portOf(server) };
  },
};

/** A page over a connection that is kept. */
function page(port: number, secure: boolean, agent: http.Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const { get } = secure ? https : http;
    const request = get({ port, host: '127.0.0.1', path: '/', agent, rejectUnauthorized: false } as https.RequestOptions);
    request.on('error', reject);
    request.on('response', async (response) => {
      let body = '';
      for await (const chunk of response) body += chunk;
      resolve(body);
    });
  });
}

describe.each(Object.entries(APPS))('%s', (_, start) => {
  it('answers requests, and the engine serves WebSockets at the same port', async () => {
    const on = await portless({ subscriptions: 'acl' });
    const { port, secure = false } = await start(on);
    const agent = secure ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    expect(await page(port, secure, agent)).toBe('page');
    const options = { path: '/ws', scheme: secure ? 'wss' : 'ws', rejectUnauthorized: false } as const;
    const clients = await Promise.all(Array.from({ length: 10 }, () => Client.open(port, options)));
    for (const [n, client] of clients.entries()) {
      client.send(`{"t":"hi","p":${n}}`);
      expect(await client.heard(1)).toEqual([`{"t":"hi","p":${n}}`]);
      expect(await page(port, secure, agent)).toBe('page');
    }
    expect(on.gauge('pumped_connections')).toBe(secure ? 10 : 0);
    await on.server.stop();
    for (const client of clients) expect(await client.closed()).toBe(1012);
    expect(await page(port, secure, agent), 'the application goes on').toBe('page');
  });
});
