// The engine of the page: prices that move, a room, and who is there. One port: WebSockets at /wse, and the page once Vite has built it.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { RustWSEServer, WSERequestError } from 'wse-server';

const SYMBOLS = ['ACME', 'HOOLI', 'INITECH'];
const KEPT = 60;

/** What topics say, the latest last; what a page begins with. */
const state = new Map([['room', []], ...SYMBOLS.map((symbol) => [`price.${symbol}`, [100]])]);
const say = (topic, type, payload) => {
  const list = state.get(topic);
  list.push(payload);
  if (list.length > KEPT) list.shift();
  server.publish(topic, type, payload);
};

const TYPES = { js: 'text/javascript', css: 'text/css', html: 'text/html; charset=utf-8' };
const page = createServer(async (request, response) => {
  const path = request.url === '/' || request.url.startsWith('/?') ? '/index.html' : request.url;
  // Names that Vite gives, and nothing else of this machine.
  const file = /^\/(?:index\.html|assets\/[\w-]+\.(?:js|css))$/.test(path) ? await read(path) : undefined;
  if (file === undefined) response.writeHead(404).end('Not here. The page: npx vite build examples/vite-react\n');
  else response.setHeader('Content-Type', TYPES[path.split('.').at(-1)]).end(file);
});
const folder = process.env.DIST ? `${process.env.DIST}/` : fileURLToPath(new URL('dist/', import.meta.url));
const read = (path) => readFile(folder + path.slice(1)).catch(() => undefined);

const server = new RustWSEServer({
  port: Number(process.env.PORT ?? 8787),
  path: '/wse',
  http: page,
  maxMessageSize: 4096,
  subscriptions: 'acl', // the engine answers who subscribes, within what onUpgrade allows
  recovery: true, // who was away gets what it missed
  presence: true,
  snapshots: {
    topics: ['room', 'price.*'],
    get: (_user, topics) => Object.fromEntries(topics.map((topic) => [topic, state.get(topic)])),
  },
  onUpgrade: ({ query }) => ({
    user: randomUUID(), // nobody is known here: each connection is somebody else
    data: { name: (query.get('name') ?? '').slice(0, 24) || 'nobody' },
    acl: { allow: [...state.keys()] },
  }),
});
const { host, port } = await server.start();
console.log(`http://${host}:${port}`);

const ticking = setInterval(() => {
  for (const symbol of SYMBOLS) {
    const topic = `price.${symbol}`;
    say(topic, 'price', state.get(topic).at(-1) * (1 + (Math.random() - 0.5) / 100));
  }
}, 250);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    clearInterval(ticking);
    await server.drain({ timeout: 2 });
    await server.stop();
    page.close();
  });
}

let lines = 0;
await server.serve({
  // What it returns is the reply, what it throws the refusal.
  message(conn, { t, p }) {
    if (t === 'who') return Object.fromEntries(Object.entries(server.presence('room')).map(([user, { data }]) => [user, data]));
    if (t !== 'say') return undefined;
    const text = String(p?.text ?? '').trim();
    if (text === '') throw new WSERequestError('EMPTY', 'Nothing was said.');
    if (text.length > 200) throw new WSERequestError('TOO_LONG', 'At most 200 characters.');
    say('room', 'said', { id: ++lines, name: server.getConnectionInfo(conn).data.name, text });
    return true;
  },
});
