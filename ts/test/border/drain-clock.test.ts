/** Time-outs of what arrives while a thread blocks in `drainInbound()`: on an engine of the same thread nothing else runs meanwhile. */

import { once } from 'node:events';
import net from 'node:net';
import { expect, it } from 'vitest';
import { startServer, within } from '../support/server.js';
import { QUIET } from './client.js';

it('a handshake that begins during drainInbound() ends in time, though nothing else happens', async () => {
  const { server, port } = await startServer({ ...QUIET, keep: false, handshake: { timeout: 1 } });
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\n');
  socket.resume();
  const closed = once(socket, 'close');
  server.drainInbound(10, 300);
  await within(closed, 'the end of a handshake');
  expect(server.healthSnapshot()['connections'] ?? 0).toBe(0);
});
