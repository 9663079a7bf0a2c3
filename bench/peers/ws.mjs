/**
 * `ws` as its README broadcasts: go through the open clients and send each the same Buffer (encoded once, not per client).
 * permessage-deflate is off, which is the default. Topics are Sets, which an application beside ws would keep. `--attached`: at the
 * port of an HTTP server that is not its own.
 */
import { createServer } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';
import { announce, Publisher } from './publisher.mjs';
import { authenticate } from './token.mjs';

const secret = process.env.BENCH_JWT_SECRET;
const topics = new Map();
const asText = { binary: false };

const bench = new Publisher({
  publish(topic, text) {
    const data = Buffer.from(text);
    for (const client of topics.get(topic) ?? []) if (client.readyState === WebSocket.OPEN) client.send(data, asText);
  },
  // About 25,000 sends per turn of the event loop: more would keep it from hearing what has arrived.
  chunk: (subscribers) => Math.floor(25_000 / subscribers),
  gc: globalThis.gc,
});

const listen = { host: '127.0.0.1', port: 0, backlog: 4096 };
const app = process.argv.includes('--attached') ? createServer() : undefined;
const server = new WebSocketServer({
  ...(app === undefined ? listen : { server: app }),
  ...(secret !== undefined && {
    verifyClient: ({ req }) => {
      req.user = authenticate(secret, req.headers.cookie)?.sub;
      return req.user !== undefined;
    },
  }),
});

server.on('connection', (socket) => {
  const subscribed = [];
  socket.on('message', (data) => {
    const text = data.toString();
    if (text.charCodeAt(0) !== 123) {
      socket.send(text);
      return;
    }
    const message = JSON.parse(text);
    switch (message.t) {
      case 'in':
        bench.handled++;
        bench.sum += message.p.seq.length;
        break;
      case 'echo':
        socket.send(JSON.stringify(message));
        break;
      case 'bench':
        bench.order(message.p, (answer) => socket.send(answer));
        break;
      case 'sub':
        for (const topic of message.p.topics) {
          let members = topics.get(topic);
          if (members === undefined) {
            members = new Set();
            topics.set(topic, members);
          }
          members.add(socket);
          subscribed.push(topic);
        }
        socket.send('{"c":"U","t":"subbed","p":{},"v":1}');
        break;
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    for (const topic of subscribed) {
      const members = topics.get(topic);
      if (members?.delete(socket) && members.size === 0) topics.delete(topic);
    }
  });
});
server.on('listening', () => announce(server.address().port));
app?.listen(listen);
