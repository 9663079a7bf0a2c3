// The client of docs/protocol.md, as printed, against a server: what it says there is enough to write one.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { startServer } from '../support/server.js';
import { waitUntil } from '../support/wait.js';

interface Message {
  t: string;
  p: Record<string, unknown>;
}
type Connect = (
  url: string,
  topics: string[],
  hear: (message: Message) => void,
) => { say(t: string, p: unknown): void; close(): void };

const page = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');
const [, code = ''] = /```js client\n([\s\S]*?)```/.exec(page) ?? [];

test('the client of the page hears all kinds of frames in order, and comes back', async () => {
  expect(code).toContain('export function connect');
  // Node 20 has no WebSocket of its own.
  const text = `export default (WebSocket) => {\n${code.replace('export ', '')}\nreturn connect;\n};`;
  const made = (await import(`data:text/javascript,${encodeURIComponent(text)}`)) as { default: (socket: unknown) => Connect };
  const connect = made.default(WebSocket);

  const host = await startServer({ subscriptions: 'acl', pingInterval: 0.2 });
  const heard: Message[] = [];
  const client = connect(`ws://127.0.0.1:${host.port}/`, ['news.*'], (message) => heard.push(message));
  const replies = (t: string) => heard.filter((message) => message.t === t);
  await waitUntil(() => replies('subscription_update').length === 1, 'subscription');
  expect(replies('subscription_update')[0]?.p).toMatchObject({ success: true, success_topics: ['news.*'] });
  expect(replies('server_hello')).toHaveLength(1);

  await host.take('connect');
  client.say('hello', { n: 1 });
  const [, conn, said] = await host.take('msg');
  expect(said).toMatchObject({ t: 'hello', p: { n: 1 } });
  for (let n = 0; n < 50; n += 1) {
    if (n % 3 === 0)
      host.server.sendEvent(conn, { t: 'n', p: { n, filler: 'x'.repeat(3000) } }); // C:
    else if (n % 3 === 1)
      host.server.sendEvent(conn, { t: 'n', p: { n } }); // BINARY
    else host.server.send(conn, JSON.stringify({ t: 'n', p: { n } }));
  }
  await waitUntil(() => replies('n').length === 50, 'all fifty');
  expect(replies('n').map(({ p }) => p['n'])).toEqual(Array.from({ length: 50 }, (_, n) => n));
  host.server.publish('news.local', 'headline', { text: 'Rain' });
  await waitUntil(() => replies('headline').length === 1, 'the headline');

  host.server.disconnect(conn); // 4300: come back
  await waitUntil(() => replies('subscription_update').length === 2, 'subscription after the reconnect');
  const [, again] = await host.take('connect');
  host.server.disconnect(again, { code: 4401, reason: 'no token' });
  await waitUntil(() => replies('closed').length === 1, 'its end');
  expect(replies('closed')[0]?.p).toEqual({ code: 4401 });
  expect(replies('ping')).toEqual([]);
});
