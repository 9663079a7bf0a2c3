import { expectTypeOf, test } from 'vitest';
import type { ClientStats, ConnectionState, SubscriptionResult, WSEClient, WSEEvent } from '../../src/index.js';
import { useTopicQuery } from '../../src/query/index.js';
import {
  type ConnectionInfo,
  type TopicState,
  useClient,
  useConnection,
  usePresence,
  useTopic,
  useTopicEvents,
  useWSE,
  WSEProvider,
} from '../../src/react/index.js';
import { useWSEStore } from '../../src/store/index.js';

interface Tick {
  price: number;
}

test('a topic has the type that is asked for, or that of its selector', () => {
  expectTypeOf(useTopic('a')).toBeUnknown();
  expectTypeOf(useTopic<Tick>('a')).toEqualTypeOf<Tick | undefined>();
  const price = useTopic('a', (tick: Tick | undefined, state) => {
    expectTypeOf(state).toEqualTypeOf<TopicState<Tick>>();
    return tick?.price ?? 0;
  });
  expectTypeOf(price).toEqualTypeOf<number>();
  useTopicEvents<Tick>('a', (event) => expectTypeOf(event).toEqualTypeOf<WSEEvent<string, Tick>>());
  expectTypeOf(useTopicQuery<Tick>('a').data).toEqualTypeOf<Tick | undefined>();
});

test('connection and presence', () => {
  expectTypeOf(useConnection()).toEqualTypeOf<ConnectionInfo>();
  expectTypeOf(useConnection(({ state }) => state)).toEqualTypeOf<ConnectionState>();
  expectTypeOf(usePresence<{ name: string }>('a')).toEqualTypeOf<ReadonlyMap<string, { name: string }>>();
  expectTypeOf(useClient()).toEqualTypeOf<() => WSEClient>();
  expectTypeOf(useWSEStore((state) => state.connectionState)).toEqualTypeOf<ConnectionState>();
  // @ts-expect-error an object
  usePresence('a', { data: 'away' });
});

test('useWSE in both forms', () => {
  const wse = useWSE('token', ['a'], { endpoints: ['wss://a.example'], reconnection: { mode: 'fibonacci', maxAttempts: -1 } });
  expectTypeOf(useWSE({ token: () => 'x', topics: ['a'], heartbeat: 5_000 })).toEqualTypeOf<typeof wse>();
  expectTypeOf(wse.isConnected).toEqualTypeOf<boolean>();
  expectTypeOf(wse.stats).toEqualTypeOf<ClientStats | null>();
  expectTypeOf(wse.subscribe(['a'], { recover: true })).toEqualTypeOf<Promise<SubscriptionResult>>();
  expectTypeOf(wse.sendMessage('a', 1, { priority: 10, correlation_id: 'x', ttl: 5, offline: false })).toEqualTypeOf<
    Promise<void>
  >();
  // @ts-expect-error there is no encryption yet
  void wse.sendMessage('a', 1, { encrypted: true });
  // @ts-expect-error nor here
  useWSE('token', [], { security: { encryptionEnabled: true } });
  // @ts-expect-error no such option
  useWSE({ topic: ['a'] });
  // @ts-expect-error a session makes its own
  WSEProvider({ url: 'ws://x', positions: {} });
});
