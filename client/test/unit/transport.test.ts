/** Where a token goes, and what else a socket is opened with. */

import { setImmediate as turn } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { openTransport, type TransportOptions } from '../../src/core/transport.js';
import { Socket } from '../support/socket.js';

/** What a platform's constructor is given. */
async function given(options: Partial<TransportOptions>): Promise<unknown[]> {
  const calls: unknown[][] = [];
  const webSocket = class extends Socket {
    constructor(...args: unknown[]) {
      super();
      calls.push(args);
    }
  };
  const all = { url: 'ws://x/', token: undefined, tokenIn: 'none', protocols: [], headers: {}, ...options } as const;
  const transport = openTransport({ ...all, webSocket: webSocket as never }, { opened() {}, frame() {}, closed() {} });
  await vi.dynamicImportSettled();
  await turn();
  void transport.close(1000, '', true);
  return calls[0] as unknown[];
}

it('a token in a query is one value, whatever is in it', async () => {
  const [url] = await given({ url: 'ws://x/?a=1', token: 'a+b/c=&admin=1#x', tokenIn: 'query' });
  expect([...new URL(url as string).searchParams]).toEqual([
    ['a', '1'],
    ['access_token', 'a+b/c=&admin=1#x'],
  ]);
});

it('a header is said once, however its name is written', async () => {
  const headers = { COOKIE: 'theme=dark', authorization: 'Basic x', 'X-Own': '1' };
  const [, init] = await given({ token: 'abc', tokenIn: 'header', headers });
  expect([...new Headers((init as { headers: Record<string, string> }).headers)]).toEqual([
    ['authorization', 'Bearer abc'],
    ['cookie', 'access_token=abc; theme=dark'],
    ['x-own', '1'],
  ]);
});
