/** A TCP server that speaks as a test tells it to: below HTTP, below WebSocket, or not at all. It keeps its sockets at hand. */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** One that listens. */
export interface RawServer {
  readonly url: string;
  /** Everybody who has come. */
  readonly sockets: Socket[];
  /** Who has not gone. */
  open(): number;
}

/** Listens on a free port; `accept` is called with each socket. */
export async function rawServer(accept: (socket: Socket, index: number) => void): Promise<RawServer> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    // Read, or its end is never seen.
    socket.resume();
    sockets.push(socket);
    accept(socket, sockets.length - 1);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/wse`,
    sockets,
    open: () => sockets.filter((socket) => !socket.destroyed && !socket.readableEnded).length,
  };
}

/** Answers the upgrade as it should be (RFC 6455 §4.2.2), then calls `then`. */
export function upgraded(socket: Socket, then: () => void): void {
  socket.once('data', (data) => {
    const key = /sec-websocket-key: (.*)\r/i.exec(String(data))?.[1] ?? '';
    const accept = createHash('sha1')
      .update(key + GUID)
      .digest('base64');
    const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
    socket.write(`${head}Sec-WebSocket-Accept: ${accept}\r\n\r\n`, then);
  });
}
