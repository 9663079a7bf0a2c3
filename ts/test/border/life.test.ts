import { X509Certificate } from 'node:crypto';
import net from 'node:net';
import type { TLSSocket } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RustWSEServer, WSEError, type WSEEvent, WSEStateError } from '../../src/index.js';
import { selfSigned } from '../support/certificate.js';
import { threads } from '../support/driver.js';
import { startServer, waitUntil } from '../support/server.js';
import { Client, heardSoFar, join, QUIET } from './client.js';

/** A port that somebody else listens on. */
async function takenPort(): Promise<{ port: number; free: () => Promise<void> }> {
  const other = net.createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const free = (): Promise<void> => new Promise((resolve) => other.close(() => resolve()));
  onTestFinished(free);
  return { port: (other.address() as net.AddressInfo).port, free };
}

describe('two engines of one process', () => {
  it('do not mix', async () => {
    const a = await startServer({ ...QUIET, shards: threads(1) });
    const b = await startServer({ ...QUIET, shards: threads(1) });
    expect(a.server.handle).not.toBe(b.server.handle);
    const one = await join(a);
    const two = await join(b);
    // The first connection of each engine has the same number: nothing but the engine tells them apart.
    expect(one.conn).toBe(two.conn);
    for (const [on, { client, conn }, name] of [
      [a, one, 'a'],
      [b, two, 'b'],
    ] as const) {
      on.server.subscribeConnection(conn, ['t']);
      client.send(name);
      expect((await on.take('raw'))[2]).toBe(name);
      on.server.broadcast('t', `topic ${name}`);
      on.server.broadcastAll(`all ${name}`);
      on.server.sendEvent(conn, { t: name, id: 'same' });
    }
    const heard = await heardSoFar(a, one.client, one.conn);
    expect([heard.texts.slice(0, 2), heard.texts.length]).toEqual([['topic a', 'all a'], 3]);
    await a.server.stop();
    expect(await one.client.closed()).toBe(1012);
    expect(b.server.isRunning()).toBe(true);
    const rest = await heardSoFar(b, two.client, two.conn);
    expect([rest.texts.slice(0, 2), rest.texts.length]).toEqual([['topic b', 'all b'], 3]);
    expect(b.events).toEqual([]);
    expect([b.gauge('connections'), b.metric('wse_messages_received_total')]).toEqual([1, 1]);
  });
});

describe('attach', () => {
  it('gives a facade on the same engine', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const attached = RustWSEServer.attach(on.server.handle);
    expect(attached.handle).toBe(on.server.handle);
    expect(attached.isRunning()).toBe(true);
    expect(attached.getConnections()).toEqual([conn]);
    expect(attached.subscribeConnection(conn, ['t'])).toBe(1);
    expect(attached.publish('t', 'x', 1)).toBe(true);
    expect(attached.send(conn, 'direct')).toBe(true);
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['{"c":"U","t":"x","p":1,"v":1}', 'direct']);
    await expect(attached.start()).rejects.toMatchObject({ code: 'WSE_ALREADY_RUNNING' });
    await attached.stop();
    expect(on.server.isRunning()).toBe(false);
    expect(await client.closed()).toBe(1012);
    expect(() => on.server.send(conn, 'x')).toThrow(expect.objectContaining({ code: 'WSE_STOPPED' }));
    expect(() => on.server.broadcast('t', 'x')).toThrow(expect.objectContaining({ code: 'WSE_STOPPED' }));
  });

  it('refuses what is no handle of this process, and never takes one for another', async () => {
    const { server } = await startServer(QUIET);
    const { handle } = server;
    for (const wrong of [-1, 0, NaN, Infinity, handle + 0.5, handle + 2 ** 32, handle - 2 ** 32, handle + 1_000_000]) {
      expect(() => RustWSEServer.attach(wrong)).toThrow(
        expect.objectContaining({ constructor: WSEStateError, code: 'WSE_UNKNOWN_HANDLE' }),
      );
    }
  });

  it('shares the events among facades: each reaches one, those of a connection the same', async () => {
    const on = await startServer({ ...QUIET, keep: true });
    const second = RustWSEServer.attach(on.server.handle);
    const events: WSEEvent[] = [];
    const loop = (async () => {
      for await (const batch of second.batches()) events.push(...batch);
    })();
    const clients = await Promise.all(Array.from({ length: 10 }, () => Client.open(on.port)));
    for (const client of clients) for (let i = 0; i < 20; i += 1) client.send(`${i}`);
    await waitUntil(() => on.events.length + events.length === 210, 'all events');
    const conns = (list: readonly WSEEvent[]): Set<number | null> => new Set(list.map(([, conn]) => conn));
    expect(conns(on.events).size).toBe(5);
    expect(conns(events).size).toBe(5);
    expect(new Set([...conns(on.events), ...conns(events)]).size).toBe(10);
    await on.server.stop();
    await loop;
    expect(events.filter(([type]) => type === 'disconnect')).toHaveLength(5);
  });
});

