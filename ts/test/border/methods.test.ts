import { describe, expect, it } from 'vitest';
import { RustWSEServer, WSEConfigError, WSEError, WSEStateError } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { startServer, waitUntil } from '../support/server.js';
import { Client, heardSoFar, join, QUIET } from './client.js';

/** Every method that takes a connection id, with good arguments otherwise. */
const BY_CONNECTION: Record<string, (server: RustWSEServer, conn: number) => unknown> = {
  send: (server, conn) => server.send(conn, 'x'),
  sendBytes: (server, conn) => server.sendBytes(conn, new Uint8Array(1)),
  sendEvent: (server, conn) => server.sendEvent(conn, { t: 'x' }),
  subscribeConnection: (server, conn) => server.subscribeConnection(conn, ['t']),
  'subscribeConnection with a queue group': (server, conn) => server.subscribeConnection(conn, ['t'], { queueGroup: 'g' }),
  unsubscribeConnection: (server, conn) => server.unsubscribeConnection(conn, ['t']),
  'unsubscribeConnection from all': (server, conn) => server.unsubscribeConnection(conn),
  setTopicAcl: (server, conn) => server.setTopicAcl(conn, { allow: ['a'] }),
  disconnect: (server, conn) => server.disconnect(conn),
};

/** Every method that needs a running server, with good arguments. */
const NEEDS_RUNNING: Record<string, (server: RustWSEServer) => unknown> = {
  ...Object.fromEntries(
    Object.entries(BY_CONNECTION).map(([name, call]) => [name, (server: RustWSEServer) => call(server, 1)] as const),
  ),
  getConnectionId: (server) => server.getConnectionId(1),
  broadcast: (server) => server.broadcast('t', 'x'),
  broadcastLocal: (server) => server.broadcastLocal('t', 'x'),
  broadcastAll: (server) => server.broadcastAll('x'),
  broadcastAllBytes: (server) => server.broadcastAllBytes(new Uint8Array(1)),
  publish: (server) => server.publish('t', 'x', {}),
  drained: (server) => server.drained(),
  drain: (server) => server.drain(),
  getConnectionCount: (server) => server.getConnectionCount(),
  getConnections: (server) => server.getConnections(),
  getTopicSubscriberCount: (server) => server.getTopicSubscriberCount('t'),
  getQueueGroupInfo: (server) => server.getQueueGroupInfo('t'),
  batches: (server) => server.batches(),
  drainInbound: (server) => server.drainInbound(1, 0),
  inboundQueueDepth: (server) => server.inboundQueueDepth(),
  inboundDroppedCount: (server) => server.inboundDroppedCount(),
  healthSnapshot: (server) => server.healthSnapshot(),
  prometheusMetrics: (server) => server.prometheusMetrics(),
  reloadTls: (server) => server.reloadTls({ cert: 'c', key: 'k' }),
};

/** What a call throws or rejects with. */
async function failure(call: () => unknown): Promise<unknown> {
  try {
    const value = await call();
    return { returned: value };
  } catch (error) {
    return error;
  }
}

describe('an unknown connection id', () => {
  const never = [0, -0, -1, 1, 0.5, NaN, Infinity, -Infinity, 2 ** 53 - 1, 2 ** 53, 2 ** 64, -(2 ** 53), 5e-324, 1.7e308];

  it.each(Object.keys(BY_CONNECTION))('%s returns false', async (name) => {
    const { server } = await startServer();
    const call = BY_CONNECTION[name] as (server: RustWSEServer, conn: number) => unknown;
    for (const conn of never) expect([conn, call(server, conn)]).toEqual([conn, false]);
  });

  it('names nobody in getConnectionId', async () => {
    const { server } = await startServer();
    for (const conn of never) expect(server.getConnectionId(conn)).toBeNull();
  });

  it('is stale after the disconnect, also when its slot is used again, and never reaches the newcomer', async () => {
    const on = await startServer({ ...QUIET, shards: threads(1) });
    const first = await join(on);
    for (const call of Object.values(BY_CONNECTION).slice(0, 6)) expect(call(on.server, first.conn)).not.toBe(false);
    first.client.socket.close();
    await on.take('disconnect', first.conn);
    const second = await join(on);
    expect(second.conn).not.toBe(first.conn);
    // The same slot with another generation: the low 27 bits are shard and slot.
    expect(second.conn % 2 ** 27).toBe(first.conn % 2 ** 27);
    for (const [name, call] of Object.entries(BY_CONNECTION)) {
      expect([name, call(on.server, first.conn)]).toEqual([name, false]);
      expect([name, call(on.server, second.conn + 0.5)]).toEqual([name, false]);
      expect([name, call(on.server, -second.conn)]).toEqual([name, false]);
      expect([name, call(on.server, second.conn + 2 ** 52)]).toEqual([name, false]);
    }
    expect(on.server.getConnectionId(first.conn)).toBeNull();
    expect(await heardSoFar(on, second.client, second.conn)).toEqual({ texts: [], binaries: [] });
    expect(on.server.getConnections()).toEqual([second.conn]);
  });
});

