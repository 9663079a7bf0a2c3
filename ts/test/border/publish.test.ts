import { describe, expect, it } from 'vitest';
import { startServer, waitUntil } from '../support/server.js';
import { Client, heardSoFar, join, QUIET } from './client.js';

describe('publish', () => {
  it.each<[string, unknown, object | undefined, string]>([
    ['tick', { n: 1 }, undefined, '{"c":"U","t":"tick","p":{"n":1},"v":1}'],
    ['snapshot_x', [1], undefined, '{"c":"S","t":"snapshot_x","p":[1],"v":1}'],
    ['my_snapshot', null, undefined, '{"c":"S","t":"my_snapshot","p":null,"v":1}'],
    ['error', undefined, undefined, '{"c":"WSE","t":"error","p":null,"v":1}'],
    ['q"t', 'x', undefined, '{"c":"U","t":"q\\"t","p":"x","v":1}'],
    ['b', new Uint8Array([255]), undefined, '{"c":"U","t":"b","p":"ff","v":1}'],
    ['o', { at: new Date(0), nan: NaN }, undefined, '{"c":"U","t":"o","p":{"at":"1970-01-01T00:00:00.000Z","nan":null},"v":1}'],
    ['i', 1, { id: 'a"b' }, '{"c":"U","t":"i","p":1,"id":"a\\"b","v":1}'],
    ['d', 1, { id: 'i', ts: new Date(0) }, '{"c":"U","t":"d","p":1,"id":"i","ts":"1970-01-01T00:00:00.000Z","v":1}'],
  ])('%s is the envelope', async (type, payload, options, expected) => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['t']);
    expect(on.server.publish('t', type, payload, options as never)).toBe(true);
    expect((await heardSoFar(on, client, conn)).texts).toEqual([expected]);
  });
});

