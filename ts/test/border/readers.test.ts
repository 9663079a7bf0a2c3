/** Who reads: strays swallow nobody, heirs learn who they get, and a server that only publishes says so. */

import { describe, expect, it, onTestFinished } from 'vitest';
import { encodeJwt, RustWSEServer, type WSEEvent, type WSEServerOptions, WSEStateError } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

async function start(options: Omit<WSEServerOptions, 'port'> = {}): Promise<{ server: RustWSEServer; port: number }> {
  const server = new RustWSEServer({ port: 0, shards: threads(2), ...QUIET, readerTimeout: 2, ...options });
  onTestFinished(() => server.stop({ timeout: 1 }));
  const { port } = await server.start();
  return { server, port };
}

/** The codes of this process's warnings while the test runs. */
function warnings(): string[] {
  const codes: string[] = [];
  const listen = (warning: Error & { code?: string }): void => void codes.push(warning.code ?? warning.message);
  process.on('warning', listen);
  onTestFinished(() => void process.off('warning', listen));
  return codes;
}

/** Another reader of the same server that answers every message with itself. */
function echo(server: RustWSEServer): RustWSEServer {
  const other = RustWSEServer.attach(server.handle);
  other.setCallbacks({ onMessage: (conn, payload) => other.send(conn, String(payload)) });
  return other;
}

/** Each client says a word and hears it. */
async function talk(clients: Client[], word: string): Promise<void> {
  for (const client of clients) client.send(word);
  await Promise.all(clients.map((client) => waitUntil(() => client.texts.includes(word), `answer to ${word}`)));
}

describe('readers', () => {
  it('that read once by mistake lose what waits for them, are reported once and get nobody new', async () => {
    const { server, port } = await start();
    const codes = warnings();
    echo(server);
    expect(server.drainInbound(1, 0)).toEqual([]);
    const clients = await Promise.all(Array.from({ length: 6 }, () => Client.open(port)));
    await talk(clients, 'first');
    await waitUntil(() => codes.length > 0, 'warning');
    expect(codes).toEqual(['WSE_READER_STALLED']);
    const more = await Promise.all(Array.from({ length: 6 }, () => Client.open(port)));
    await talk([...clients, ...more], 'second');
    expect(server.healthSnapshot()).toMatchObject({ readers: 2, readers_stalled: 1, reader_stalls: 1, connections_adopted: 3 });
    expect(server.prometheusMetrics()).toContain('\nwse_reader_stalls_total 1\n');
    // Whoever comes back is a reader as any other.
    expect(server.drainInbound(256, 0)).toEqual([]);
    await waitUntil(() => server.healthSnapshot()['readers_stalled'] === 0, 'reader that is back');
    const late = await Client.open(port);
    late.send('third');
    const heard: WSEEvent[] = [];
    await waitUntil(() => heard.push(...server.drainInbound(256, 0)) >= 2, 'events of the newest client');
    expect(heard.map(([type]) => type)).toEqual(['connect', 'raw']);
    expect(codes).toHaveLength(1);
  });

  it('without a callback are none', async () => {
    const { server, port } = await start();
    echo(server);
    server.setCallbacks({});
    server.setCallbacks({ onError: () => {} });
    const clients = await Promise.all(Array.from({ length: 6 }, () => Client.open(port)));
    await talk(clients, 'hello');
    expect(server.healthSnapshot()).toMatchObject({ readers: 1, reader_stalls: 0 });
  });

  it('that stop hand their connections on, with who they are, to whichever kind of reader comes next', async () => {
    const secret = 's'.repeat(32);
    const { server, port } = await start({ jwt: { secret, from: ['header'] } });
    const first = RustWSEServer.attach(server.handle);
    const known: unknown[] = [];
    first.setCallbacks({ onConnect: (conn, info) => known.push([conn, info.userId]) });
    const token = encodeJwt({ sub: 'ada', exp: Date.now() / 1000 + 60 }, secret);
    const client = await Client.open(port, { path: '/feed?x=1', headers: { authorization: `Bearer ${token}` } });
    await waitUntil(() => known.length === 1, 'connect');
    const [conn] = known[0] as [number, string];
    const { topics: _, queuedBytes: __, queueGroups: ___, ...info } = server.getConnectionInfo(conn) ?? expect.fail('nobody');
    expect(info).toMatchObject({ user: 'ada', path: '/feed', address: '127.0.0.1' });

    first.stopReading();
    client.send('one');
    const drained: WSEEvent[] = [];
    await waitUntil(() => drained.push(...server.drainInbound(10, 0)) >= 2, 'what waited');
    expect(drained).toEqual([
      ['adopt', conn, info],
      ['raw', conn, 'one'],
    ]);
    server.stopReading();

    const called: unknown[] = [];
    first.setCallbacks({ onAdopt: (...args) => called.push(args), onMessage: (...args) => called.push(args) });
    client.send('two');
    await waitUntil(() => called.length === 2, 'two calls');
    expect(called).toEqual([
      [conn, info],
      [conn, 'two'],
    ]);
    first.setCallbacks({});

    client.send('three');
    const heard: WSEEvent[] = [];
    for await (const batch of server.batches()) {
      heard.push(...batch);
      if (heard.length >= 2) break;
    }
    expect(heard).toEqual([
      ['adopt', conn, info],
      ['raw', conn, 'three'],
    ]);

    // Who comes back before anybody else knows them, and is told nothing.
    client.send('four');
    for await (const batch of server.batches()) {
      expect(batch).toEqual([['raw', conn, 'four']]);
      break;
    }
    await expect(first.serve({})).rejects.toThrow(TypeError);

    const served: unknown[] = [];
    const serving = first.serve({
      adopt: (...args) => served.push(args),
      disconnect: (gone) => served.push(gone),
    });
    client.socket.close();
    await waitUntil(() => served.length === 2, 'two handlers');
    expect(served).toEqual([[conn, info], conn]);
    await server.stop();
    await serving;
  });

  it('find nothing on a server that only publishes, whose sockets are read all the same', async () => {
    const { server, port } = await start({ inbound: 'discard', maxInboundQueueSize: 2 });
    const codes = warnings();
    const refused = expect.objectContaining({ constructor: WSEStateError, code: 'WSE_INBOUND_DISCARDED' });
    const attached = RustWSEServer.attach(server.handle);
    for (const facade of [server, attached]) {
      expect(() => facade.batches()).toThrow(refused);
      expect(() => facade.drainInbound(1, 0)).toThrow(refused);
      expect(() => facade.setCallbacks({ onMessage: () => {} })).toThrow(refused);
      await expect(facade.serve({ message: () => {} })).rejects.toEqual(refused);
    }
    const client = await Client.open(port);
    for (let i = 0; i < 2000; i += 1) client.send(`{"n":${i}}`);
    client.send('{"t":"ping"}');
    await waitUntil(() => client.texts.some((text) => text.includes('PONG')), 'pong');
    await waitUntil(() => server.healthSnapshot()['inbound_discarded'] === 2001, 'count');
    server.broadcastAll('{"t":"news"}');
    await waitUntil(() => client.texts.some((text) => text.includes('news')), 'news');
    expect(server.healthSnapshot()).toMatchObject({ readers: 0, inbound_queue_depth: 0 });
    expect(codes).toEqual([]);
    expect(() => new RustWSEServer({ port: 0, inbound: 'none' as 'read' })).toThrow(expect.objectContaining({ path: 'inbound' }));
  });
});
