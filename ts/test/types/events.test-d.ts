import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { expectTypeOf, test } from 'vitest';
import type {
  Adoption,
  Disconnection,
  JsonValue,
  LazyMessage,
  PresenceChange,
  PresenceMember,
  PresenceStats,
  PresenceSubscription,
  SlowConsumer,
  SubscriptionChange,
  TokenExpiring,
  TokenRefreshed,
  WorkerPool,
  WSEBatch,
  WSEEvent,
  WSEMessage,
} from '../../src/index.js';
import { RustWSEServer } from '../../src/index.js';

declare const batch: WSEBatch;
declare const server: RustWSEServer;

test('an event narrows when it is destructured', () => {
  for (const [type, conn, payload] of batch) {
    switch (type) {
      case 'msg':
        expectTypeOf(conn).toEqualTypeOf<number>();
        expectTypeOf(payload).toEqualTypeOf<WSEMessage>();
        expectTypeOf(payload.t).toEqualTypeOf<string | undefined>();
        expectTypeOf(payload.p).toEqualTypeOf<JsonValue | undefined>();
        expectTypeOf(payload['anything']).toEqualTypeOf<JsonValue | undefined>();
        break;
      case 'connect':
      case 'auth_connect':
      case 'raw':
        expectTypeOf(payload).toEqualTypeOf<string>();
        break;
      case 'bin':
        expectTypeOf(payload).toEqualTypeOf<Uint8Array>();
        break;
      case 'adopt':
        expectTypeOf(payload).toEqualTypeOf<Adoption>();
        break;
      case 'disconnect':
        expectTypeOf(payload).toEqualTypeOf<Disconnection>();
        break;
      case 'presence_join':
      case 'presence_leave':
        expectTypeOf(conn).toEqualTypeOf<null>();
        expectTypeOf(payload).toEqualTypeOf<PresenceChange>();
        break;
      case 'subscribe':
      case 'unsubscribe':
        expectTypeOf(conn).toEqualTypeOf<number>();
        expectTypeOf(payload).toEqualTypeOf<SubscriptionChange>();
        break;
      case 'slow_consumer':
        expectTypeOf(payload).toEqualTypeOf<SlowConsumer>();
        break;
      case 'unsubscribe':
        expectTypeOf(payload).toEqualTypeOf<SubscriptionChange>();
        break;
      case 'auth_expiring':
        expectTypeOf(payload).toEqualTypeOf<TokenExpiring>();
        break;
      default:
        expectTypeOf(type).toEqualTypeOf<never>();
    }
  }
});

test('events are read-only and nothing is any', () => {
  expectTypeOf<WSEEvent[2]>().not.toBeAny();
  expectTypeOf<WSEMessage['p']>().not.toBeAny();
  expectTypeOf<WSEBatch>().toEqualTypeOf<readonly WSEEvent[]>();
  // @ts-expect-error an event cannot be changed
  batch[0][0] = 'msg';
});

test('the loop yields batches', async () => {
  for await (const one of server.batches({ maxEvents: 10, signal: new AbortController().signal })) {
    expectTypeOf(one).toEqualTypeOf<WSEBatch>();
  }
  expectTypeOf(server.drainInbound()).toEqualTypeOf<WSEBatch>();
});

test('a refresh says until when, or that nobody is there', () => {
  expectTypeOf(server.refreshToken(1, 't')).resolves.toEqualTypeOf<TokenRefreshed | false>();
  expectTypeOf(server.revoke({ sub: 'ada', before: new Date() })).toEqualTypeOf<number>();
});

test('handlers know what they get, and may be methods', () => {
  void server.serve({
    message: async (conn, payload) => {
      expectTypeOf(conn).toEqualTypeOf<number>();
      expectTypeOf(payload).toEqualTypeOf<WSEMessage | string | Uint8Array>();
    },
    adopt: (_, info) => void expectTypeOf(info).toEqualTypeOf<Adoption>(),
    disconnect: (_, info) => void expectTypeOf(info).toEqualTypeOf<Disconnection>(),
    error: (error, conn, event) => {
      expectTypeOf(error).toBeUnknown();
      expectTypeOf(conn).toEqualTypeOf<number | null>();
      expectTypeOf(event).toEqualTypeOf<WSEEvent>();
    },
  });
  // @ts-expect-error callbacks have other names
  void server.serve({ onMessage: () => {} });
  expectTypeOf(server.workers('./worker.js', { count: 2 })).resolves.toEqualTypeOf<WorkerPool>();
  expectTypeOf(RustWSEServer.fromWorker()).toEqualTypeOf<RustWSEServer>();
});