describe('broadcast', () => {
  it.each([
    ['{"t":"tick","p":1}', '{"c":"U","t":"tick","p":1}'],
    ['{"p":{"t":"error"},"t":"x_snapshot"}', '{"c":"S","p":{"t":"error"},"t":"x_snapshot"}'],
    ['{"t":"error"}', '{"c":"WSE","t":"error"}'],
    ['{"t": "error"}', '{"c":"U","t": "error"}'],
    ['{"t":5}', '{"c":"U","t":5}'],
    ['{"c":"X","t":"error"}', '{"c":"X","t":"error"}'],
    ['{"p":{"c":1},"t":"a"}', '{"c":"U","p":{"c":1},"t":"a"}'],
    ['{"p":1}', '{"p":1}'],
    ['{}', '{}'],
    ['plain ü text', 'plain ü text'],
    ['', ''],
    ['[1,{"t":"x"}]', '[1,{"t":"x"}]'],
  ])('of %s is %s; sendBytes, send and broadcastAllBytes change nothing', async (given, expected) => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['t']);
    expect(on.server.broadcast('t', given)).toBe(true);
    expect(on.server.broadcastLocal('t', given)).toBe(true);
    expect(on.server.broadcastAll(given)).toBe(true);
    expect(on.server.send(conn, given)).toBe(true);
    expect(on.server.broadcastAllBytes(Buffer.from(given))).toBe(true);
    expect(on.server.sendBytes(conn, Buffer.from(given))).toBe(true);
    expect(await heardSoFar(on, client, conn)).toEqual({
      texts: [expected, expected, expected, given],
      binaries: [given, given],
    });
  });

  it('reaches subscribers only, in order, also of a pattern, once per connection', async () => {
    const on = await startServer(QUIET);
    const exact = await join(on);
    const pattern = await join(on);
    const both = await join(on);
    const none = await join(on);
    expect(on.server.subscribeConnection(exact.conn, ['user:1:a'])).toBe(1);
    expect(on.server.subscribeConnection(pattern.conn, ['user:?:*'])).toBe(1);
    expect(on.server.subscribeConnection(both.conn, ['user:*', 'user:1:a', '*:a'])).toBe(3);
    expect(on.server.getTopicSubscriberCount('user:1:a')).toBe(2);
    for (const [topic, text] of [
      ['user:1:a', '1'],
      ['user:22:a', '2'],
      ['user:3:', '3'],
      ['user', '4'],
      ['other:a', '5'],
      ['user:1:a', '6'],
    ] as const) {
      on.server.broadcast(topic, text);
    }
    expect((await heardSoFar(on, exact.client, exact.conn)).texts).toEqual(['1', '6']);
    expect((await heardSoFar(on, pattern.client, pattern.conn)).texts).toEqual(['1', '3', '6']);
    expect((await heardSoFar(on, both.client, both.conn)).texts).toEqual(['1', '2', '3', '5', '6']);
    expect((await heardSoFar(on, none.client, none.conn)).texts).toEqual([]);

    on.server.unsubscribeConnection(both.conn, ['user:*', '*:a']);
    on.server.unsubscribeConnection(pattern.conn);
    await waitUntil(() => on.gauge('topics') === 1, 'one topic left');
    on.server.broadcast('user:1:a', '7');
    on.server.broadcast('user:3:a', '8');
    expect((await heardSoFar(on, pattern.client, pattern.conn)).texts).toEqual([]);
    expect((await heardSoFar(on, both.client, both.conn)).texts).toEqual(['7']);
  });

  it('keeps the order of direct sends, events and broadcasts of one caller', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['a', 'b']);
    const expected: string[] = [];
    for (let i = 0; i < 500; i += 1) {
      expected.push(`a${i}`, `d${i}`, `b${i}`, `l${i}`);
      on.server.broadcast('a', `a${i}`);
      on.server.send(conn, `d${i}`);
      on.server.broadcast('b', `b${i}`);
      on.server.broadcastAll(`l${i}`);
    }
    expect((await heardSoFar(on, client, conn)).texts).toEqual(expected);
  });

  it('of one turn arrives whole and in order, whatever the texts and topics are made of', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const topics = ['a', 'ü', '🎈', 'b\ud83d', 'x'.repeat(300)];
    expect(on.server.subscribeConnection(conn, [...topics, 'b\ufffd'])).toBe(6);
    const texts = ['', 'plain', 'ü\n🎈', '\ud83d', '\ude00', 'y'.repeat(3000), '\u0000', 'é'.repeat(100)];
    const expected: string[] = [];
    for (let i = 0; i < 6000; i += 1) {
      const text = `${texts[i % texts.length]}|${i}`;
      expected.push(Buffer.from(text).toString());
      expect(on.server.broadcast(topics[(i >> 1) % topics.length] as string, text)).toBeTypeOf('boolean');
      if (i % 500 === 499) await on.server.drained();
    }
    expect((await heardSoFar(on, client, conn)).texts).toEqual(expected);
  });

  it('reaches a connection subscribed a moment ago, and not one unsubscribed a moment ago', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    for (let i = 0; i < 100; i += 1) {
      on.server.subscribeConnection(conn, [`t${i}`]);
      on.server.broadcast(`t${i}`, `in${i}`);
      on.server.unsubscribeConnection(conn, [`t${i}`]);
      on.server.broadcast(`t${i}`, `out${i}`);
    }
    expect((await heardSoFar(on, client, conn)).texts).toEqual(Array.from({ length: 100 }, (_, i) => `in${i}`));
    await waitUntil(() => on.gauge('topics') === 0, 'no topic left');
  });
});

