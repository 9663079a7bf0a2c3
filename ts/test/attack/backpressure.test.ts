/** Peers that take more than they give: never read, read slowly, ask all the time, come and go. */

import { describe, expect, it } from 'vitest';
import { WSEOverloadedError } from '../../src/index.js';
import { INLINE, threads } from '../support/driver.js';
import { frame, Opcode, RawPeer } from '../support/raw-peer.js';
import { DEADLINE_MS, MIB, rss, startServer, type TestServer, waitUntil } from '../support/server.js';
import { alone, attacked, unharmed, type Witness } from './witness.js';

const KIB = 1024;

/** A peer that reads nothing any more, and its id. */
async function mute(target: TestServer, witness: Witness): Promise<{ peer: RawPeer; conn: number }> {
  const peer = await RawPeer.open(target.port);
  const conn = target.server.getConnections().find((id) => id !== witness.conn);
  if (conn === undefined) throw new Error('the peer is connected');
  peer.pause();
  return { peer, conn };
}

async function publishAll(target: TestServer, topic: string, text: string, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += text.length) {
    if (target.server.broadcast(topic, text)) continue;
    await waitUntil(() => target.gauge('inbox_bytes') < MIB, 'a shorter inbox');
  }
}

describe('a subscriber that never reads', () => {
  const budget = 256 * KIB;
  // More than any kernel keeps for a connection, so that the rest is the engine's to bound.
  const flood = 24 * MIB;
  const message = `{"t":"tick","p":"${'x'.repeat(16 * KIB)}"}`;

  it('loses frames beyond its budget, is reported, and costs the others nothing', async () => {
    const { target, witness } = await attacked({ maxOutboundQueueBytes: budget, slowConsumer: 'drop' });
    const { peer, conn } = await mute(target, witness);
    target.server.subscribeConnection(conn, ['t']);
    await waitUntil(() => target.server.getTopicSubscriberCount('t') === 1, 'subscription');
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, target.gauge('outbound_bytes'));
    }, 1);
    try {
      await publishAll(target, 't', message, flood);
    } finally {
      clearInterval(watch);
    }
    const [, , report] = await target.take('slow_consumer', conn);
    expect(report).toMatchObject({ policy: 'drop' });
    expect(report.droppedMessages).toBeGreaterThan(0);
    expect(report.queuedBytes).toBeLessThanOrEqual(budget);
    expect(most).toBeLessThanOrEqual(budget);
    expect(target.gauge('slow_consumer_drops')).toBeGreaterThan(0);
    await witness.echoes();

    // What it gets in the end is whole: nothing was cut inside a frame.
    peer.resume();
    target.server.send(conn, 'after'); // may find the queue full
    await waitUntil(() => target.gauge('outbound_bytes') === 0, 'empty queue');
    target.server.send(conn, 'last');
    await peer.nextText((text) => {
      if (text === 'last') return true;
      if (text.startsWith('{"c":"U"')) expect(text.length).toBe(message.length + '"c":"U",'.length);
      return false;
    });
    await unharmed(target, witness);
  });

  // It stands still: publishers wait for it for two seconds at most.
  it('does not stop publishers who wait for drained()', async () => {
    const { target, witness } = await attacked({ maxOutboundQueueBytes: budget, slowConsumer: 'drop' });
    const { conn } = await mute(target, witness);
    target.server.subscribeConnection(conn, ['t']);
    await waitUntil(() => target.server.getTopicSubscriberCount('t') === 1, 'subscription');
    await publishAll(target, 't', message, flood);
    await waitUntil(() => target.gauge('inbox_bytes') === 0, 'an empty inbox');
    await target.server.drained({ signal: AbortSignal.timeout(DEADLINE_MS) });
  });

  it('is closed with 4300 when that is the policy', async () => {
    const { target, witness } = await attacked({ maxOutboundQueueBytes: budget, slowConsumer: 'close', closeTimeout: 1 });
    const { peer, conn } = await mute(target, witness);
    target.server.subscribeConnection(conn, ['t']);
    await waitUntil(() => target.server.getTopicSubscriberCount('t') === 1, 'subscription');
    await publishAll(target, 't', message, flood);
    expect((await target.take('slow_consumer', conn))[2]).toMatchObject({ policy: 'close' });
    peer.resume();
    expect(await peer.closing()).toEqual({ code: 4300, reason: 'slow consumer' });
    await alone(target);
    await unharmed(target, witness);
  });

  it('is dropped without its Close when it does not even take that', async () => {
    const { target, witness } = await attacked({ maxOutboundQueueBytes: budget, slowConsumer: 'close', closeTimeout: 0.3 });
    const { conn } = await mute(target, witness);
    for (let i = 0; i < 48; i += 1) target.server.sendBytes(conn, new Uint8Array(512 * KIB));
    await target.take('slow_consumer', conn);
    await target.take('disconnect', conn);
    await waitUntil(() => target.gauge('outbound_bytes') === 0, 'empty queue');
    await unharmed(target, witness);
  });
});