describe('the state of a server', () => {
  it.each(Object.keys(NEEDS_RUNNING))('%s: WSE_NOT_RUNNING before the start, WSE_STOPPED after the stop', async (name) => {
    const call = NEEDS_RUNNING[name] as (server: RustWSEServer) => unknown;
    const server = new RustWSEServer({ port: 0, shards: threads(1) });
    const early = await failure(() => call(server));
    expect(early).toBeInstanceOf(WSEStateError);
    expect(early).toMatchObject({ code: 'WSE_NOT_RUNNING' });

    await server.start();
    const attached = RustWSEServer.attach(server.handle);
    await server.stop();
    for (const facade of [server, attached]) {
      if (facade === attached && name === 'batches') continue; // ends at once: see batches.test.ts
      const late = await failure(() => call(facade));
      expect(late).toBeInstanceOf(WSEStateError);
      expect(late).toMatchObject({ code: 'WSE_STOPPED' });
    }
  });

  it('lets a server be prepared before the start, not after the stop', async () => {
    const server = new RustWSEServer({ port: 0, shards: threads(1) });
    server.setCallbacks({});
    server.enableDrainMode();
    await server.start();
    expect(() => server.enableDrainMode()).toThrow(expect.objectContaining({ code: 'WSE_ALREADY_RUNNING' }));
    await expect(server.start()).rejects.toMatchObject({ constructor: WSEStateError, code: 'WSE_ALREADY_RUNNING' });
    await server.stop();
    for (const call of [() => server.setCallbacks({}), () => server.enableDrainMode(), () => server.start()]) {
      expect(await failure(call)).toMatchObject({ constructor: WSEStateError, code: 'WSE_STOPPED' });
    }
    expect(server.isRunning()).toBe(false);
  });

  it('counts from the call of stop(), also for who published before it in the same turn, and that is still heard', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    on.server.subscribeConnection(conn, ['t']);
    expect(on.server.broadcast('t', 'first')).toBe(true);
    const stopping = on.server.stop();
    for (const name of ['broadcast', 'broadcastLocal', 'publish', 'broadcastAll', 'send', 'getConnections']) {
      const call = NEEDS_RUNNING[name] as (server: RustWSEServer) => unknown;
      expect([name, await failure(() => call(on.server))]).toMatchObject([name, { code: 'WSE_STOPPED' }]);
    }
    await stopping;
    expect(await client.closed()).toBe(1012);
    expect(client.texts).toEqual(['first']);
  });

  it('can be stopped before it was started, and twice', async () => {
    const server = new RustWSEServer({ port: 0, shards: threads(1) });
    expect(server.isRunning()).toBe(false);
    await server.stop();
    await server.stop();
    await expect(server.start()).rejects.toMatchObject({ code: 'WSE_STOPPED' });
  });

  it('survives start and stop at the same moment', async () => {
    for (let i = 0; i < 10; i += 1) {
      const server = new RustWSEServer({ port: 0, shards: threads(1) });
      const [started, ended] = await Promise.allSettled([server.start(), server.stop()]);
      expect(ended.status).toBe('fulfilled');
      if (started.status === 'rejected') expect(started.reason).toMatchObject({ code: 'WSE_STOPPED' });
      expect(server.isRunning()).toBe(false);
    }
  });
});

