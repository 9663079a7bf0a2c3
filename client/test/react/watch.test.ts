/** Hooks and the store behind them: how often a topic is asked for. */

import { expect, it, vi } from 'vitest';
import { waitUntil } from '../../../ts/test/support/wait.js';
import { useClient, useTopic } from '../../src/react/index.js';
import { sessionFor } from '../../src/react/session.js';
import { provide, render, serve, show } from '../support/react.js';

it('watches a topic once, also with a selector that is another function each time', async () => {
  const server = await serve();
  const watched = vi.spyOn(sessionFor({ url: server.url }).store, 'watch');
  const count = show(() => useTopic('a', (_, state) => state.count));
  const client = show(() => useClient());
  render(provide({ url: server.url }, count.component, client.component), false);
  await waitUntil(() => client.last()?.().subscribedTopics.has('a'), 'subscription');
  for (let n = 1; n <= 3; n += 1) {
    server.server.publish('a', 'tick', n);
    await waitUntil(
      () => count.last() === n,
      () => `drawing ${n}; ${count.last()}`,
    );
  }
  expect(watched).toHaveBeenCalledTimes(1);
});
