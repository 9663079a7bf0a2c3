import { expectTypeOf, test } from 'vitest';
import { connect, type SubscriptionResult, type WSEClient, type WSEEvent } from '../../src/index.js';

interface Trade {
  qty: number;
}
interface Events {
  trade: Trade;
  news: string;
}
declare const client: WSEClient<Events>;
declare const plain: WSEClient;

test('events are typed by the map', () => {
  expectTypeOf(connect<Events>('ws://x')).toEqualTypeOf<WSEClient<Events>>();
  client.on('trade', (event) => expectTypeOf(event).toEqualTypeOf<WSEEvent<'trade', Trade>>());
  client.on('presence_join', ({ payload }) => expectTypeOf(payload.user_id).toEqualTypeOf<string>());
  // @ts-expect-error there is no such event
  client.on('trades', () => {});
  client.onAny((event) => {
    if (event.type === 'news') expectTypeOf(event.payload).toEqualTypeOf<string>();
  });
});

test('iteration and recv yield the union', async () => {
  for await (const event of client) if (event.type === 'trade') expectTypeOf(event.payload).toEqualTypeOf<Trade>();
  const event = await client.recv();
  if (event.type === 'trade') expectTypeOf(event.payload).toEqualTypeOf<Trade>();
});

test('without a map any type goes, and payloads are unknown', () => {
  plain.on('whatever', ({ payload }) => expectTypeOf(payload).toBeUnknown());
});

test('replies have the type that is asked for', () => {
  expectTypeOf(client.request<Trade>('quote')).toEqualTypeOf<Promise<Trade>>();
  expectTypeOf(client.request('quote')).toEqualTypeOf<Promise<unknown>>();
  expectTypeOf(client.subscribe(['a'])).toEqualTypeOf<Promise<SubscriptionResult>>();
  // @ts-expect-error no such priority
  void client.send('x', 1, { priority: 'urgent' });
  // @ts-expect-error a token is no number
  connect('ws://x', { token: 7 });
});
