// Rooms. A client sends {"t":"join","p":{"room":"tea"}} and {"t":"say","p":{"room":"tea","text":"hello"}}.

import { RustWSEServer, topicSegment } from 'wse-server';

const server = new RustWSEServer({ port: Number(process.env.PORT ?? 0), pingInterval: 25 });
const { host, port } = await server.start();
console.log(`ws://${host}:${port}`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.drain({ timeout: 2 });
    await server.stop();
  });
}

/** The topic of a room. What a user typed is encoded: a room called `*` is a room like any other, not every room. */
function roomOf({ p }) {
  return typeof p?.room === 'string' && p.room.length <= 64 ? `room.${topicSegment(p.room)}` : undefined;
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const [type, conn, payload] of batch) {
    if (type !== 'msg') continue;
    const room = roomOf(payload);
    if (room === undefined) continue;
    if (payload.t === 'join') {
      server.subscribeConnection(conn, [room], { exact: true });
      server.publish(room, 'joined', { conn, members: server.getTopicSubscriberCount(room) });
    }
    if (payload.t === 'leave') server.unsubscribeConnection(conn, [room]);
    // What a client sends can be anything: what throws here ends the loop, and with it the program.
    if (payload.t === 'say' && typeof payload.p.text === 'string') server.publish(room, 'said', { conn, text: payload.p.text });
  }
}
