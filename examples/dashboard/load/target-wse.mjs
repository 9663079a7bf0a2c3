// The engine under load.
//
// Owns: a `wse-server` on loopback whose every connection hears the topic `load`, and the one connection on /probe.
// Never: publishes by itself, measures time.

import { RustWSEServer } from 'wse-server';
import { QUEUE_BYTES } from './bounds.mjs';

const TOPIC = 'load';
const FEW = 0.02;

export async function createTarget({ port, maxConnections }) {
  // Raw: the same bytes as `ws` sends, nothing of the engine's own protocol. No page may connect, whatever its origin.
  const server = new RustWSEServer({
    host: '127.0.0.1',
    port,
    protocol: 'raw',
    allowedOrigins: ['http://127.0.0.1'],
    maxConnections,
    maxMessageSize: 1024,
    maxOutboundQueueBytes: QUEUE_BYTES,
  });
  let probe = null;
  let ended = null;
  let lost = 0;
  server.setCallbacks({
    onConnect(conn) {
      if (!server.isRunning()) return; // stopped: what had arrived is still handed out
      server.subscribeConnection(conn, [TOPIC]);
      if (server.getConnectionInfo(conn)?.path !== '/probe') return;
      probe = conn;
      ended = null;
      lost = 0;
    },
    onDisconnect(conn, how) {
      if (conn !== probe) return;
      probe = null;
      ended = how;
    },
    onSlowConsumer(conn, { droppedMessages }) {
      if (conn === probe) lost += droppedMessages;
    },
  });
  const address = await server.start();
  const { driver, shards } = server.healthSnapshot();

  return {
    port: address.port,
    facts: { driver, shards },
    /** False: give the connections time before the next. */
    publish(text) {
      try {
        return server.broadcast(TOPIC, text);
      } catch (error) {
        if (error?.code !== 'WSE_OVERLOADED') throw error;
        return false;
      }
    },
    room() {
      const { inbox_bytes, inbox_mark_bytes, pressing_connections, connections } = server.healthSnapshot();
      // A feed with a pace of its own does not wait for a few that are behind: their budget deals with them.
      if (inbox_bytes < inbox_mark_bytes && pressing_connections < Math.max(2, connections * FEW)) return;
      return server.drained().catch(() => {}); // rejected when the server is stopped meanwhile: then there is another
    },
    connections: () => server.getConnectionCount(),
    dropped: () => server.healthSnapshot().slow_consumer_drops,
    probe: () => ({
      queued: probe === null ? 0 : (server.getConnectionInfo(probe)?.queuedBytes ?? 0),
      dropped: lost,
      closed: ended === null ? null : `${ended.code} ${ended.reason}`.trim(),
    }),
    stop: () => server.stop({ timeout: 1 }),
  };
}
