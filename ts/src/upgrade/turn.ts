/** The turn of an upgrade that came behind other requests of its connection: after their responses. Says nothing itself. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Milliseconds the earlier responses may take; then the connection is closed. */
const TURN_MS = 10_000;

/** A socket of Node, which knows what is being answered on it. Not documented; where it is missing nothing is waited for. */
type Answering = Duplex & { _httpMessage?: ServerResponse | null };

/**
 * Calls `then` once every response to a request before `request` is sent, for responses come in the order of their requests
 * (RFC 9112 §9.3.2): at once where none is due, and never where the connection ends first. What the peer says meanwhile stays in the
 * socket, which stops reading when its buffer is full.
 */
export function inTurn(request: IncomingMessage, socket: Duplex, then: () => void): void {
  const carrier: Answering = request.socket ?? socket;
  const earlier = (): ServerResponse | undefined => {
    const response = carrier._httpMessage ?? undefined;
    return response?.req === request ? undefined : response;
  };
  let response = earlier();
  if (response === undefined) {
    then();
    return;
  }

  const destroy = (): void => {
    socket.destroy();
    carrier.destroy();
  };
  // Node has taken its own listener away with its parser, and a response that waits for it would never go on.
  const drain = (): void => void (carrier._httpMessage?.writableNeedDrain && carrier._httpMessage.emit('drain'));
  const timer = setTimeout(destroy, TURN_MS).unref();
  socket.on('error', destroy);
  carrier.on('error', destroy).on('drain', drain);
  const next = (): void => {
    response = earlier();
    if (response !== undefined && !carrier.destroyed) {
      response.once('close', next);
      return;
    }
    clearTimeout(timer);
    carrier.off('drain', drain);
    // A response that was the last of its connection has ended it.
    if (carrier.destroyed || carrier.writableEnded || socket.destroyed) return;
    carrier.off('error', destroy);
    socket.off('error', destroy);
    then();
  };
  response.once('close', next);
}
