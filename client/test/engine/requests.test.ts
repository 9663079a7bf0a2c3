/** Requests both ways, between this client and the `serve()` and `request()` of the server. */

import { describe, expect, it, onTestFinished } from 'vitest';
import { RustWSEServer, type WSEHandlers, type WSEMessage, WSERequestError } from '../../../ts/src/index.js';
import { threads } from '../../../ts/test/support/driver.js';
import { waitUntil } from '../../../ts/test/support/server.js';
import { open, type TestClient } from '../support/client.js';

async function start(handlers: WSEHandlers): Promise<TestClient & { server: RustWSEServer; conn: number }> {
  const server = new RustWSEServer({ port: 0, shards: threads(2) });
  const { port } = await server.start();
  let conn = -1;
  const connect = (id: number): void => {
    conn = id;
  };
  const done = server.serve({ connect, error: () => {}, ...handlers });
  onTestFinished(async () => {
    await server.stop({ timeout: 1 });
    await done;
  });
  const test = open(`ws://127.0.0.1:${port}/wse`);
  await test.client.connected(5_000);
  await waitUntil(() => conn >= 0, 'connect');
  return { ...test, server, conn };
}

const failureOf = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => undefined).catch((error: unknown) => error);

describe('requests', () => {
  it('are answered by what serve() returns, or throws', async () => {
    let aborted = 0;
    const { client } = await start({
      message(_, payload, request) {
        const { t, p } = payload as WSEMessage;
        if (t === 'quote') return { symbol: (p as { symbol: string }).symbol, price: 12.5 };
        if (t === 'null') return null;
        if (t === 'refuse') throw new WSERequestError('NO_SUCH_SYMBOL', 'there is no ACME');
        if (t === 'fail') throw new Error('secret');
        request?.signal.addEventListener('abort', () => {
          aborted += 1;
        });
        return new Promise((resolve) => request?.signal.addEventListener('abort', () => resolve(1)));
      },
    });
    expect(await client.request('quote', { symbol: 'ACME' })).toEqual({ symbol: 'ACME', price: 12.5 });
    expect(await client.request('null')).toBeNull();
    expect(await failureOf(client.request('refuse'))).toMatchObject({
      code: 'WSE_REPLY_ERROR',
      remote: { code: 'NO_SUCH_SYMBOL', message: 'there is no ACME' },
    });
    expect(await failureOf(client.request('fail'))).toMatchObject({
      remote: { code: 'HANDLER_FAILED', message: 'The request could not be handled' },
    });
    const controller = new AbortController();
    const given = failureOf(client.request('wait', null, { signal: controller.signal }));
    const behind = client.request('quote', { symbol: 'B' });
    setTimeout(() => controller.abort(), 20);
    expect(await given).toMatchObject({ code: 'WSE_ABORTED' });
    await waitUntil(() => aborted === 1, 'the signal of the handler');
    expect(await behind, 'what waited for it').toEqual({ symbol: 'B', price: 12.5 });
    expect(await failureOf(client.request('wait', null, { timeout: 30 }))).toMatchObject({ code: 'WSE_TIMEOUT' });
    await waitUntil(() => aborted === 2, 'the deadline of the handler');
  });

  it('of the server are answered by the client', async () => {
    const { client, server, conn } = await start({ message: () => undefined });
    client.onRequest('confirm', (payload) => ({ confirmed: payload }));
    client.onRequest('refuse', () => {
      throw Object.assign(new Error('not now'), { code: 'BUSY' });
    });
    expect(await server.request(conn, 'confirm', { text: 'Sell?' })).toEqual({ confirmed: { text: 'Sell?' } });
    expect(await failureOf(server.request(conn, 'refuse'))).toEqual(new WSERequestError('BUSY', 'not now'));
    expect(await failureOf(server.request(conn, 'unknown'))).toMatchObject({ code: 'NOT_HANDLED' });
    // As the server would have to end the connection for.
    client.onRequest('large', () => 'x'.repeat(1_100_000));
    expect(await failureOf(server.request(conn, 'large'))).toMatchObject({ code: 'WSE_TOO_LARGE' });
    expect(client.isConnected).toBe(true);
    let aborted = false;
    client.onRequest(
      'slow',
      (_, { signal }) =>
        new Promise(() =>
          signal.addEventListener('abort', () => {
            aborted = true;
          }),
        ),
    );
    const controller = new AbortController();
    const given = failureOf(server.request(conn, 'slow', null, { signal: controller.signal }));
    setTimeout(() => controller.abort(), 20);
    expect(await given).toBe(controller.signal.reason);
    await waitUntil(() => aborted, 'the signal of the client');
  });
});