describe('a wrong argument', () => {
  const loop: Record<string, unknown> = {};
  loop['loop'] = loop;
  let deep: object = {};
  for (let i = 0; i < 200; i += 1) deep = { deep };

  /** Calls that must throw a TypeError and do nothing. `as never` stands for a caller without types. */
  const wrong: Record<string, (server: RustWSEServer, conn: number) => unknown> = {
    'send: number': (server, conn) => server.send(conn, 5 as never),
    'send: object': (server, conn) => server.send(conn, {} as never),
    'send: null': (server, conn) => server.send(conn, null as never),
    'send: undefined': (server, conn) => server.send(conn, undefined as never),
    'send: bytes': (server, conn) => server.send(conn, new Uint8Array(2) as never),
    'send: String object': (server, conn) => server.send(conn, new String('x') as never),
    'send: id as text': (server, conn) => server.send(String(conn) as never, 'x'),
    'send: id as bigint': (server, conn) => server.send(BigInt(conn) as never, 'x'),
    'send: no id': (server) => server.send(undefined as never, 'x'),
    'sendBytes: text': (server, conn) => server.sendBytes(conn, 'x' as never),
    'sendBytes: array': (server, conn) => server.sendBytes(conn, [1, 2] as never),
    'sendBytes: transferred memory': (server, conn) => {
      const bytes = new Uint8Array(8);
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
      return server.sendBytes(conn, bytes);
    },
    'sendEvent: text': (server, conn) => server.sendEvent(conn, '{}' as never),
    'sendEvent: null': (server, conn) => server.sendEvent(conn, null as never),
    'sendEvent: array': (server, conn) => server.sendEvent(conn, [{ t: 'x' }]),
    'sendEvent: number': (server, conn) => server.sendEvent(conn, 1 as never),
    'sendEvent: function': (server, conn) => server.sendEvent(conn, () => {}),
    'sendEvent: Map': (server, conn) => server.sendEvent(conn, new Map()),
    'sendEvent: Date': (server, conn) => server.sendEvent(conn, new Date()),
    'sendEvent: bytes': (server, conn) => server.sendEvent(conn, new Uint8Array(2)),
    'sendEvent: toJSON makes it text': (server, conn) => server.sendEvent(conn, { toJSON: () => 'x' }),
    'sendEvent: toJSON makes it an array': (server, conn) => server.sendEvent(conn, { toJSON: () => [] }),
    'sendEvent: refers to itself': (server, conn) => server.sendEvent(conn, loop),
    'sendEvent: nested 200 deep': (server, conn) => server.sendEvent(conn, deep),
    'sendEvent: threshold -1': (server, conn) => server.sendEvent(conn, {}, { compressionThreshold: -1 }),
    'sendEvent: threshold 1.5': (server, conn) => server.sendEvent(conn, {}, { compressionThreshold: 1.5 }),
    'sendEvent: options are a number': (server, conn) => server.sendEvent(conn, {}, 5 as never),
    'broadcast: object': (server) => server.broadcast('all', {} as never),
    'broadcast: no text': (server) => server.broadcast('all', undefined as never),
    'broadcast: topic is a number': (server) => server.broadcast(1 as never, 'x'),
    'broadcastLocal: bytes': (server) => server.broadcastLocal('all', new Uint8Array(1) as never),
    'broadcastAll: object': (server) => server.broadcastAll({ t: 'x' } as never),
    'broadcastAllBytes: text': (server) => server.broadcastAllBytes('x' as never),
    'publish: type is an object': (server) => server.publish('all', {} as never, {}),
    'publish: topic is null': (server) => server.publish(null as never, 'x', {}),
    'publish: payload refers to itself': (server) => server.publish('all', 'x', loop),
    'publish: id is a number': (server) => server.publish('all', 'x', {}, { id: 5 as never }),
    'publish: options are text': (server) => server.publish('all', 'x', {}, 'id' as never),
    'subscribeConnection: text': (server, conn) => server.subscribeConnection(conn, 'new' as never),
    'subscribeConnection: one is no text': (server, conn) => server.subscribeConnection(conn, ['new', 1] as never),
    'subscribeConnection: a hole': (server, conn) => server.subscribeConnection(conn, new Array(1)),
    'subscribeConnection: group is a number': (server, conn) =>
      server.subscribeConnection(conn, ['new'], { queueGroup: 1 as never }),
    'subscribeConnection: group without its name': (server, conn) => server.subscribeConnection(conn, ['new'], 'group' as never),
    'unsubscribeConnection: text': (server, conn) => server.unsubscribeConnection(conn, 'all' as never),
    'setTopicAcl: text': (server, conn) => server.setTopicAcl(conn, 'all' as never),
    'setTopicAcl: list': (server, conn) => server.setTopicAcl(conn, ['all'] as never),
    'setTopicAcl: null': (server, conn) => server.setTopicAcl(conn, null as never),
    'setTopicAcl: allow is text': (server, conn) => server.setTopicAcl(conn, { allow: 'x' as never }),
    'setTopicAcl: deny holds a number': (server, conn) => server.setTopicAcl(conn, { deny: [1] as never }),
    'disconnect: code 999': (server, conn) => server.disconnect(conn, { code: 999 }),
    'disconnect: code 1005': (server, conn) => server.disconnect(conn, { code: 1005 }),
    'disconnect: code 5000': (server, conn) => server.disconnect(conn, { code: 5000 }),
    'disconnect: code is text': (server, conn) => server.disconnect(conn, { code: '4000' as never }),
    'disconnect: code without its name': (server, conn) => server.disconnect(conn, 4000 as never),
    'disconnect: reason of 124 bytes': (server, conn) => server.disconnect(conn, { reason: 'ü'.repeat(62) }),
    'getConnectionId: text': (server) => server.getConnectionId('1' as never),
    'getTopicSubscriberCount: number': (server) => server.getTopicSubscriberCount(1 as never),
    'getQueueGroupInfo: nothing': (server) => server.getQueueGroupInfo(undefined as never),
    'drain: timeout -1': (server) => server.drain({ timeout: -1 }),
    'drain: timeout NaN': (server) => server.drain({ timeout: NaN }),
    'drain: code 1006': (server) => server.drain({ closeCode: 1006 }),
    'drain: code without its name': (server) => server.drain(4300 as never),
    'stop: code 0': (server) => server.stop({ closeCode: 0 }),
    'stop: null': (server) => server.stop(null as never),
    'drained: signal without its name': (server) => server.drained(5 as never),
    'batches: maxEvents 0': (server) => server.batches({ maxEvents: 0 }),
    'batches: maxEvents 1.5': (server) => server.batches({ maxEvents: 1.5 }),
    'batches: number': (server) => server.batches(100 as never),
    'drainInbound: max 0': (server) => server.drainInbound(0),
    'drainInbound: timeout -1': (server) => server.drainInbound(1, -1),
    'drainInbound: timeout NaN': (server) => server.drainInbound(1, NaN),
    'setCallbacks: function': (server) => server.setCallbacks((() => {}) as never),
    'setCallbacks: unknown name': (server) => server.setCallbacks({ onMesage: () => {} } as never),
    'setCallbacks: text': (server) => server.setCallbacks({ onMessage: 'x' as never }),
    'attach: text': () => RustWSEServer.attach('1' as never),
  };

  it('is a TypeError, and nothing is sent or changed', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    expect(on.server.subscribeConnection(conn, ['all'])).toBe(1);
    for (const [name, call] of Object.entries(wrong)) {
      expect([name, await failure(() => call(on.server, conn))]).toEqual([name, expect.any(TypeError)]);
    }
    expect(await heardSoFar(on, client, conn)).toEqual({ texts: [], binaries: [] });
    expect(on.server.isRunning()).toBe(true);
    expect(on.server.getTopicSubscriberCount('all')).toBe(1);
    expect(on.server.getTopicSubscriberCount('new')).toBe(0);
    on.server.broadcast('all', 'still allowed');
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['still allowed']);
  });

  it('of a setTopicAcl that cannot be kept is an error, and the old one stays', async () => {
    const on = await startServer(QUIET);
    const { conn } = await join(on);
    on.server.setTopicAcl(conn, { deny: ['secret'] });
    expect(() => on.server.setTopicAcl(conn, { allow: ['x'.repeat(70_000)] })).toThrow(WSEError);
    expect(on.server.subscribeConnection(conn, ['secret'])).toBe(0);
  });

  it('of the constructor is a WSEConfigError with the path, from the addon too', () => {
    expect(() => new RustWSEServer({ port: 0, tls: { cert: 'no', key: 'pem' } })).toThrow(WSEConfigError);
    expect(() => new RustWSEServer({ port: 0, tls: { cert: 'no', key: 'pem' } })).toThrow(
      expect.objectContaining({ path: expect.stringMatching(/^tls\.(cert|key)$/) }),
    );
    expect(() => new RustWSEServer({ port: 0, jwt: { secret: 'not a key', algorithm: 'RS256' } })).toThrow(
      expect.objectContaining({ constructor: WSEConfigError, path: 'jwt.secret' }),
    );
  });
});

