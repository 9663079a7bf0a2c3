// Serves the page: a handful of fixed files, its script and /config.json, over plain HTTP on this machine.
//
// Owns: the HTTP server, its headers, and the refusal of anything that is not a browser on this machine asking for this
// page (Host check against DNS rebinding, a Content-Security-Policy without a foreign origin in it).
// Never: maps a request path to a file path (the list below and the script's own files are all there is), makes the script
// (bundle.mjs), touches the WebSocket engine.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const FILES = new Map([
  ['/', 'index.html'],
  ...['style', 'tiles', 'panels', 'processes', 'chat', 'run'].map((name) => [`/${name}.css`, `${name}.css`]),
  ['/icon.svg', 'icon.svg'],
  ['/favicon.ico', 'icon.svg'],
]);

const TYPES = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

const HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self' ws://127.0.0.1:*", // any port: after a restart the engine has another one
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  // An isolated page gets a fine-grained clock, and the latency tile something to show below a millisecond.
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

const LOCAL_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;

/**
 * @param {{ config: () => object | null, scripts: () => Promise<Map<string, Uint8Array>> }} options
 *   config: what the page needs to know, null while not ready; scripts: its script, by path
 */
export function createPage({ config, scripts }) {
  const server = createServer((request, response) => {
    answer(request, response, config, scripts).catch(() => {
      if (!response.headersSent) send(response, 500, 'The page could not be read.\n');
    });
  });

  return {
    /** Resolves with the port, rejects with the system's error (EADDRINUSE, EACCES, …). */
    listen: (port) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
          server.off('error', reject);
          resolve(server.address().port);
        });
      }),
    /** Also ends the connections browsers keep open for later. */
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request, response, config, scripts) {
  if (!LOCAL_HOST.test(request.headers.host ?? '')) return send(response, 403, 'This page is served to localhost only.\n');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return send(response, 405, 'Only GET and HEAD.\n');
  }
  const path = request.url.split('?', 1)[0];
  if (path === '/config.json') {
    const body = config();
    return body === null
      ? send(response, 503, '{}', 'application/json')
      : send(response, 200, JSON.stringify(body), 'application/json');
  }
  const script = path.endsWith('.js') ? (await scripts()).get(path) : undefined;
  if (script !== undefined) return send(response, 200, script, TYPES.js);
  const name = FILES.get(path);
  if (name === undefined) return send(response, 404, 'Not found.\n');
  const body = await readFile(new URL(`public/${name}`, import.meta.url));
  send(response, 200, body, TYPES[name.slice(name.lastIndexOf('.') + 1)]);
}

function send(response, status, body, type = 'text/plain; charset=utf-8') {
  response.writeHead(status, { ...HEADERS, 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