describe('requests whose answers are never read', () => {
  it('a flood of pings holds a few pongs', async () => {
    const { target, witness } = await attacked();
    const { peer } = await mute(target, witness);
    const before = rss();
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => frame({ opcode: Opcode.ping, payload: 'x'.repeat(125) })));
    for (let i = 0; i < 150; i += 1) expect(await peer.write(pings)).toBe(true);
    peer.ping('the last one');
    expect(rss() - before).toBeLessThan(64 * MIB);
    expect(target.gauge('outbound_bytes')).toBeLessThan(MIB);
    await witness.echoes();
    peer.resume();
    await peer.next(({ opcode, payload }) => opcode === Opcode.pong && payload.toString() === 'the last one');
    await unharmed(target, witness);
  });

  it.each([
    ['JSON pings', '{"t":"ping"}'],
    ['client_hello', '{"t":"client_hello"}'],
    ['subscription_update', `{"t":"subscription_update","p":{"action":"unsubscribe","topics":["${'x'.repeat(2000)}"]}}`],
  ])('a flood of %s stays within the outbound budget', async (_, text) => {
    const budget = 64 * KIB;
    const { target, witness } = await attacked({ subscriptions: 'acl', maxOutboundQueueBytes: budget });
    const { peer } = await mute(target, witness);
    const before = rss();
    const asked = Buffer.concat(Array.from({ length: 500 }, () => frame({ payload: text })));
    let most = 0;
    for (let i = 0; i < 200 && target.gauge('slow_consumer_drops') === 0; i += 1) {
      expect(await peer.write(asked)).toBe(true);
      most = Math.max(most, target.gauge('outbound_bytes'));
    }
    await waitUntil(() => target.gauge('slow_consumer_drops') > 0, 'a reply that was dropped');
    expect(most).toBeLessThanOrEqual(budget);
    expect(rss() - before).toBeLessThan(96 * MIB);
    await unharmed(target, witness);
  });
});

describe('a reader with a window of one byte', () => {
  it('is served byte by byte, within its budget, beside the others', async () => {
    const budget = 512 * KIB;
    const { target, witness } = await attacked({ maxOutboundQueueBytes: budget });
    const peer = await RawPeer.open(target.port, { readWindow: 1 });
    const conn = target.server.getConnections().find((id) => id !== witness.conn) ?? 0;
    for (let i = 0; i < 300; i += 1) {
      target.server.send(conn, `${i}`.padStart(64 * KIB, '.'));
      await waitUntil(() => target.gauge('inbox_bytes') < MIB, 'a shorter inbox');
    }
    await waitUntil(() => target.gauge('slow_consumer_drops') > 0, 'a full queue');
    for (let i = 0; i < 20; i += 1) {
      await peer.readBytes(50);
      await witness.echoes();
      expect(target.gauge('outbound_bytes')).toBeLessThanOrEqual(budget + KIB);
    }
    await unharmed(target, witness);
  });
});

