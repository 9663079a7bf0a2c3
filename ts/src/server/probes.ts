/**
 * Probes (health, ready, metrics) that come behind other requests of a connection: that is the HTTP server's by
 * then, and the engine is asked what to say. Takes no other request.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { SOURCES } from '../upgrade/sources.js';
import type { EngineHandle } from './engine-handle.js';

/** What is known of probes from the options. */
export interface Probes {
  /** Their paths. */
  paths: ReadonlySet<string>;
  /** The header in which trusted proxies name the client, if they do. */
  header: 'x-forwarded-for' | 'forwarded' | null;
}

/** Fields by which a request shows that somebody has handed it on. */
const RELAYED = ['forwarded', 'via', 'x-forwarded-for', 'x-real-ip'];

/**
 * Has the server's requests looked at before its own listeners hear of them; a listener beside theirs could not keep them from
 * answering too.
 *
 * @param isOurs whether a socket came through this engine's port: the server may be behind several
 * @returns what ends that
 */
export function answerProbes(
  server: Server,
  engine: EngineHandle,
  { paths, header }: Probes,
  isOurs: (socket: Socket) => boolean,
): () => void {
  const { emit } = server;
  const interposed = (event: string | symbol, ...args: unknown[]): boolean => {
    if (event === 'request') {
      const [request, response] = args as [IncomingMessage, ServerResponse];
      const [path] = (request.url ?? '').split('?', 1) as [string];
      if (paths.has(path) && isOurs(request.socket) && answer(engine, header, request, response)) return true;
    }
    return (emit as (...all: unknown[]) => boolean).call(server, event, ...args);
  };
  Object.defineProperty(server, 'emit', { value: interposed, configurable: true, writable: true });
  return () => {
    // Somebody may have come after us.
    if (server.emit === interposed) server.emit = emit;
  };
}

function answer(engine: EngineHandle, header: Probes['header'], request: IncomingMessage, response: ServerResponse): boolean {
  const { method, url, headers, socket } = request;
  const source = SOURCES.get(socket);
  if (source === undefined) return false;
  const said = header === null ? undefined : headers[header];
  const reply = engine.calls.probe(engine.id, {
    line: `${method} ${url}`,
    host: headers.host ?? null,
    // Something even if it is empty: somebody has handed it on then.
    said: said === undefined ? '' : `${said},`,
    relayed: RELAYED.some((name) => name !== header && headers[name] !== undefined),
    source,
  });
  if (reply === null) return false;
  response.writeHead(reply.status, {
    'Content-Type': reply.kind,
    'Content-Length': Buffer.byteLength(reply.body),
    'Cache-Control': 'no-store',
    ...(reply.status === 405 ? { Allow: 'GET, HEAD' } : {}),
  });
  response.end(reply.body);
  return true;
}
