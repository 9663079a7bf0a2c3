/** A `ws` client that collects JSON messages. */

import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { WebSocket } from 'ws';

export interface Message {
  t: string;
  p: Record<string, unknown>;
}

export class Client {
  readonly #socket: WebSocket;
  readonly #seen: Message[] = [];
  /** The code it was closed with. Listened for from the beginning: it may be closed before anybody asks. */
  readonly #closed: Promise<number>;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      this.#seen.push(JSON.parse(String(data)) as Message);
    });
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {}); // 1006 says it too
    onTestFinished(() => socket.terminate());
  }

  static async open(url: string, token?: string): Promise<Client> {
    const socket = new WebSocket(url, token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } });
    const client = new Client(socket);
    await once(socket, 'open');
    return client;
  }

  send(t: string, p: unknown): void {
    this.#socket.send(JSON.stringify({ t, p }));
  }

  /** The next message of a type, waiting for it; each is returned once. */
  async next(t: string): Promise<Message> {
    for (;;) {
      const at = this.#seen.findIndex((message) => message.t === t);
      if (at >= 0) return this.#seen.splice(at, 1)[0] as Message;
      await once(this.#socket, 'message');
    }
  }

  closed(): Promise<number> {
    return this.#closed;
  }
}
