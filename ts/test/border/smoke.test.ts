import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import {
  decodeJwt,
  encodeJwt,
  RustWSEServer,
  WSEError,
  type WSEEvent,
  type WSEServerOptions,
  WSEStateError,
} from '../../src/index.js';
import { threads } from '../support/driver.js';

const SECRET = 's'.repeat(32);
const servers: RustWSEServer[] = [];
const clients: WebSocket[] = [];

async function start(options: Omit<WSEServerOptions, 'port'> = {}): Promise<{ server: RustWSEServer; port: number }> {
  const server = new RustWSEServer({ port: 0, shards: threads(2), ...options });
  servers.push(server);
  const { port } = await server.start();
  return { server, port };
}

async function connect(port: number, headers: Record<string, string> = {}): Promise<{ client: WebSocket; texts: string[] }> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/`, { headers });
  const texts: string[] = [];
  clients.push(client);
  client.on('message', (data, binary) => texts.push(binary ? `<${data.toString()}>` : data.toString()));
  await once(client, 'open');
  return { client, texts };
}

/** Reads events until one satisfies `wanted`. */
async function until(server: RustWSEServer, wanted: (event: WSEEvent) => boolean): Promise<WSEEvent> {
  for await (const batch of server.batches({ signal: AbortSignal.timeout(10_000) })) {
    const found = batch.find(wanted);
    if (found !== undefined) return found;
  }
  throw new Error('the batches ended');
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

describe('a server', () => {
  it('hears a client, answers it, publishes, and says goodbye', async () => {
    const { server, port } = await start();
    const { client, texts } = await connect(port, { cookie: 'a=b' });
    const [, conn, cookies] = await until(server, ([type]) => type === 'connect');
    expect(cookies).toBe('a=b');
    if (conn === null) throw new Error('a connection has an id');

    client.send('{"type":"hello","payload":{"n":1}}');
    expect(await until(server, ([type]) => type === 'msg')).toEqual(['msg', conn, { t: 'hello', p: { n: 1 } }]);
    client.send(Buffer.from([1, 2, 3]));
    expect(await until(server, ([type]) => type === 'bin')).toEqual(['bin', conn, new Uint8Array([1, 2, 3])]);

    expect(server.subscribeConnection(conn, ['news'])).toBe(1);
    await expect.poll(() => server.getTopicSubscriberCount('news')).toBe(1);
    expect(server.send(conn, 'direct')).toBe(true);
    expect(server.publish('news', 'tick', { n: 2 })).toBe(true);
    await expect.poll(() => texts).toEqual(expect.arrayContaining(['direct', '{"c":"U","t":"tick","p":{"n":2},"v":1}']));
    expect(server.getConnections()).toEqual([conn]);

    const closed = once(client, 'close');
    expect(server.disconnect(conn)).toBe(true);
    expect((await closed)[0]).toBe(4300);
    expect(await until(server, ([type]) => type === 'disconnect')).toEqual([
      'disconnect',
      conn,
      { code: 4300, reason: '', by: 'server' },
    ]);
    expect(server.send(conn, 'gone')).toBe(false);
  });

  it('lets in who has a token', async () => {
    const token = encodeJwt({ sub: 'user-1', exp: Math.floor(Date.now() / 1000) + 60 }, SECRET);
    expect(decodeJwt(token, SECRET)?.sub).toBe('user-1');
    expect(decodeJwt(token, 'x'.repeat(32))).toBeNull();

    const { server, port } = await start({ jwt: { secret: SECRET }, allowedOrigins: [] });
    await connect(port, { authorization: `Bearer ${token}` });
    expect((await until(server, ([type]) => type === 'auth_connect'))[2]).toBe('user-1');
  });

  it('reports a taken port, and may be started elsewhere', async () => {
    const { port } = await start();
    const second = new RustWSEServer({ port, shards: threads(1) });
    await expect(second.start()).rejects.toMatchObject({ constructor: WSEError, code: 'WSE_ADDR_IN_USE' });
    await second.stop();
  });

  it('says in what state it is', async () => {
    const server = new RustWSEServer({ port: 0, shards: threads(1) });
    expect(() => server.send(1, 'x')).toThrow(expect.objectContaining({ code: 'WSE_NOT_RUNNING' }));
    await server.start();
    await expect(server.start()).rejects.toMatchObject({ code: 'WSE_ALREADY_RUNNING' });
    expect(server.isRunning()).toBe(true);
    await server.stop();
    await server.stop();
    expect(server.isRunning()).toBe(false);
    expect(() => server.broadcast('t', 'x')).toThrow(WSEStateError);
    expect(() => server.healthSnapshot()).toThrow(WSEStateError);
  });

  it('hands out what had arrived, then ends the loop', async () => {
    const { server, port } = await start();
    await connect(port);
    const kinds: string[] = [];
    const loop = (async () => {
      for await (const batch of server.batches()) for (const [type] of batch) kinds.push(type);
    })();
    await expect.poll(() => kinds).toEqual(['connect']);
    await server.stop();
    await loop;
    expect(kinds).toEqual(['connect', 'disconnect']);
  });

  it('calls back, and survives a callback that throws', async () => {
    const { server, port } = await start();
    const errors: unknown[] = [];
    const seen: unknown[] = [];
    server.setCallbacks({
      onConnect: () => {
        throw new Error('first');
      },
      onMessage: async (_, payload) => {
        seen.push(payload);
        throw new Error('second');
      },
      onError: (error) => errors.push((error as Error).message),
    });
    const { client } = await connect(port);
    client.send('one');
    client.send('two');
    await expect.poll(() => seen).toEqual(['one', 'two']);
    await expect.poll(() => errors).toEqual(['first', 'second', 'second']);
  });

  it('is reachable through its handle', async () => {
    const { server, port } = await start();
    const attached = RustWSEServer.attach(server.handle);
    await connect(port);
    await expect.poll(() => attached.getConnectionCount()).toBe(1);
    expect(() => RustWSEServer.attach(-1)).toThrow(WSEStateError);
  });
});
