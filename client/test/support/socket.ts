/** A platform's WebSocket without a network, for tests of time and of pages. */

import { setImmediate as turn } from 'node:timers/promises';
import { vi } from 'vitest';

/** Behind the first attempt of a client, whose other part has been loaded by then. */
export async function attempted(): Promise<void> {
  await turn();
  await vi.dynamicImportSettled();
  await turn();
}

/** A platform's socket, whose other side answers pings as long as it is well. */
export class Socket {
  static all: Socket[] = [];
  static reachable = true;
  static answers = true;
  /** What happens to each new one instead of opening. */
  static fate: ((socket: Socket) => void) | undefined;
  binaryType = '';
  bufferedAmount = 0;
  readyState = 0;
  readonly sent: { t: string; p: Record<string, unknown> }[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;

  constructor() {
    Socket.all.push(this);
    queueMicrotask(() => {
      if (Socket.fate) return Socket.fate(this);
      if (!Socket.reachable) return this.end(1006);
      this.readyState = 1;
      this.onopen?.();
      this.say({ c: 'WSE', t: 'server_ready', p: { details: { connection_id: 'x', features: {} } } });
    });
  }

  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  send(data: string): void {
    const message = JSON.parse(data) as { t: string; p: Record<string, unknown> };
    this.sent.push(message);
    if (message.t === 'ping' && Socket.answers) this.say({ t: 'PONG', p: {} });
  }

  end(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: '' });
  }

  close(code = 1005): void {
    this.end(code);
  }
}
