/**
 * Probes (health, ready, metrics) that come behind other requests of a connection: that is the HTTP server's by
 * then, and the engine is asked what to say. Takes no other request.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { EngineHandle } from './engine-handle.js';

/** What is known of probes from the options. */
export interface Probes {
  /** Their paths. */
  paths: ReadonlySet<string>;
  /** The header in which trusted proxies name the client, if they do. */
  header: 'x-forwarded-for' | 'forwarded' | null;
}

/**
 * Has the server's requests looked at before its own listeners hear of them; a listener beside theirs could not keep them from
 * answering too.
 *
 * @param isOurs whether a socket came through the engine's port
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
  const forwarded = (header !== null && headers[header]) || '';
  const reply = engine.calls.probe(engine.id, {
    line: `${method} ${url}`,
    host: headers.host ?? null,
    forwarded: typeof forwarded === 'string' ? forwarded : forwarded.join(','),
    address: socket.remoteAddress ?? '',
    loopback: isLoopback(socket.localAddress),
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

function isLoopback(address = ''): boolean {
  const canonical = address.replace(/^::ffff:/, '');
  return canonical === '::1' || (isIP(canonical) === 4 && canonical.startsWith('127.'));
}
