/**
 * Socket.IO with its WebSocket transport alone, rooms for topics, and `io.to(room).emit(event, object)`: the packet is
 * encoded once per emit. `perMessageDeflate` is off and the HTTP request object is let go, as its page on performance and
 * memory advises. `--recovery`: with connection state recovery, for two minutes, which is its default.
 */
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { announce, Publisher } from './publisher.mjs';

const http = createServer();
const io = new Server(http, {
  transports: ['websocket'],
  serveClient: false,
  perMessageDeflate: false,
  ...(process.argv.includes('--recovery') && { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } }),
});
io.engine.on('connection', (raw) => {
  raw.request = null;
});

const bench = new Publisher({
  publish: (topic, text) => {
    io.to(topic).emit('bench', JSON.parse(text));
  },
  chunk: (subscribers) => Math.floor(25_000 / subscribers),
  gc: globalThis.gc,
});

io.on('connection', (socket) => {
  socket.on('m', (message) => {
    switch (message.t) {
      case 'in':
        bench.handled++;
        bench.sum += message.p.seq.length;
        break;
      case 'echo':
        socket.emit('m', message);
        break;
      case 'bench':
        bench.order(message.p, (answer) => socket.emit('m', JSON.parse(answer)));
        break;
      case 'sub':
        socket.join(message.p.topics);
        socket.emit('m', { t: 'subbed' });
        break;
    }
  });
});
http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => announce(http.address().port));
