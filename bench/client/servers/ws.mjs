/** `ws`: each payload as a text frame of its own to everybody, for clients without topics. */
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { feed } from '../feed.mjs';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
await once(server, 'listening');
feed({
  port: server.address().port,
  publish(payload) {
    const text = JSON.stringify(payload);
    for (const client of server.clients) client.send(text);
  },
});