describe('a good argument', () => {
  it('gets the documented answers', async () => {
    const on = await startServer({ ...QUIET, maxSubscriptionsPerConnection: 3 });
    const { server } = on;
    const { client, conn } = await join(on);
    expect(server.isRunning()).toBe(true);
    expect(server.getConnectionCount()).toBe(1);
    expect(server.getConnectionId(conn)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(server.send(conn, '')).toBe(true);
    expect(server.send(conn, 'ä\u0000🎈')).toBe(true);
    expect(server.sendBytes(conn, new Uint8Array(0))).toBe(true);
    expect(server.sendBytes(conn, new Uint16Array([0x4241, 0x4443]).subarray(1))).toBe(true);
    const shared = new SharedArrayBuffer(1);
    new Uint8Array(shared)[0] = 0x61;
    expect(server.sendBytes(conn, shared)).toBe(true);
    const reused = Buffer.from('before');
    expect(server.sendBytes(conn, reused)).toBe(true);
    reused.write('after!');
    expect(await heardSoFar(on, client, conn)).toEqual({ texts: ['', 'ä\u0000🎈'], binaries: ['', 'CD', 'a', 'before'] });

    expect(server.subscribeConnection(conn, [])).toBe(0);
    expect(server.subscribeConnection(conn, ['a', 'bad\nname'])).toBe(1);
    expect(server.subscribeConnection(conn, ['b', 'c', 'd'])).toBe(2);
    expect(() => server.subscribeConnection(conn, ['e'])).toThrow(
      expect.objectContaining({ constructor: WSEError, code: 'WSE_SUBSCRIPTION_LIMIT' }),
    );
    expect(server.unsubscribeConnection(conn, ['a'])).toBe(true);
    await waitUntil(() => server.getTopicSubscriberCount('a') === 0, 'unsubscription');
    expect(server.unsubscribeConnection(conn, null)).toBe(true);
    await waitUntil(() => server.getTopicSubscriberCount('b') === 0, 'unsubscription of all');
    expect(server.setTopicAcl(conn)).toBe(true);

    expect(server.inboundDroppedCount()).toBe(0);
    expect(server.disconnect(conn, { code: 4000, reason: 'ü'.repeat(61) })).toBe(true);
    expect([await client.closed(), client.reason]).toEqual([4000, 'ü'.repeat(61)]);
    await waitUntil(() => server.getConnectionCount() === 0, 'leaving');
    expect(await server.drain({ timeout: 1 })).toBe(true);
  });

  it('counts what waits to be read', async () => {
    const { server, port } = await startServer({ ...QUIET, keep: false });
    expect(server.inboundQueueDepth()).toBe(0);
    const client = await Client.open(port);
    for (let i = 0; i < 9; i += 1) client.send('x');
    await waitUntil(() => server.inboundQueueDepth() === 10, 'ten events');
    expect(server.drainInbound(4)).toHaveLength(4);
    expect(server.inboundQueueDepth()).toBe(6);
  });
});