describe('churn', () => {
  it('of subscriptions leaves nothing behind', async () => {
    const { target, witness } = await attacked({ subscriptions: 'acl', maxSubscriptionsPerConnection: 100 });
    const peer = await RawPeer.open(target.port);
    const before = rss();
    for (let round = 0; round < 100; round += 1) {
      const topics = JSON.stringify(
        Array.from({ length: 150 }, (_, index) => `churn/${round}/${index}${index % 3 === 0 ? '*' : ''}`),
      );
      for (const action of ['subscribe', 'unsubscribe']) {
        peer.text(`{"t":"subscription_update","p":{"action":"${action}","topics":${topics}}}`);
      }
      const { p } = JSON.parse(await peer.nextText((text) => text.includes('"subscribe"'))) as {
        p: { success_topics: string[]; failed_topics: string[] };
      };
      expect([p.success_topics.length, p.failed_topics.length]).toEqual([100, 50]);
      expect(target.gauge('topics')).toBeLessThanOrEqual(100);
    }
    await peer.nextText((text) => text.includes('"unsubscribe"'));
    await waitUntil(() => target.gauge('topics') === 0, 'end of the topics');
    expect(rss() - before).toBeLessThan(64 * MIB);
    await unharmed(target, witness);
  });

  it('of very many subscriptions does not hold up the others', async () => {
    const { target, witness } = await attacked({ shards: threads(1), subscriptions: 'acl' });
    const peer = await RawPeer.open(target.port);
    const update = (action: string, prefix: string): Buffer =>
      frame({
        payload: JSON.stringify({
          t: 'subscription_update',
          p: { action, topics: Array.from({ length: 10_000 }, (_, index) => `${prefix}/${index}`) },
        }),
      });
    for (let i = 0; i < 10; i += 1) {
      peer.send(update('subscribe', `t${i}`));
      await peer.nextText((text) => text.includes('"subscribe"'));
    }
    // Names it does not hold, as many as one message takes.
    peer.send(update('unsubscribe', 'tx'));
    const start = performance.now();
    await witness.echoes();
    expect(performance.now() - start).toBeLessThan(2_000);
    await peer.nextText((text) => text.includes('"unsubscribe"'));
    await unharmed(target, witness);
  });

  it('of subscriptions by the application leaves nothing behind', async () => {
    const { target, witness } = await attacked();
    const before = rss();
    for (let i = 0; i < 20_000; i += 1) {
      expect(target.server.subscribeConnection(witness.conn, [`churn/${i}`, `churn/${i}/*`])).toBe(2);
      expect(target.server.unsubscribeConnection(witness.conn, i % 2 === 0 ? null : [`churn/${i}`, `churn/${i}/*`])).toBe(true);
    }
    await waitUntil(() => target.gauge('topics') === 0, 'end of the topics');
    expect(rss() - before).toBeLessThan(64 * MIB);
    await unharmed(target, witness);
  });

  it('of connections: 10,000 that come and are reset', async () => {
    const { target, witness } = await attacked({ keep: ([type]) => type === 'msg' });
    const before = rss();
    const request = Buffer.from(
      'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    );
    const { connect } = await import('node:net');
    const one = (index: number): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(target.port, '127.0.0.1');
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
        socket.on('connect', () => {
          // A third says nothing, a third half of it, a third everything.
          const part = index % 3 === 0 ? 0 : index % 3 === 1 ? 60 : request.length;
          socket.write(request.subarray(0, part), () => socket.resetAndDestroy());
        });
      });
    for (let i = 0; i < 10_000; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => one(i + index)));
    }
    await alone(target);
    expect(rss() - before).toBeLessThan(96 * MIB);
    await unharmed(target, witness);
  });
});

