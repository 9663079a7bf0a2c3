/** HTTP servers of Node with an engine beside them, ended with the test. */

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { onTestFinished } from 'vitest';
import type { WSEEvent, WSEServerOptions } from '../../src/index.js';
import { frame } from './frames.js';
import { startServer, type TestServer, waitUntil } from './server.js';

/** A server of Node on a free port, which it returns. */
export async function listen(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    (server as Partial<http.Server>).closeAllConnections?.();
  });
  return (server.address() as net.AddressInfo).port;
}

/** Sends each message back to whoever sent it. */
export function echo([type, conn, payload]: WSEEvent, server: TestServer['server']): void {
  if (!server.isRunning()) return;
  if (type === 'msg') server.send(conn, JSON.stringify(payload));
  if (type === 'raw') server.send(conn, payload);
  if (type === 'bin') server.sendBytes(conn, payload);
}

/** An engine without a port that echoes. */
export function portless(options: WSEServerOptions = {}): Promise<TestServer> {
  return startServer({ serverReady: false, pingInterval: 3600, idleTimeout: 7200, port: null, onEvent: echo, ...options });
}

/** An engine without a port that echoes, and an HTTP server that says `page` to every request. Nothing connects the two yet. */
export async function beside(options: WSEServerOptions = {}): Promise<{ on: TestServer; app: http.Server; port: number }> {
  const app = http.createServer((_, response) => response.end('page'));
  return { on: await portless(options), app, port: await listen(app) };
}

/** The head of an upgrade request. */
export function upgradeHead(path = '/ws', ...fields: string[]): string {
  const own = [
    'Host: localhost',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
  ];
  return `GET ${path} HTTP/1.1\r\n${[...own, ...fields].join('\r\n')}\r\n\r\n`;
}

/** A text message of a client. */
export const text = (payload: string): Buffer => frame({ payload });

/** A raw client, ended with the test, and all it has heard. */
export class RawClient {
  readonly socket: net.Socket;
  heard = '';

  constructor(port: number, bytes: string | Uint8Array = '', options: Partial<net.TcpNetConnectOpts> = {}) {
    this.socket = net.connect({ port, host: '127.0.0.1', ...options });
    onTestFinished(() => void this.socket.destroy());
    this.socket.on('data', (chunk) => {
      this.heard += chunk.toString('latin1');
    });
    this.socket.on('error', () => {});
    this.socket.write(bytes);
  }

  /** What it has heard when the connection is over, in order or by a reset. */
  async ended(): Promise<string> {
    await waitUntil(() => this.socket.closed, 'the end of a connection');
    return this.heard;
  }
}
