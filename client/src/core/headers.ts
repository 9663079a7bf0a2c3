/**
 * Sockets that can be opened with headers: those of `ws`, and the platform's own in Node 22, Bun and Deno. Loaded there, and where headers are
 * asked for; a page has none.
 */

import type { SocketConstructor, SocketLike, TransportOptions } from './transport.js';

/** The constructor, and whether it is `ws`'s, which takes headers as a third argument. */
async function findSocket(): Promise<[SocketConstructor, boolean]> {
  try {
    // Inside of `try` by the letter: webpack builds without an optional package only there.
    const found = (await import('#ws')) as { WebSocket?: SocketConstructor };
    if (found.WebSocket !== undefined) return [found.WebSocket, true];
  } catch {}
  const { WebSocket } = globalThis as { WebSocket?: SocketConstructor };
  if (WebSocket === undefined) throw new Error('no WebSocket here: install the package ws');
  return [WebSocket, false];
}

/** What opens a socket, with the token in its headers where it goes there. */
export async function opener({
  token,
  tokenIn,
  headers: given,
  webSocket,
}: TransportOptions): Promise<(url: string, protocols: string[]) => SocketLike> {
  const [Socket, own]: [SocketConstructor, boolean] = webSocket ? [webSocket, false] : await findSocket();
  // One spelling: two of one name would be sent both.
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) headers[name.toLowerCase()] = value;
  if (token && tokenIn === 'header') {
    headers['authorization'] = `Bearer ${token}`;
    headers['cookie'] = [`access_token=${token}`, headers['cookie']].filter(Boolean).join('; ');
  }
  return (url, protocols) => {
    if (own) return new Socket(url, protocols, { headers });
    return Object.keys(headers).length > 0 ? new Socket(url, { protocols, headers }) : new Socket(url, protocols);
  };
}
