/**
 * Enough of Centrifuge's JSON protocol to connect, subscribe and publish, on `ws`: Centrifugo could not be had, so the client beside it
 * is the real one and this server is not. Publications of one turn share a frame, up to sixteen, as Centrifugo's writer joins what
 * waits. `--recovery`: they have offsets, as those of a channel with a history have; nothing is kept.
 */
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { feed } from '../feed.mjs';

const JOINED = 16;
const recovery = process.argv.includes('--recovery');
const subscribers = new Set();
let offset = 0;
let waiting = [];

const answers = {
  connect: () => ({ client: '8b7a3c54-5a0f-4d5c-9d0e-3c1f6a2b7e10', version: '0.0.0', ping: 25, pong: true }),
  subscribe: () => (recovery ? { recoverable: true, positioned: true, epoch: 'bENc', offset } : {}),
};

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
server.on('connection', (socket) => {
  const ping = setInterval(() => socket.send('{}'), 25_000);
  socket.on('close', () => {
    clearInterval(ping);
    subscribers.delete(socket);
  });
  socket.on('message', (data) => {
    for (const line of String(data).split('\n')) {
      const { id, ...command } = JSON.parse(line);
      const [method] = Object.keys(command);
      // A pong has neither id nor method.
      if (id === undefined || answers[method] === undefined) continue;
      socket.send(JSON.stringify({ id, [method]: answers[method]() }));
      if (method === 'subscribe') subscribers.add(socket);
    }
  });
});

function flush() {
  const pushes = waiting;
  waiting = [];
  for (let n = 0; n < pushes.length; n += JOINED) {
    const frame = pushes.slice(n, n + JOINED).join('\n');
    for (const socket of subscribers) socket.send(frame);
  }
}

await once(server, 'listening');
feed({
  port: server.address().port,
  publish(data) {
    const pub = recovery ? { data, offset: ++offset } : { data };
    if (waiting.push(JSON.stringify({ push: { channel: 'trades', pub } })) === 1) queueMicrotask(flush);
  },
});
