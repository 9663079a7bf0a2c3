/** Presence whose data change while somebody is there: what the others' pages show, against a real engine. */

import { expect, it } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { usePresence } from '../../src/react/index.js';
import { provide, render, serve, show } from '../support/react.js';

it('the others see the new data of who is there', async () => {
  const server = await serve({ presence: true, onUpgrade: ({ query }) => ({ user: query.get('user') as string }) });
  const ada = show(() => Object.fromEntries(usePresence('room', { data: { name: 'Ada' } })));
  render(provide({ url: `${server.url}?user=ada` }, ada.component));
  await waitUntil(() => 'ada' in (ada.last() ?? {}), 'ada');

  let name = 'Bob';
  const bob = show(() => Object.fromEntries(usePresence('room', { data: { name } })));
  const tree = (): ReturnType<typeof provide> => provide({ url: `${server.url}?user=bob` }, bob.component);
  const page = render(tree());
  const shown = (): string => JSON.stringify(ada.last());
  await waitUntil(() => shown().includes('Bob'), shown);

  name = 'Robert';
  page.render(tree());
  await waitUntil(() => shown().includes('Robert'), shown);
  expect(ada.last()).toEqual({ ada: { name: 'Ada' }, bob: { name: 'Robert' } });
  await waitUntil(
    () => JSON.stringify(bob.last()) === '{"bob":{"name":"Robert"}}',
    () => JSON.stringify(bob.last()),
  );
  // By the connection they had: nobody has left, nobody joined once more.
  expect(server.server.presence('room')['bob']).toEqual({ data: { name: 'Robert' }, connections: 1 });
  const joined = server.events.map(([type]) => type).filter((type) => type.startsWith('presence_'));
  expect(joined).toEqual(['presence_join', 'presence_join']);
});
