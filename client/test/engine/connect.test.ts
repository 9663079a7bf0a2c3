/** The first things a client does, against a real engine. */

import { describe, expect, it } from 'vitest';
import { startServer, waitUntil } from '../../../ts/test/support/server.js';
import { WSEError } from '../../src/index.js';
import { open } from '../support/client.js';

const urlOf = ({ port }: { port: number }): string => `ws://127.0.0.1:${port}/wse`;

describe('a client', () => {
  it('greets, subscribes, hears and says', async () => {
    const server = await startServer({ subscriptions: 'acl' });
    const { client, events, states, errors } = open(urlOf(server), { topics: ['prices'] });
    expect(client.state).toBe('pending');
    await client.connected(5_000);
    expect(client.state).toBe('connected');
    const [, conn] = await server.take('connect');
    await waitUntil(() => client.subscribedTopics.has('prices'), 'subscription');
    expect(await client.subscribe(['news', ''])).toEqual({
      action: 'subscribe',
      success: false,
      topics: ['news'],
      failed: [{ topic: '', reason: 'invalid_name' }],
      recovered: undefined,
      presenceRefused: undefined,
    });
    server.server.publish('prices', 'tick', { n: 1 });
    expect(await client.recv(5_000)).toMatchObject({ type: 'tick', payload: { n: 1 }, category: 'U' });
    await client.send('order', { qty: 3 }, { priority: 'high', correlationId: 'c1' });
    const [, , message] = await server.take('msg', conn);
    expect(message).toMatchObject({ c: 'U', t: 'order', p: { qty: 3 }, pri: 8, cid: 'c1', v: 1 });
    await waitUntil(() => client.isFullyReady, 'server_hello');
    expect(client.server.limits['max_message_size']).toBe(1_048_576);
    expect(client.server.connectionId).toMatch(/^[0-9a-f-]{36}$/);
    await client.close();
    const [, , end] = await server.take('disconnect', conn);
    expect(end).toMatchObject({ code: 1000 });
    expect(client.state).toBe('disconnected');
    expect(await client.closed).toEqual({ code: 1000, reason: '', error: undefined });
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected', 'disconnected']);
    expect(events.map(({ type }) => type)).toEqual(['tick']);
    expect(errors).toEqual([]);
  });

  it('iterates, and the loop ends with the client', async () => {
    const server = await startServer({ subscriptions: 'acl' });
    const { client } = open(urlOf(server));
    await client.subscribe(['a']);
    for (let n = 0; n < 3; n += 1) server.server.publish('a', 'tick', n);
    const heard: unknown[] = [];
    for await (const { payload } of client) {
      heard.push(payload);
      if (heard.length === 3) void client.close();
    }
    expect(heard).toEqual([0, 1, 2]);
    await expect(client.recv()).rejects.toMatchObject({ code: 'WSE_CLOSED' });
    await expect(client.send('x')).rejects.toBeInstanceOf(WSEError);
  });

  it('pings, and answers pings', async () => {
    const server = await startServer({ pingInterval: 1 });
    const { client, states } = open(urlOf(server), { heartbeat: 50, idleTimeout: 5_000 });
    let pings = 0;
    client.on('ping' as never, () => {
      pings += 1;
    });
    const quality = new Promise<unknown>((resolve) => client.watch('quality', resolve));
    expect(await quality).toMatchObject({ loss: 0, latency: expect.any(Number) });
    await waitUntil(() => pings > 0, 'ping of the server');
    expect(client.getStats().network.latency).toBeGreaterThanOrEqual(0);
    expect(states.map(({ state }) => state)).toEqual(['connecting', 'connected']);
  });
});
