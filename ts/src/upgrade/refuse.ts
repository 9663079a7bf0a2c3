/** Answers an upgrade that does not reach the engine, and ends its socket. */

import type { Duplex } from 'node:stream';

/** Milliseconds a peer has to end its side once it was answered. */
const LINGER_MS = 5000;

const ANSWERS = {
  404: ['Not Found', '', 'There is no WebSocket endpoint at this path.'],
  503: ['Service Unavailable', 'Retry-After: 5\r\n', 'The server is full, leaving or not started.'],
} as const;

/** Answers with `status` and closes once the peer has ended its side too, so that the answer is not lost to a reset. */
export function refuse(socket: Duplex, status: keyof typeof ANSWERS): void {
  const [reason, headers, text] = ANSWERS[status];
  const destroy = (): void => void socket.destroy();
  socket.on('error', destroy);
  const timer = setTimeout(destroy, LINGER_MS).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.once('end', destroy);
  // What still comes is not looked at, but its end is waited for.
  socket.resume();
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\n${headers}Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n${text}\n`,
  );
}
