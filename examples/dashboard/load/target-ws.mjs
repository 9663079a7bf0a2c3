// `ws` under the same load.
//
// Owns: a `ws` server on loopback that sends as its README broadcasts: through all clients, each the same Buffer. It is
// given the bound the engine has of itself: beyond QUEUE_BYTES a connection loses messages; and one for all together.
// Never: compresses (its default), publishes by itself, measures time.

import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket, WebSocketServer } from 'ws';
import { QUEUE_BYTES } from './bounds.mjs';

const ALL_QUEUES = 64 * 1024 * 1024;

export async function createTarget({ port, maxConnections }) {
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port,
    backlog: 4096,
    maxPayload: 1024,
    verifyClient: ({ origin }) => origin === undefined && server.clients.size < maxConnections,
  });
  let dropped = 0;
  let lost = 0;
  let probe = null;
  let ended = null;
  server.on('connection', (socket, { url }) => {
    socket.on('error', () => {});
    if (url !== '/probe') return;
    probe = socket;
    ended = null;
    lost = 0;
    socket.once('close', (code, reason) => {
      if (probe !== socket) return;
      probe = null;
      ended = `${code} ${reason}`.trim();
    });
  });
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));

  return {
    port: server.address().port,
    facts: { driver: 'JavaScript', shards: 0 },
    publish(text) {
      const data = Buffer.from(text);
      let waiting = 0;
      for (const client of server.clients) {
        if (client.readyState !== WebSocket.OPEN) continue;
        const queued = client.bufferedAmount;
        waiting += queued;
        if (queued <= QUEUE_BYTES) client.send(data, { binary: false });
        else {
          dropped++;
          if (client === probe) lost++;
        }
      }
      return waiting < ALL_QUEUES;
    },
    room: () => pause(10),
    connections: () => server.clients.size,
    dropped: () => dropped,
    probe: () => ({ queued: probe?.bufferedAmount ?? 0, dropped: lost, closed: ended }),
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const client of server.clients) client.close(1012);
      const patience = setTimeout(() => server.clients.forEach((client) => client.terminate()), 1000);
      await closed;
      clearTimeout(patience);
    },
  };
}
