/** A `ws` server that plays a WSE server by hand, for what the engine never does: wrong codes, rubbish, silence. */

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { waitUntil } from '../../../ts/test/support/wait.js';

export type Heard = { t: string; p: Record<string, unknown>; cid?: string; rq?: number; err?: { code: string } };

/** One connection of a client, as the peer has it. */
export class PeerConnection {
  readonly heard: Heard[] = [];
  readonly headers: Record<string, string | string[] | undefined>;
  readonly socket: WebSocket;
  closed: number | undefined;

  constructor(socket: WebSocket, headers: PeerConnection['headers']) {
    this.socket = socket;
    this.headers = headers;
    socket.on('message', (data) => this.heard.push(JSON.parse(String(data)) as Heard));
    socket.on('close', (code) => {
      this.closed = code;
    });
  }

  send(message: unknown): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  ready(features: Record<string, unknown> = {}): void {
    this.send({ c: 'WSE', t: 'server_ready', p: { details: { connection_id: 'peer', features } } });
  }

  /** The next message of a type, waiting for it; each is returned once. */
  async next(t: string): Promise<Heard> {
    await waitUntil(
      () => this.heard.some((message) => message.t === t),
      () => `${t} among ${this.heard.map((message) => message.t)}`,
    );
    const at = this.heard.findIndex((message) => message.t === t);
    return this.heard.splice(at, 1)[0] as Heard;
  }
}

/** The server, and whoever has come. */
export class Peer {
  readonly connections: PeerConnection[] = [];
  readonly url: string;
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer, onConnection: ((connection: PeerConnection, index: number) => void) | undefined) {
    this.#server = server;
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/wse`;
    server.on('connection', (socket, request) => {
      const connection = new PeerConnection(socket, request.headers);
      this.connections.push(connection);
      onConnection?.(connection, this.connections.length - 1);
    });
    onTestFinished(() => this.stop());
  }

  static async start(onConnection?: (connection: PeerConnection, index: number) => void): Promise<Peer> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    return new Peer(server, onConnection);
  }

  /** The n-th connection, waiting for it. */
  async connection(index: number): Promise<PeerConnection> {
    await waitUntil(() => this.connections.length > index, `connection ${index}`);
    return this.connections[index] as PeerConnection;
  }

  stop(): void {
    for (const client of this.#server.clients) client.terminate();
    this.#server.close();
  }
}
