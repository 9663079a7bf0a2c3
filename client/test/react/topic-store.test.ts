/** A topic store and its client, without components: what it keeps, and for how long. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, onTestFinished } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { connect, type WSEEvent } from '../../src/index.js';
import { createTopicStore } from '../../src/react/topic-store.js';
import { Peer } from '../support/wse.js';

const UPDATES = 500;

it('keeps the last word of each user alone while a list is on its way', async () => {
  const peer = await Peer.start();
  // Nobody iterates: the client's own queue is not to keep what the store lets go.
  const client = connect(peer.url, { queueSize: 1 });
  onTestFinished(() => client.close());
  const alive: WeakRef<WSEEvent>[] = [];
  client.onAny((event) => alive.push(new WeakRef(event)));
  const connection = await peer.connection(0);
  connection.ready();
  await client.connected(5_000);
  const store = createTopicStore({ schedule: (fn) => void setImmediate(fn) });
  let arrive: ((list: Record<string, unknown>) => void) | undefined;
  const load = (): Promise<Record<string, unknown>> => new Promise((resolve) => (arrive = resolve));
  store.watch('room', () => {});
  store.attach(client);
  store.present('room', { load });
  const say = (t: string, user_id: string, data: unknown): void =>
    connection.send({ c: 'WSE', t, p: { user_id, data, topic: 'room' } });
  for (let n = 1; n <= UPDATES; n += 1) say('presence_update', 'ada', n);
  say('presence_join', 'bob', 1);
  say('presence_leave', 'eve', 1);
  await waitUntil(() => store.get('room').members.has('bob'), 'members');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  await waitUntil(
    () => {
      collect();
      return alive.filter((event) => event.deref()).length < UPDATES / 10;
    },
    () => `${alive.filter((event) => event.deref()).length} events are kept`,
  );
  arrive?.({ ada: 0, eve: 0, joe: 0 });
  await waitUntil(() => store.get('room').members.has('joe'), 'the list');
  expect(Object.fromEntries(store.get('room').members)).toEqual({ ada: UPDATES, joe: 0, bob: 1 });
});