test('methods take and return what they say', () => {
  expectTypeOf(new RustWSEServer({ port: 0 }).start()).resolves.toEqualTypeOf<{ host: string; port: number }>();
  // Who does not say that there is a port may get none.
  type Anywhere = { host: string; port: number } | { host: null; port: null };
  expectTypeOf(server.start()).resolves.toEqualTypeOf<Anywhere>();
  expectTypeOf(new RustWSEServer({}).start()).resolves.toEqualTypeOf<Anywhere>();
  expectTypeOf(new RustWSEServer({ port: null }).start()).resolves.toEqualTypeOf<Anywhere>();
  expectTypeOf(new RustWSEServer({ port: 0 })).toExtend<RustWSEServer>();
  expectTypeOf(server.attachTo).parameter(0).toExtend<object>();
  server.attachTo(createServer(), { path: '/ws' });
  server.attachTo(createTlsServer());
  server.attachTo(createSecureServer({ allowHTTP1: true }));
  expectTypeOf(server.drain()).resolves.toEqualTypeOf<boolean>();
  expectTypeOf(server.broadcast('t', 'x')).toEqualTypeOf<boolean>();
  expectTypeOf(server.sendEvent(1, { t: 'x', at: new Date() })).toEqualTypeOf<number | false>();
  expectTypeOf(server.getConnections()).toEqualTypeOf<number[]>();
  expectTypeOf(server.getConnectionProtocol(1)).toEqualTypeOf<string | null>();
  expectTypeOf(server.getQueueGroupInfo('t')).toEqualTypeOf<Record<string, number>>();
  expectTypeOf(RustWSEServer.attach).parameters.toEqualTypeOf<[handle: number]>();
  // @ts-expect-error an unknown option
  new RustWSEServer({ port: 0, prot: 1 });
  new RustWSEServer({ port: 0, paths: { '/ws': {}, '/feed': { protocol: 'raw', protocols: ['a'] } } });
  // @ts-expect-error a subprotocol goes into protocols
  new RustWSEServer({ port: 0, protocol: 'chat.v1' });
  // @ts-expect-error text only
  server.send(1, new Uint8Array(1));
});

test('a lazy loop hands out messages that are not parsed', async () => {
  for await (const events of server.batches({ lazy: true })) {
    for (const [type, , payload] of events) if (type === 'msg') expectTypeOf(payload).toEqualTypeOf<LazyMessage>();
  }
  expectTypeOf(server.drainInbound(1, 1, { lazy: true })).toEqualTypeOf<WSEBatch<LazyMessage>>();
  expectTypeOf(server.drainInbound()).toEqualTypeOf<WSEBatch>();
});

test('presence says what became of it, and other subscriptions a number', () => {
  expectTypeOf(server.subscribeConnection(1, ['t'])).toEqualTypeOf<number | false>();
  expectTypeOf(server.subscribeConnection(1, ['t'], { queueGroup: 'g' })).toEqualTypeOf<number | false>();
  const done = server.subscribeConnection(1, ['t'], { exact: true, presence: { name: 'Ada' } });
  expectTypeOf(done).toEqualTypeOf<PresenceSubscription | false>();
  expectTypeOf(server.updatePresence(1, {})).toEqualTypeOf<number | false>();
  expectTypeOf(server.presence('t')).toEqualTypeOf<Record<string, PresenceMember>>();
  expectTypeOf(server.presenceStats('t')).toEqualTypeOf<PresenceStats>();
  // @ts-expect-error nobody is present in a group
  server.subscribeConnection(1, ['t'], { presence: {}, queueGroup: 'g' });
  // @ts-expect-error an object
  server.updatePresence(1, 'away');
});