describe('queue groups', () => {
  it('give each publication to one member, in turn, and tell their members', async () => {
    const on = await startServer(QUIET);
    const members = [await join(on), await join(on), await join(on)];
    const plain = await join(on);
    for (const { conn } of members) expect(on.server.subscribeConnection(conn, ['jobs'], { queueGroup: 'workers' })).toBe(1);
    const [first, second] = members as [(typeof members)[0], (typeof members)[0], (typeof members)[0]];
    expect(on.server.subscribeConnection(first.conn, ['jobs'], { queueGroup: '__proto__' })).toBe(1);
    on.server.subscribeConnection(plain.conn, ['jobs']);
    const info = on.server.getQueueGroupInfo('jobs');
    expect(Object.entries(info).sort()).toEqual([
      ['__proto__', 1],
      ['workers', 3],
    ]);
    expect(on.server.getQueueGroupInfo('nothing')).toEqual({});
    expect(on.server.getTopicSubscriberCount('jobs')).toBe(1);

    on.server.unsubscribeConnection(first.conn, ['jobs']);
    on.server.subscribeConnection(first.conn, ['jobs'], { queueGroup: 'workers' });
    expect(on.server.getQueueGroupInfo('jobs')).toEqual({ workers: 3 });
    for (let i = 0; i < 9; i += 1) on.server.broadcast('jobs', `{"t":"job","p":${i}}`);
    const heard = [];
    for (const { client, conn } of members) heard.push((await heardSoFar(on, client, conn)).texts);
    expect(heard.map((texts) => texts.length)).toEqual([3, 3, 3]);
    expect(heard.flat().sort()).toEqual(Array.from({ length: 9 }, (_, i) => `{"c":"U","t":"job","p":${i}}`));
    expect((await heardSoFar(on, plain.client, plain.conn)).texts).toHaveLength(9);

    second.client.socket.terminate();
    await on.take('disconnect', second.conn);
    expect(on.server.getQueueGroupInfo('jobs')).toEqual({ workers: 2 });
  });
});

describe('an ACL', () => {
  it('is asked at subscribe and at delivery; deny wins; the new one counts at once', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    expect(on.server.setTopicAcl(conn, { allow: ['user:1:*', 'news'], deny: ['user:1:secret'] })).toBe(true);
    expect(on.server.subscribeConnection(conn, ['user:1:a', 'user:1:secret', 'user:2:a', 'news', 'other'])).toBe(2);
    expect(on.server.subscribeConnection(conn, ['*', 'user:1:*'])).toBe(1);
    expect(on.server.subscribeConnection(conn, ['other'], { queueGroup: 'g' })).toBe(0);
    for (const topic of ['user:1:a', 'user:1:secret', 'user:2:a', 'news', 'other']) on.server.broadcast(topic, topic);
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['user:1:a', 'news']);
    on.server.setTopicAcl(conn, { deny: ['news'] });
    on.server.broadcast('news', 'denied');
    on.server.broadcast('user:1:secret', 'allowed now');
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['allowed now']);
    on.server.setTopicAcl(conn, { allow: null, deny: null });
    on.server.broadcast('news', 'back');
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['back']);
    expect(on.metric('wse_acl_denied_total')).toBeGreaterThanOrEqual(2);
  });
});

describe('thousands of connections', () => {
  it('are all told, once each, by broadcastAll, by a topic and one by one', async () => {
    const count = 2000;
    const on = await startServer({ ...QUIET, maxConnections: count, keep: ([type]) => type === 'connect' });
    const clients: Client[] = [];
    for (let at = 0; at < count; at += 200) {
      clients.push(...(await Promise.all(Array.from({ length: 200 }, () => Client.open(on.port)))));
    }
    await waitUntil(() => on.events.length === count, 'all connections');
    const conns = on.server.getConnections();
    expect(new Set(conns)).toEqual(new Set(on.events.map(([, conn]) => conn)));
    expect(conns.every((conn) => Number.isSafeInteger(conn) && conn > 0)).toBe(true);
    expect(on.server.getConnectionCount()).toBe(count);
    for (const conn of conns) expect(on.server.subscribeConnection(conn, ['t'])).toBe(1);
    expect(on.server.getTopicSubscriberCount('t')).toBe(count);
    on.server.broadcastAll('all');
    for (let i = 0; i < 20; i += 1) on.server.broadcast('t', `t${i}`);
    for (const conn of conns) expect(on.server.send(conn, String(conn))).toBe(true);
    await waitUntil(() => clients.every(({ texts }) => texts.length >= 22), 'all messages', 20_000);
    const common = ['all', ...Array.from({ length: 20 }, (_, i) => `t${i}`)];
    for (const { texts } of clients) expect(texts.slice(0, 21)).toEqual(common);
    expect(new Set(clients.map(({ texts }) => Number(texts[21])))).toEqual(new Set(conns));
    expect(clients.every(({ texts }) => texts.length === 22)).toBe(true);
  });
});
