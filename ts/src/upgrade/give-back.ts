/**
 * Upgrades to something else than a WebSocket, such as the `h2c` that curl and Java's client ask for with any request. A server may
 * ignore that wish (RFC 9110 §7.8), and Node does until somebody listens for `'upgrade'`: then it is to ignore them still. Answers nothing.
 */

import type { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { bytesOf } from './request.js';
import { inTurn } from './turn.js';

/**
 * Has `server` read the request once more, without its `Upgrade`: as any other, with its body and what comes after it.
 *
 * @returns whether it does; only Node's own servers can
 */
export function giveBack(server: object, request: IncomingMessage, socket: Duplex, head: Uint8Array): boolean {
  const read = readerOf(server);
  if (read === undefined || socket !== request.socket || socket.destroyed) return false;
  // At once: a peer that has said all ends the stream, and behind its end there is no place.
  socket.unshift(bytesOf(request, [head], 'upgrade'));
  inTurn(request, socket, () => read.call(server, socket));
  return true;
}

/** What Node itself does with a new connection. The event would tell everybody else of one that is not new. */
function readerOf(server: object): ((socket: Duplex) => void) | undefined {
  const listeners = ['secureConnection', 'connection'].flatMap(
    (event) => (server as Partial<EventEmitter>).listeners?.(event) ?? [],
  );
  return listeners.find((one): one is (socket: Duplex) => void => typeof one === 'function' && one.name === 'connectionListener');
}
