import { describe, expect, it } from 'vitest';
import { RustWSEServer, WSEOverloadedError, WSEStateError } from '../../src/index.js';
import { INLINE, threads } from '../support/driver.js';
import { RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer, waitUntil, within } from '../support/server.js';
import { heardSoFar, join, QUIET } from './client.js';

const KIB = 1024;
const tight = { ...QUIET, shards: threads(1), publisher: { highWaterMark: KIB, hardLimit: 64 * KIB } } as const;

/** Calls `publish(i)` until it is refused; the numbers of the calls that were taken. */
function untilOverloaded(publish: (i: number) => unknown, attempts = 100_000): { taken: number[]; error: unknown } {
  const taken: number[] = [];
  for (let i = 0; i < attempts; i += 1) {
    try {
      publish(i);
      taken.push(i);
    } catch (error) {
      return { taken, error };
    }
  }
  return { taken, error: undefined };
}

describe('publisher pressure', () => {
  it('broadcast() takes the message and returns false above the mark; drained() resolves below it', async () => {
    const on = await startServer(tight);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['t']);
    await within(on.server.drained(), 'pressure gone');
    const text = 'x'.repeat(8 * KIB);
    const calls = [
      () => on.server.broadcast('t', text),
      () => on.server.broadcastLocal('t', text),
      () => on.server.broadcastAll(text),
      () => on.server.broadcastAllBytes(Buffer.from(text)),
      () => on.server.publish('t', 'x', text),
    ];
    for (const call of calls) {
      expect(call()).toBe(false);
      await within(on.server.drained(), 'pressure gone');
      expect(on.server.broadcast('t', 'small')).toBe(true);
      await within(on.server.drained(), 'pressure gone');
    }
    const { texts, binaries } = await heardSoFar(on, client, conn);
    expect([texts.length, binaries.length]).toEqual([9, 1]);
  });

  // Without a thread of its own an engine works off what a turn publishes under pressure: none is refused.
  it.skipIf(INLINE)('a queue group counts as anybody else', async () => {
    const on = await startServer(tight);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['jobs'], { queueGroup: 'g' });
    const text = 'x'.repeat(8 * KIB);
    expect(on.server.broadcast('jobs', text)).toBe(false);
    const { taken, error } = untilOverloaded(() => on.server.broadcast('jobs', text));
    expect(error).toBeInstanceOf(WSEOverloadedError);
    expect((await heardSoFar(on, client, conn)).texts).toHaveLength(taken.length + 1);
  });

  const outbound: Record<string, (server: RustWSEServer, conn: number, text: string) => unknown> = {
    broadcast: (server, _, text) => server.broadcast('t', text),
    broadcastAll: (server, _, text) => server.broadcastAll(text),
    broadcastAllBytes: (server, _, text) => server.broadcastAllBytes(Buffer.from(text)),
    publish: (server, _, text) => server.publish('t', 'x', text),
    send: (server, conn, text) => server.send(conn, text),
    sendBytes: (server, conn, text) => server.sendBytes(conn, Buffer.from(text)),
    sendEvent: (server, conn, text) => server.sendEvent(conn, { t: 'x', p: text }, { compressionThreshold: 0 }),
  };

  /** An empty inbox takes any single message: this one occupies the shard for milliseconds. */
  const huge = 'h'.repeat(8 * KIB * KIB);

  /** Calls while the shard is occupied, until that is refused; on a busy machine the shard may be done before the call. */
  async function refusal(on: TestServer, call: (attempt: string) => unknown): Promise<{ taken: string[]; error: unknown }> {
    const taken: string[] = [];
    for (let attempt = 0; attempt < 50; attempt += 1) {
      await waitUntil(() => on.gauge('inbox_bytes') === 0 && on.gauge('outbound_bytes') === 0, 'an idle shard');
      // A call that says nothing, so that the turn has begun before the shard is occupied.
      expect(on.server.send(0, '')).toBe(false);
      expect(on.server.broadcastAll(huge)).toBe(false);
      try {
        call(`${attempt}`);
      } catch (error) {
        return { taken, error };
      }
      taken.push(`${attempt}`);
    }
    return { taken, error: undefined };
  }

  it.skipIf(INLINE).each(Object.keys(outbound))('%s() throws above the hard limit, and nothing of it was taken', async (name) => {
    const on = await startServer(tight);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['t']);
    const call = outbound[name] as (server: RustWSEServer, conn: number, text: string) => unknown;
    const { taken, error } = await refusal(on, (attempt) => call(on.server, conn, `<${attempt}>`));
    expect(error).toBeInstanceOf(WSEOverloadedError);
    expect(error).toMatchObject({ code: 'WSE_OVERLOADED' });
    expect(on.metric('wse_publish_refused_total')).toBe(1);
    await within(on.server.drained(), 'pressure gone');
    call(on.server, conn, '<last>');
    const { texts, binaries } = await heardSoFar(on, client, conn);
    const small = [...texts, ...binaries].filter((text) => text.length < huge.length);
    expect(small.map((text) => /<(\w+)>/.exec(text)?.[1])).toEqual([...taken, 'last']);
  });

  it('is told by what the engine holds now, also within a turn', async () => {
    const on = await startServer({ ...tight, publisher: { highWaterMark: KIB, hardLimit: 64 * KIB * KIB } });
    const { conn } = await join(on);
    on.server.subscribeConnection(conn, ['t']);
    const told = [];
    for (let attempt = 0; attempt < 20; attempt += 1) {
      await waitUntil(() => on.gauge('inbox_bytes') === 0 && on.gauge('outbound_bytes') === 0, 'an idle shard');
      expect(on.server.broadcast('t', 'small')).toBe(true);
      on.server.broadcastAll(huge);
      told.push(on.server.broadcast('t', 'small'));
    }
    // On a busy machine the shard may be done with it now and then.
    expect(told).toContain(false);
  });

  const floods: Record<string, (on: TestServer, conn: number, text: string) => unknown> = {
    broadcast: (on, _, text) => on.server.broadcast('t', text),
    send: (on, conn, text) => on.server.send(conn, text),
    sendBytes: (on, conn, text) => on.server.sendBytes(conn, Buffer.from(text)),
  };

  it.each(
    Object.keys(floods).flatMap((name) => [
      [name, 16 * KIB, '.'],
      [name, 200, '.'],
      [name, 5 * KIB, '€'],
      [name, 100, '€'],
    ]) as [string, number, string][],
  )('of a flood by %s() of %d times %s, exactly what was taken arrives, in order', async (name, size, filler) => {
    const on = await startServer(tight);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['t']);
    const call = floods[name] as (on: TestServer, conn: number, text: string) => unknown;
    // Without a thread of its own an engine works off what a turn publishes under pressure: none is refused.
    const attempts = INLINE ? 500 : 100_000;
    const { taken, error } = untilOverloaded((i) => call(on, conn, `<${i}>`.padEnd(size, filler)), attempts);
    if (INLINE) expect(error).toBeUndefined();
    else expect(error).toBeInstanceOf(WSEOverloadedError);
    expect(on.gauge('inbox_bytes')).toBeLessThanOrEqual(64 * KIB);
    await within(on.server.drained(), 'pressure gone');
    const { texts, binaries } = await heardSoFar(on, client, conn);
    expect([...texts, ...binaries].map((text) => Number(/<(\d+)>/.exec(text)?.[1]))).toEqual(taken);
  });

  it.skipIf(INLINE)('a refused event leaves its id unused', async () => {
    const on = await startServer(tight);
    const { client, conn } = await join(on);
    const { taken, error } = await refusal(on, (attempt) => on.server.sendEvent(conn, { t: 'x', id: attempt }));
    expect(error).toBeInstanceOf(WSEOverloadedError);
    await within(on.server.drained(), 'pressure gone');
    const attempt = `${taken.length}`;
    expect(on.server.sendEvent(conn, { t: 'x', id: attempt })).toBeGreaterThan(0);
    expect(on.server.sendEvent(conn, { t: 'x', id: attempt })).toBe(0);
    const { texts } = await heardSoFar(on, client, conn);
    const events = texts.filter((text) => text.startsWith('{'));
    expect(events.map((text) => (JSON.parse(text) as { id: string }).id)).toEqual([...taken, attempt]);
  });

  it('drained() waits while most connections are stuck, can be aborted, and resolves once they read', async () => {
    const on = await startServer({ ...QUIET, shards: threads(1) });
    const peer = await RawPeer.open(on.port);
    const [, conn] = await on.take('connect');
    on.server.subscribeConnection(conn, ['t']);
    peer.pause();
    const text = 'x'.repeat(64 * KIB);
    // 14 MiB: above the congestion mark, below the budget, however much the kernel takes.
    let count = 0;
    await waitUntil(() => {
      for (let i = 0; i < 8; i += 1) if (!on.server.broadcast('t', text)) return on.gauge('congested_connections') === 1;
      count += 8;
      return on.gauge('congested_connections') === 1;
    }, 'congestion');
    expect(count).toBeLessThan(1000);
    expect(on.server.broadcast('t', 'still taken')).toBe(false);

    const reason = new Error('enough');
    const controller = new AbortController();
    const waiting = on.server.drained({ signal: controller.signal });
    const other = on.server.drained();
    let resolved = false;
    void other.then(() => {
      resolved = true;
    });
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(on.server.drained({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(on.server.drained({ signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(resolved).toBe(false);
    const attached = RustWSEServer.attach(on.server.handle).drained();
    peer.resume();
    await within(other, 'pressure gone');
    await within(attached, 'pressure gone for the attached');
    await peer.nextText((heard) => heard === 'still taken');
  });

  it('drained() rejects when the server stops meanwhile', async () => {
    const on = await startServer({ ...QUIET, shards: threads(1) });
    const peer = await RawPeer.open(on.port);
    const [, conn] = await on.take('connect');
    peer.pause();
    await waitUntil(() => {
      for (let i = 0; i < 8; i += 1) on.server.send(conn, 'x'.repeat(64 * KIB));
      return on.gauge('congested_connections') === 1;
    }, 'congestion');
    const waiting = on.server.drained();
    const outcome = expect(waiting).rejects.toMatchObject({ constructor: WSEStateError, code: 'WSE_STOPPED' });
    await on.server.stop({ timeout: 0.1 });
    await outcome;
  });
});
