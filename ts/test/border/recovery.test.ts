/** Recovery as a host uses it: a client that comes back gets what it missed; positions and history; what bad input does. */

import { describe, expect, it } from 'vitest';
import { type RustWSEServer, WSEArgumentError, WSEStateError } from '../../src/index.js';
import { startServer, waitUntil } from '../support/server.js';
import { type Client, join, QUIET } from './client.js';

const WITH_RECOVERY = { ...QUIET, recovery: true } as const;

interface Stamped {
  tp: string;
  e: string;
  o: number;
  p: unknown;
}

const stamps = (client: Client): Stamped[] => client.texts.map((text) => JSON.parse(text) as Stamped);

const offsets = (client: Client): number[] => stamps(client).map(({ o }) => o);

function publish(server: RustWSEServer, topic: string, count: number): void {
  for (let n = 0; n < count; n++) server.publish(topic, 'tick', { n });
}

describe('subscribeWithRecovery', () => {
  it('gives who comes back what it missed, then what is published', async () => {
    const on = await startServer(WITH_RECOVERY);
    const first = await join(on);
    const begun = await on.server.subscribeWithRecovery(first.conn, ['a', 'b']);
    const start = { epoch: expect.stringMatching(/^[0-9a-f]{8}$/), offset: 0, recoverable: true, recovered: false, count: 0 };
    expect(begun).toEqual({ recovered: false, topics: { a: start, b: start } });
    publish(on.server, 'a', 3);
    await waitUntil(() => first.client.texts.length === 3, 'live messages');
    const position = { epoch: begun?.topics.a?.epoch as string, offset: 3 };
    first.client.socket.terminate();
    await on.take('disconnect', first.conn);
    publish(on.server, 'a', 20);

    const again = await join(on);
    const positions = { a: position, b: { epoch: begun?.topics.b?.epoch as string, offset: 0 } };
    const asked = on.server.subscribeWithRecovery(again.conn, ['a', 'b'], { positions });
    publish(on.server, 'a', 2);
    publish(on.server, 'b', 1);
    const recovered = await asked;
    expect(recovered?.recovered).toBe(true);
    expect(recovered?.topics.a).toMatchObject({ recovered: true, count: 20, offset: 23 });
    await waitUntil(() => again.client.texts.length === 23, 'what was missed and what is live');
    expect(offsets(again.client)).toEqual([...Array.from({ length: 22 }, (_, index) => index + 4), 1]);
    expect(on.server.position('a')).toEqual({ ...position, offset: 25 });
  });

  it('takes one position for all topics, as published servers do', async () => {
    const on = await startServer(WITH_RECOVERY);
    publish(on.server, 'a', 5);
    const { epoch } = on.server.position('a') ?? { epoch: '' };
    const { client, conn } = await join(on);
    const found = await on.server.subscribeWithRecovery(conn, ['a'], { recover: true, epoch, offset: 3 });
    expect(found?.topics.a).toMatchObject({ recovered: true, count: 2 });
    await waitUntil(() => client.texts.length === 2, 'two messages');
    expect(await on.server.subscribeWithRecovery(conn, ['a'], { recover: false, epoch, offset: 3 })).toMatchObject({
      recovered: false,
    });
  });

  it('declares what no position stands for, whatever a client has written', async () => {
    const on = await startServer(WITH_RECOVERY);
    publish(on.server, 'a', 5);
    const { epoch } = on.server.position('a') ?? { epoch: '' };
    const { client, conn } = await join(on);
    const wrong: unknown[] = [
      null,
      7,
      'x',
      [],
      {},
      { epoch },
      { epoch, offset: -1 },
      { epoch, offset: 1.5 },
      { epoch, offset: '1' },
      { epoch, offset: 6 },
      { epoch, offset: 2 ** 53 },
      { epoch, offset: Number.POSITIVE_INFINITY },
      { epoch: `0x${epoch}`, offset: 1 },
      { epoch: epoch === 'abcdef01' ? 'ABCDEF02' : 'ABCDEF01', offset: 1 },
      { epoch: 17, offset: 1 },
      { epoch: epoch === '00000000' ? '00000001' : '00000000', offset: 1 },
    ];
    for (const positions of [7, 'x', true, []]) {
      const found = await on.server.subscribeWithRecovery(conn, ['a'], { positions: positions as never });
      expect(found?.topics.a, String(positions)).toMatchObject({ epoch, offset: 5, recovered: false });
    }
    for (const position of wrong) {
      const found = await on.server.subscribeWithRecovery(conn, ['a'], { positions: { a: position } as never });
      expect(found?.topics.a, JSON.stringify(position)).toMatchObject({ epoch, offset: 5, recovered: false, count: 0 });
    }
    expect(client.texts).toEqual([]);
    expect(on.server.getTopicSubscriberCount('a')).toBe(1);
    const loud = { a: { epoch: epoch.toUpperCase(), offset: 3 } };
    expect((await on.server.subscribeWithRecovery(conn, ['a'], { positions: loud }))?.topics.a).toMatchObject({ count: 2 });
  });

  it('tells what was refused, and who is not there', async () => {
    const on = await startServer(WITH_RECOVERY);
    const { client, conn } = await join(on);
    on.server.setTopicAcl(conn, { allow: ['ok'] });
    const found = await on.server.subscribeWithRecovery(conn, ['ok', 'no', '__proto__', 'ok']);
    expect(Object.keys(found?.topics ?? {})).toEqual(['ok', 'no', '__proto__']);
    expect(found?.topics.no).toEqual({
      epoch: null,
      offset: 0,
      recoverable: false,
      recovered: false,
      count: 0,
      error: 'not_allowed',
    });
    expect(await on.server.subscribeWithRecovery(conn + 1, ['ok'])).toBeNull();
    client.socket.terminate();
    await on.take('disconnect', conn);
    expect(await on.server.subscribeWithRecovery(conn, ['ok'])).toBeNull();
    for (const [topics, options] of [
      ['a', {}],
      [[1], {}],
      [['a'], null],
      [['a'], { recover: 'yes' }],
      [['a'], { exact: 1 }],
    ] as const) {
      expect(() => on.server.subscribeWithRecovery(conn, topics as never, options as never)).toThrow(TypeError);
    }
    expect(() => on.server.subscribeWithRecovery(conn, ['a*'], { exact: true })).toThrow(WSEArgumentError);
    const pending = on.server.subscribeWithRecovery(conn, ['ok']);
    await on.server.stop();
    expect(await pending).toBeNull();
    expect(() => on.server.subscribeWithRecovery(conn, ['ok'])).toThrow(WSEStateError);
  });

  it('settles ten thousand at once, each of them once', async () => {
    const on = await startServer(WITH_RECOVERY);
    const { conn } = await join(on);
    publish(on.server, 'a', 1);
    const asked = Array.from({ length: 10_000 }, (_, n) => on.server.subscribeWithRecovery(conn, [n % 2 ? 'a' : `t${n % 50}`]));
    const told = await Promise.all(asked);
    expect(told.every((result, n) => result !== null && Object.keys(result.topics)[0] === (n % 2 ? 'a' : `t${n % 50}`))).toBe(
      true,
    );
  });
});

