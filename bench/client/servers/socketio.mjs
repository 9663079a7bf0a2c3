/** Socket.IO with rooms. `--recovery`: with connection state recovery, for two minutes, which is its default. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { feed } from '../feed.mjs';

const http = createServer();
const io = new Server(http, {
  transports: ['websocket'],
  serveClient: false,
  ...(process.argv.includes('--recovery') && { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } }),
});
io.on('connection', (socket) => socket.on('subscribe', (room) => socket.join(room)));
await once(http.listen(0, '127.0.0.1'), 'listening');
feed({ port: http.address().port, publish: (payload) => void io.to('trades').emit('trade', payload) });