describe('publishers faster than the engine', () => {
  // Without a thread of its own an engine works off what such a loop publishes.
  it.skipIf(INLINE)('are told, then refused, and recover', async () => {
    const hardLimit = 512 * KIB;
    const { target, witness } = await attacked({ shards: threads(1), publisher: { highWaterMark: 128 * KIB, hardLimit } });
    const { server } = target;
    server.subscribeConnection(witness.conn, ['t']);
    await waitUntil(() => server.getTopicSubscriberCount('t') === 1, 'subscription');
    const text = 'x'.repeat(60 * KIB);
    const flood = (send: () => boolean): { taken: number; told: number; error: unknown } => {
      let told = 0;
      // This loop lets nothing else run: it must end by itself.
      const end = performance.now() + 10_000;
      for (let taken = 0; performance.now() < end; taken += 1) {
        try {
          if (!send()) told += 1;
        } catch (error) {
          return { taken, told, error };
        }
      }
      return { taken: Number.POSITIVE_INFINITY, told, error: undefined };
    };
    for (const send of [
      () => server.broadcast('t', text),
      () => server.broadcastAll(text),
      () => server.broadcastAllBytes(Buffer.from(text)),
    ]) {
      const { told, error } = flood(send);
      expect(told).toBeGreaterThan(0);
      expect(error).toBeInstanceOf(WSEOverloadedError);
      expect(error).toMatchObject({ code: 'WSE_OVERLOADED' });
      expect(target.gauge('inbox_bytes')).toBeLessThanOrEqual(hardLimit);
      await server.drained();
      expect(server.broadcast('t', 'small')).toBe(true);
    }
    expect(target.metric('wse_publish_refused_total')).toBe(3);
    await unharmed(target, witness);
  });
});

describe('peers faster than the host', () => {
  const message = (index: number): Buffer => frame({ payload: `{"t":"n","p":${index}}` });

  it('are not read until it drains, and nothing is lost', async () => {
    const target = await startServer({ keep: false, maxInboundQueueSize: 500 });
    const peer = await RawPeer.open(target.port);
    const count = 50_000;
    for (let i = 0; i < count; i += 1000)
      peer.send(Buffer.concat(Array.from({ length: 1000 }, (_, index) => message(i + index))));
    await waitUntil(() => target.metric('wse_read_pauses_total') > 0, 'a pause');
    // One read of 64 KiB may pass the mark, a connection's turn is four of them.
    expect(target.server.inboundQueueDepth()).toBeLessThan(500 + (4 * 64 * KIB) / message(0).length + 500);
    let next = 0;
    for await (const batch of target.server.batches()) {
      for (const [type, , payload] of batch) {
        if (type !== 'msg') continue;
        expect(payload.p).toBe(next);
        next += 1;
      }
      if (next === count) break;
    }
    expect(target.server.inboundDroppedCount()).toBe(0);
  });

  it('lose messages, counted, when the host wants it so, but never a connect or disconnect', async () => {
    const target = await startServer({ keep: false, maxInboundQueueSize: 100, inboundOverflow: 'drop' });
    const count = 20_000;
    const peer = await RawPeer.open(target.port);
    for (let i = 0; i < count; i += 1000)
      peer.send(Buffer.concat(Array.from({ length: 1000 }, (_, index) => message(i + index))));
    await waitUntil(() => target.gauge('messages_received') === count, 'all messages');
    peer.destroy();
    await waitUntil(() => target.server.getConnectionCount() === 0, 'departure');
    const kinds = { connect: 0, msg: 0, disconnect: 0 };
    for await (const batch of target.server.batches()) {
      for (const [type] of batch) kinds[type as keyof typeof kinds] += 1;
      if (kinds.disconnect === 1) break;
    }
    expect(kinds).toMatchObject({ connect: 1, disconnect: 1 });
    expect(target.server.inboundDroppedCount()).toBe(count - kinds.msg);
    expect(kinds.msg).toBeLessThan(count);
  });
});

describe('memory of a burst', () => {
  it('goes back to the system once the peer that caused it is gone', async () => {
    const { target, witness } = await attacked({ maxOutboundQueueBytes: 512 * MIB, shards: threads(1) });
    const { peer, conn } = await mute(target, witness);
    target.server.subscribeConnection(conn, ['t']);
    await waitUntil(() => target.server.getTopicSubscriberCount('t') === 1, 'subscription');
    const before = rss();
    await publishAll(target, 't', 'x'.repeat(MIB), 300 * MIB);
    await waitUntil(() => target.gauge('outbound_bytes') > 250 * MIB, 'a long queue');
    const held = rss() - before;
    expect(held).toBeGreaterThan(200 * MIB);
    peer.destroy();
    await alone(target);
    await waitUntil(() => rss() - before < held / 3, `most of ${Math.round(held / MIB)} MiB`);
    await unharmed(target, witness);
  });
});