describe('history', () => {
  it('tells what is kept', async () => {
    const on = await startServer({ ...WITH_RECOVERY, recovery: { bufferSize: 16, topics: { 'off:*': false } } });
    expect([on.server.history('a'), on.server.position('a')]).toEqual([null, null]);
    publish(on.server, 'a', 10);
    publish(on.server, 'off:1', 10);
    expect(on.server.history('off:1')).toBeNull();
    const history = on.server.history('a', { since: 7 });
    expect(history).toMatchObject({ position: { offset: 10 }, complete: true });
    expect(history?.messages.map(({ offset, text }) => [offset, (JSON.parse(text) as Stamped).p])).toEqual([
      [8, { n: 7 }],
      [9, { n: 8 }],
      [10, { n: 9 }],
    ]);
    const newest = on.server.history('a', { limit: 2, reverse: true });
    expect(newest?.messages.map(({ offset }) => offset)).toEqual([10, 9]);
    publish(on.server, 'a', 100);
    expect(on.server.history('a')).toMatchObject({ complete: false });
    for (const wrong of [{ since: -1 }, { since: 1.5 }, { since: 2 ** 53 }, { limit: 10_001 }, { limit: '1' }, { reverse: 1 }]) {
      expect(() => on.server.history('a', wrong as never)).toThrow(TypeError);
    }
    expect(on.server.healthSnapshot()).toMatchObject({ recovery_enabled: true, recovery_topic_count: 1 });
  });
});
