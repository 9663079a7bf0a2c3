// Rooms. A client sends {"t":"join","p":{"room":"tea"}} and {"t":"say","p":{"room":"tea","text":"hello"}}.

import { RustWSEServer, topicSegment } from 'wse-server';

const server = new RustWSEServer({
  port: Number(process.env.PORT ?? 0),
  maxMessageSize: 4096,
  maxSubscriptionsPerConnection: 32,
});
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

function handle([type, conn, payload]) {
  const room = type === 'msg' ? roomOf(payload) : undefined;
  if (room === undefined) return;
  if (payload.t === 'join') {
    server.subscribeConnection(conn, [room], { exact: true }); // throws beyond 32 rooms
    server.publish(room, 'joined', { conn, members: server.getTopicSubscriberCount(room) });
  }
  if (payload.t === 'leave') server.unsubscribeConnection(conn, [room]);
  if (payload.t === 'say' && typeof payload.p.text === 'string') server.publish(room, 'said', { conn, text: payload.p.text });
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const event of batch) {
    // What throws out of the loop ends it, and with it the program: nobody's message may.
    try {
      handle(event);
    } catch (error) {
      server.sendEvent(event[1], { t: 'refused', p: { code: error.code ?? 'ERROR' } });
    }
  }
}
