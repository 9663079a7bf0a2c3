/**
 * The watch Node's HTTP server keeps over its connections, begun for one that does not listen: `headersTimeout`, `requestTimeout` and
 * `closeIdleConnections()` do nothing without. Changes nothing of a server that listens.
 */

import type { Server } from 'node:http';

/** How Node names the timer of its watch, which holds the server. */
const TIMER = 'http.server.connectionsCheckingInterval';

/** Engines for which a server that does not listen is watched. */
const WATCHED = new WeakMap<Server, number>();

/**
 * Begins the watch. Node does so in a listener of its own; other listeners of `'listening'` are not to hear of what is not so.
 *
 * @returns what ends it, unless there is another engine for which it was begun, or the server listens and the watch is its own
 */
export function track(server: Server): () => void {
  if (server.listening) return () => {};
  const own = server.listeners('listening').find(({ name }) => name === 'setupConnectionsTracking');
  own?.call(server);
  WATCHED.set(server, (WATCHED.get(server) ?? 0) + 1);
  let isWatched = true;
  return () => {
    if (!isWatched) return;
    isWatched = false;
    const others = (WATCHED.get(server) ?? 1) - 1;
    WATCHED.set(server, others);
    if (others === 0 && !server.listening) clearInterval(timerOf(server));
  };
}

function timerOf(server: Server): NodeJS.Timeout | undefined {
  const symbol = Object.getOwnPropertySymbols(server).find(({ description }) => description === TIMER);
  return symbol && (server as unknown as Record<symbol, NodeJS.Timeout | undefined>)[symbol];
}
