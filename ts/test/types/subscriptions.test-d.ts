import { expectTypeOf, test } from 'vitest';
import type { Authorize, SnapshotContext, SnapshotsOptions, SubscriptionChange, WSEServerOptions } from '../../src/index.js';
import { RustWSEServer } from '../../src/index.js';

test('authorize knows what it is asked, and may answer in several ways', () => {
  const options: WSEServerOptions = {
    subscriptions: 'acl',
    authorize: (conn, user, topics) => {
      expectTypeOf(conn).toEqualTypeOf<number>();
      expectTypeOf(user).toEqualTypeOf<string | null>();
      expectTypeOf(topics).toEqualTypeOf<readonly string[]>();
      return topics.length > 0;
    },
  };
  expectTypeOf(options).toExtend<WSEServerOptions>();
  expectTypeOf<() => Promise<string[]>>().toExtend<Authorize>();
  expectTypeOf<() => { a: true; b: 'no' }>().toExtend<Authorize>();
  expectTypeOf<() => Map<string, boolean | string>>().toExtend<Authorize>();
  expectTypeOf<() => number>().not.toExtend<Authorize>();
  expectTypeOf<() => { a: number }>().not.toExtend<Authorize>();
});

test('a provider of snapshots tells values of any kind, by topic', () => {
  interface Board {
    cards: number;
  }
  const options: SnapshotsOptions = {
    topics: ['board.*'],
    get: async (user, topics, { conn, pin, signal }): Promise<Record<string, Board>> => {
      expectTypeOf(user).toEqualTypeOf<string | null>();
      expectTypeOf(conn).toEqualTypeOf<number>();
      expectTypeOf(pin).toEqualTypeOf<() => void>();
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
      return Object.fromEntries(topics.map((topic) => [topic, { cards: 1 }]));
    },
  };
  expectTypeOf(options.get).parameter(2).toEqualTypeOf<SnapshotContext>();
  expectTypeOf<() => string>().not.toExtend<SnapshotsOptions['get']>();
  expectTypeOf<'last'>().toExtend<NonNullable<WSEServerOptions['snapshots']>>();
});

test('what the application hears is typed in every style', () => {
  const server = new RustWSEServer();
  server.setCallbacks({ onSubscribe: (_, info) => expectTypeOf(info).toEqualTypeOf<SubscriptionChange>() });
  void server.serve({ unsubscribe: (_, info) => expectTypeOf(info).toEqualTypeOf<SubscriptionChange>() });
});
