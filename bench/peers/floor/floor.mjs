/** The floor: `floor.c` under the handlers that all peers share. One topic; what every row asks of it is in floor.c's head. */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { announce, Publisher } from '../publisher.mjs';

const addon = createRequire(import.meta.url)(process.env.BENCH_FLOOR);
const bench = new Publisher({ publish: (_topic, text) => addon.publish(text), gc: globalThis.gc });

function accept(request) {
  const key = /sec-websocket-key: *(\S+)/i.exec(request)[1];
  const hash = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${hash}\r\n\r\n`;
}

function heard(conn, text) {
  const first = text.charCodeAt(0);
  if (first === 71 && text.startsWith('GET ')) return addon.raw(conn, accept(text));
  if (first !== 123) return addon.send(conn, text);
  const message = JSON.parse(text);
  switch (message.t) {
    case 'in':
      bench.handled++;
      bench.sum += message.p.seq.length;
      break;
    case 'echo':
      addon.send(conn, JSON.stringify(message));
      break;
    case 'bench':
      bench.order(message.p, (answer) => addon.send(conn, answer));
      break;
    case 'sub':
      addon.subscribe(conn);
      addon.send(conn, '{"c":"U","t":"subbed","p":{},"v":1}');
      break;
  }
}

announce(
  addon.start((batch) => {
    for (let n = 0; n < batch.length; n += 2) heard(batch[n], batch[n + 1]);
  }),
);
