/** The option `http`: whom requests that are no upgrades belong to, and what the engine answers itself. Owns its rules, no other. */

import { Server } from 'node:http';
import { Server as TlsServer } from 'node:tls';
import { describe } from '../describe.js';
import type { NativeHttp } from '../native/index.js';
import { checkPath } from './endpoints.js';
import type { OptionReader } from './reader.js';
import { suggestOption } from './suggest.js';

const QUESTIONS = ['health', 'ready', 'metrics'] as const;
const BESIDE = 'server.attachTo(httpServer) serves both on the port of the HTTP server instead';

/** What the engine is told, and the HTTP server that gets the rest. */
export interface HttpPart {
  native: NativeHttp | null;
  server: Server | null;
}

/**
 * Reads `http`, in its short form too.
 *
 * @throws WSEConfigError with the `path` of the member that is wrong.
 */
export function readHttp(reader: OptionReader): HttpPart {
  const given = reader.any('http');
  if (given === undefined || given === null) return { native: null, server: null };
  // A server has members of its own, and an application may be a function.
  if (typeof given === 'function' || isServerLike(given)) {
    return {
      native: { health: null, ready: null, metrics: null, allow: null, handsOver: true },
      server: check(reader, 'http', given),
    };
  }
  const http = reader.group('http');
  const server = http.has('server') ? http.any('server') : null;
  const [health, ready, metrics] = QUESTIONS.map((name) => readPath(http, name)) as [string | null, string | null, string | null];
  const allow = http.textsOrNull('allow');
  http.done(suggestOption);
  const paths = [health, ready, metrics].filter((path) => path !== null);
  if (new Set(paths).size < paths.length) reader.fail('http', 'health, ready and metrics need paths of their own');
  if (allow !== null && paths.length === 0) http.fail('allow', 'says who may ask for health, ready or metrics: name one of them');
  if (server === null && paths.length === 0) reader.fail('http', 'must name a server, or a path for health, ready or metrics');
  return {
    native: { health, ready, metrics, allow, handsOver: server !== null },
    server: server === null ? null : check(http, 'server', server),
  };
}

function readPath(http: OptionReader, name: (typeof QUESTIONS)[number]): string | null {
  const path = http.textOrNull(name);
  if (path !== null) checkPath(http, name, path);
  return path;
}

function isServerLike(given: unknown): boolean {
  return typeof given === 'object' && given !== null && 'emit' in given && typeof given.emit === 'function';
}

/** The HTTP server, if sockets can be handed to it here. */
function check(reader: OptionReader, name: string, given: unknown): Server {
  if (given instanceof TlsServer) {
    return reader.fail(name, `must be a server of node:http; of one that ends TLS, ${BESIDE}`);
  }
  if (typeof given === 'function') {
    return reader.fail(name, 'must be a server, not its handler: give http.createServer(handler), without listen()');
  }
  if (!(given instanceof Server)) return reader.fail(name, `must be a server of node:http, not ${describe(given)}`);
  const { versions, platform } = process;
  if ('bun' in versions || 'deno' in versions || platform === 'win32') {
    return reader.fail(name, `sockets cannot be handed to an HTTP server here (Windows, Bun, Deno); ${BESIDE}`);
  }
  return given;
}
