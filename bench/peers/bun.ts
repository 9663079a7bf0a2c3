/**
 * Bun.serve with its native publish/subscribe, as Bun's WebSocket guide has it: one handler object, topics in native code,
 * `server.publish` of strings. permessage-deflate is off, which is the default.
 */
import { dlopen, ptr } from 'bun:ffi';
import { announce, Publisher } from './publisher.mjs';
import { authenticate } from './token.mjs';

const secret = process.env.BENCH_JWT_SECRET;

/** Bun's high-resolution clocks count from the start of the process; the generator needs the machine's. */
function monotonicOffset(): bigint {
  const { symbols } = dlopen('libc.so.6', { clock_gettime: { args: ['i32', 'ptr'], returns: 'i32' } });
  const time = new BigInt64Array(2);
  symbols.clock_gettime(1, ptr(time));
  const own = BigInt(Bun.nanoseconds());
  return time[0] * 1_000_000_000n + time[1] - own;
}
const offset = monotonicOffset();

const bench = new Publisher({
  publish: (topic: string, text: string) => {
    server.publish(topic, text);
  },
  clock: () => BigInt(Bun.nanoseconds()) + offset,
  gc: () => Bun.gc(true),
});

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    if (secret !== undefined) {
      const claims = authenticate(secret, request.headers.get('cookie'));
      if (claims === undefined) return new Response('unauthorized', { status: 401 });
      return server.upgrade(request, { data: { user: claims.sub } })
        ? undefined
        : new Response('websocket only', { status: 426 });
    }
    return server.upgrade(request) ? undefined : new Response('websocket only', { status: 426 });
  },
  websocket: {
    message(socket, text: string) {
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
          bench.order(message.p, (answer: string) => socket.send(answer));
          break;
        case 'sub':
          for (const topic of message.p.topics) socket.subscribe(topic);
          socket.send('{"c":"U","t":"subbed","p":{},"v":1}');
          break;
      }
    },
  },
});
announce(server.port);