describe('start', () => {
  it('on a taken port is WSE_ADDR_IN_USE, and the same server starts once the port is free', async () => {
    const { port, free } = await takenPort();
    const server = new RustWSEServer({ port, shards: threads(1) });
    onTestFinished(() => server.stop());
    for (let i = 0; i < 2; i += 1) {
      const error = await server.start().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(WSEError);
      expect(error).toMatchObject({ code: 'WSE_ADDR_IN_USE', message: expect.stringContaining(String(port)) });
      expect(server.isRunning()).toBe(false);
      expect(() => server.send(1, 'x')).toThrow(expect.objectContaining({ code: 'WSE_NOT_RUNNING' }));
    }
    await free();
    expect(await server.start()).toEqual({ host: '127.0.0.1', port });
    await Client.open(port);
    await waitUntil(() => server.getConnectionCount() === 1, 'connection');
  });

  it.each(['192.0.2.1', 'not a host', '256.256.256.256'])('on the host %s is WSE_ADDR_NOT_AVAILABLE', async (host) => {
    const server = new RustWSEServer({ port: 0, host, shards: threads(1) });
    await expect(server.start()).rejects.toMatchObject({ constructor: WSEError, code: 'WSE_ADDR_NOT_AVAILABLE' });
    expect(server.isRunning()).toBe(false);
    await server.stop();
  });

  it('knows names and IPv6', async () => {
    for (const host of ['localhost', '::1']) {
      const server = new RustWSEServer({ port: 0, host, shards: threads(1) });
      onTestFinished(() => server.stop());
      const address = await server.start();
      expect(address.port).toBeGreaterThan(0);
      expect(['127.0.0.1', '::1']).toContain(address.host);
    }
  });
});

describe('the end', () => {
  it('comes with await using', async () => {
    let server: RustWSEServer;
    let client: Client;
    {
      await using scoped = new RustWSEServer({ port: 0, shards: threads(1) });
      server = scoped;
      const { port } = await scoped.start();
      client = await Client.open(port);
      expect(scoped.isRunning()).toBe(true);
    }
    expect(server.isRunning()).toBe(false);
    expect(await client.closed()).toBe(1012);
  });

  it('closes with the code and reason asked for, and gives the port free', async () => {
    const on = await startServer(QUIET);
    const { client } = await join(on);
    await on.server.stop({ closeCode: 4001, reason: 'bye ü', timeout: 1 });
    expect([await client.closed(), client.reason]).toEqual([4001, 'bye ü']);
    const next = new RustWSEServer({ port: on.port, shards: threads(1) });
    onTestFinished(() => next.stop());
    expect((await next.start()).port).toBe(on.port);
  });

  it('by drain() lets clients go with 4300, lets nobody in, and says whether all went in time', async () => {
    const on = await startServer({ ...QUIET, closeTimeout: 60 });
    const { client } = await join(on);
    expect(await on.server.drain({ timeout: 5 })).toBe(true);
    expect(await client.closed()).toBe(4300);
    expect(on.server.isRunning(), 'also true while draining').toBe(true);
    expect(on.health()['draining']).toBe(true);
    await expect(Client.open(on.port)).rejects.toThrow();

    const stuck = await startServer({ ...QUIET, closeTimeout: 60 });
    const { client: silent } = await join(stuck);
    silent.socket.pause();
    expect(await stuck.server.drain({ timeout: 0.05 })).toBe(false);
    silent.socket.resume();
    expect(await silent.closed()).toBe(4300);
  });
});

describe('TLS', () => {
  const fingerprint = (client: Client): string => {
    const tls = (client.socket as unknown as { _socket: TLSSocket })._socket;
    return tls.getPeerCertificate().fingerprint256;
  };
  const trust = { scheme: 'wss', rejectUnauthorized: false } as const;

  it('serves wss, takes another certificate without a restart, and keeps the old one when the new is refused', async () => {
    const old = await selfSigned();
    const on = await startServer({ ...QUIET, tls: { cert: old.cert, key: old.key } });
    const first = await join(on, trust);
    expect(fingerprint(first.client)).toBe(new X509Certificate(old.cert).fingerprint256);
    const renewed = await selfSigned();
    on.server.reloadTls({ cert: renewed.cert, key: Buffer.from(renewed.key) });
    const second = await join(on, trust);
    expect(fingerprint(second.client)).toBe(new X509Certificate(renewed.cert).fingerprint256);
    on.server.send(first.conn, 'still there');
    await first.client.heard(1);

    for (const wrong of [
      { cert: 'rubbish', key: renewed.key },
      { cert: renewed.cert, key: 'rubbish' },
      { cert: renewed.cert, key: old.key },
    ]) {
      expect(() => on.server.reloadTls(wrong)).toThrow(
        expect.objectContaining({ constructor: WSEError, code: 'WSE_TLS_INVALID' }),
      );
    }
    for (const [path, wrong] of [
      ['tls.cert', { key: 'k' }],
      ['tls.key', { cert: 'c', key: '' }],
      ['tls.ca', { cert: 'c', key: 'k', ca: 'x' }],
      ['tls', 'pem'],
    ] as const) {
      expect(() => on.server.reloadTls(wrong as never)).toThrow(expect.objectContaining({ name: 'WSEConfigError', path }));
    }
    const third = await join(on, trust);
    expect(fingerprint(third.client)).toBe(new X509Certificate(renewed.cert).fingerprint256);
    await expect(Client.open(on.port)).rejects.toThrow();
  });

  it('cannot be reloaded where there is none', async () => {
    const { server } = await startServer(QUIET);
    const certificate = await selfSigned();
    expect(() => server.reloadTls(certificate)).toThrow(expect.objectContaining({ code: 'WSE_TLS_INVALID' }));
  });
});
