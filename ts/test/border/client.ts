/** An honest client, the `ws` package's, that keeps what it heard. */

import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import type { TestServer } from '../support/server.js';
import { waitUntil, within } from '../support/wait.js';

/** Options of a server that says nothing on its own. */
export const QUIET = { serverReady: false, pingInterval: 3600, idleTimeout: 7200 } as const;

export interface ClientTarget extends ClientOptions {
  /** @default '/' */
  path?: string;
  /** @default 'ws' */
  scheme?: 'ws' | 'wss';
}

export class Client {
  readonly socket: WebSocket;
  /** Text frames, in order; the server's pings, which come when they come, left out. */
  readonly texts: string[] = [];
  /** Binary frames, in order. */
  readonly binaries: Buffer[] = [];
  /** The close code, once it is closed. */
  code: number | undefined;
  reason = '';

  constructor(port: number, options: ClientTarget = {}) {
    const { path = '/', scheme = 'ws', ...rest } = options;
    this.socket = new WebSocket(`${scheme}://127.0.0.1:${port}${path}`, { perMessageDeflate: false, ...rest });
    this.socket.on('message', (data, binary) => {
      const text = binary ? undefined : data.toString();
      if (text === undefined) this.binaries.push(data as Buffer);
      else if (!text.startsWith('{"c":"WSE","t":"ping"')) this.texts.push(text);
    });
    this.socket.on('close', (code, reason) => {
      this.code = code;
      this.reason = reason.toString();
    });
    this.socket.on('error', () => {});
  }

  /** A connected client, ended with the test. */
  static async open(port: number, options: ClientTarget = {}): Promise<Client> {
    const client = new Client(port, options);
    onTestFinished(() => client.socket.terminate());
    await within(once(client.socket, 'open'), 'connection');
    return client;
  }

  send(data: string | Uint8Array): void {
    this.socket.send(data);
  }

  /** Waits for so many texts. */
  async heard(count: number): Promise<string[]> {
    await waitUntil(() => this.texts.length >= count, `text number ${count} (there are ${this.texts.length})`);
    return this.texts;
  }

  /** The code it was closed with. */
  async closed(): Promise<number> {
    await waitUntil(() => this.code !== undefined, 'close');
    return this.code as number;
  }
}

/** A client and the number the server knows it by. */
export async function join(on: TestServer, options: ClientTarget = {}): Promise<{ client: Client; conn: number }> {
  const client = await Client.open(on.port, options);
  const [, conn] = await on.waitForEvent(([type]) => type === 'connect' || type === 'auth_connect');
  return { client, conn: conn as number };
}

/** Says `client_hello`, as WSE clients do, and waits for the answer. */
export async function greet(client: Client): Promise<void> {
  const isHello = (text: string): boolean => text.includes('"t":"server_hello"');
  client.send('{"c":"WSE","t":"client_hello","p":{},"v":1}');
  await waitUntil(() => client.texts.some(isHello), 'server_hello');
  client.texts.splice(client.texts.findIndex(isHello), 1);
}

/**
 * What `client` heard before a mark sent now: everything that was sent to it earlier.
 * The mark itself and what the engine says on its own are left out.
 */
export async function heardSoFar(on: TestServer, client: Client, conn: number): Promise<{ texts: string[]; binaries: string[] }> {
  const mark = `mark-${Math.random()}`;
  on.server.send(conn, mark);
  await waitUntil(() => client.texts.includes(mark), 'mark');
  const texts = client.texts.splice(0, client.texts.indexOf(mark) + 1).slice(0, -1);
  return { texts, binaries: client.binaries.splice(0).map(String) };
}
