import { describe, expect, it, onTestFinished } from 'vitest';
import { type ConnectInfo, encodeJwt, RustWSEServer, type WSECallbacks, type WSEServerOptions } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { waitUntil } from '../support/server.js';
import { UNTELLABLE } from '../support/thrown.js';
import { Client, QUIET } from './client.js';

async function start(
  callbacks: WSECallbacks,
  options: Omit<WSEServerOptions, 'port'> = {},
): Promise<{ server: RustWSEServer; port: number }> {
  const server = new RustWSEServer({ port: 0, shards: threads(2), ...QUIET, ...options });
  onTestFinished(() => server.stop({ timeout: 1 }));
  server.setCallbacks(callbacks);
  const { port } = await server.start();
  return { server, port };
}

/** The warnings of this process while the test runs. */
function warnings(): Error[] {
  const heard: Error[] = [];
  const listen = (warning: Error): void => {
    heard.push(warning);
  };
  process.on('warning', listen);
  onTestFinished(() => void process.off('warning', listen));
  return heard;
}

describe('callbacks', () => {
  it('hear everything, in order, and are bound to nothing', async () => {
    const heard: unknown[] = [];
    const { server, port } = await start({
      onConnect: (conn, info) => heard.push(['connect', typeof conn, info]),
      onMessage: (_, payload) => heard.push(payload),
      onDisconnect: (conn, info) => heard.push(['disconnect', typeof conn, info]),
    });
    const client = await Client.open(port, { headers: { cookie: 'k=v' } });
    client.send('{"t":"x"}');
    client.send('text');
    client.send(Buffer.from([1]));
    client.socket.close();
    await waitUntil(() => heard.length === 5, 'five calls');
    expect(heard).toEqual([
      ['connect', 'number', { cookies: 'k=v' }],
      { t: 'x' },
      'text',
      new Uint8Array([1]),
      ['disconnect', 'number', { code: 1005, reason: '', by: 'peer' }],
    ]);
    expect(server.isRunning()).toBe(true);
  });

  it('learn the user of a token', async () => {
    const secret = 's'.repeat(32);
    const infos: ConnectInfo[] = [];
    const { port } = await start({ onConnect: (_, info) => infos.push(info) }, { jwt: { secret }, allowedOrigins: [] });
    const token = encodeJwt({ sub: 'ada', exp: Date.now() / 1000 + 60 }, secret);
    await Client.open(port, { headers: { authorization: `Bearer ${token}` } });
    await waitUntil(() => infos.length === 1, 'onConnect');
    expect(infos).toEqual([{ userId: 'ada' }]);
  });

  it('that throw or reject are reported to onError with their event, and harm nobody', async () => {
    const errors: unknown[] = [];
    const messages: unknown[] = [];
    const { server, port } = await start({
      onConnect: () => {
        throw new Error('connect failed');
      },
      onMessage: async (_, payload) => {
        messages.push(payload);
        throw new Error('message failed');
      },
      onDisconnect: () => Promise.reject('no Error'),
      onError: (error, [type]) => errors.push([type, error instanceof Error ? error.message : error]),
    });
    const client = await Client.open(port);
    client.send('one');
    client.send('two');
    await waitUntil(() => errors.length === 3, 'three errors');
    client.socket.close();
    await waitUntil(() => errors.length === 4, 'four errors');
    expect(messages).toEqual(['one', 'two']);
    expect(errors).toEqual([
      ['connect', 'connect failed'],
      ['raw', 'message failed'],
      ['raw', 'message failed'],
      ['disconnect', 'no Error'],
    ]);
    expect(server.isRunning()).toBe(true);
    const again = await Client.open(port);
    again.send('three');
    await waitUntil(() => messages.length === 3, 'message of the next client');
  });

  it('without onError, or with one that fails too, cause a warning', async () => {
    const heard = warnings();
    const { server, port } = await start({
      onMessage: () => {
        throw new TypeError('no handler');
      },
    });
    const client = await Client.open(port);
    client.send('x');
    await waitUntil(() => heard.length === 1, 'warning');
    expect(heard[0]).toMatchObject({ name: 'WSECallbackWarning', code: 'WSE_CALLBACK_FAILED' });
    expect(heard[0]?.message).toContain('no handler');
    const fail = (): never => {
      throw new Error('the reporter itself');
    };
    server.setCallbacks({ onMessage: fail, onError: fail });
    client.send('x');
    await waitUntil(() => heard.length === 2, 'second warning');
    server.setCallbacks({ onMessage: fail, onError: () => Promise.reject(new Error('late')) });
    client.send('x');
    await waitUntil(() => heard.length === 3, 'third warning');
    expect(heard[2]?.message).toContain('late');
    const received: unknown[] = [];
    server.setCallbacks({ onMessage: (_, payload) => received.push(payload) });
    client.send('fine');
    await waitUntil(() => received.length === 1, 'message');
  });

  it('may throw or reject with whatever there is', async () => {
    const heard = warnings();
    const { server, port } = await start({});
    const client = await Client.open(port);
    for (const [what, make] of Object.entries(UNTELLABLE)) {
      const fail = (): never => {
        throw make();
      };
      const reject = (): Promise<never> => Promise.reject(make());
      for (const callbacks of [
        { onMessage: fail },
        { onMessage: reject },
        { onMessage: fail, onError: fail },
        { onMessage: fail, onError: reject },
      ]) {
        const before = heard.length;
        server.setCallbacks(callbacks);
        client.send('x');
        await waitUntil(() => heard.length > before, `warning of ${what}`);
        expect(heard.at(-1)).toMatchObject({ code: 'WSE_CALLBACK_FAILED' });
      }
    }
  });

  it('may be set after the start, and may stop the server', async () => {
    const server = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET });
    onTestFinished(() => server.stop());
    const { port } = await server.start();
    const client = await Client.open(port);
    const kinds: string[] = [];
    let stopping: Promise<void> | undefined;
    server.setCallbacks({
      onConnect: () => kinds.push('connect'),
      onMessage: () => {
        stopping = server.stop();
      },
      onDisconnect: () => kinds.push('disconnect'),
    });
    client.send('stop');
    await waitUntil(() => stopping !== undefined, 'stop');
    await stopping;
    await waitUntil(() => kinds.length === 2, 'disconnect');
    expect(kinds).toEqual(['connect', 'disconnect']);
  });

  it('hear of a slow consumer', async () => {
    const slow: unknown[] = [];
    const conns: number[] = [];
    const { server, port } = await start(
      { onConnect: (conn) => conns.push(conn), onSlowConsumer: (conn, info) => slow.push([conn, info]) },
      { maxOutboundQueueBytes: 64 * 1024, slowConsumer: 'close' },
    );
    const client = await Client.open(port);
    client.socket.pause();
    await waitUntil(() => conns.length === 1, 'connect');
    await waitUntil(() => {
      for (let i = 0; i < 32; i += 1) server.send(conns[0] as number, 'x'.repeat(16 * 1024));
      return slow.length > 0;
    }, 'onSlowConsumer');
    expect(slow[0]).toEqual([
      conns[0],
      {
        policy: 'close',
        queuedBytes: expect.any(Number),
        droppedMessages: expect.any(Number),
        droppedBytes: expect.any(Number),
      },
    ]);
  });
});
