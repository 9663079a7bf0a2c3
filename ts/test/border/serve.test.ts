/** `serve()`: asynchronous handlers, in order per connection, that may fail. */

import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RustWSEServer, type ServeOptions, type WSEHandlers, type WSEMessage, type WSEServerOptions } from '../../src/index.js';
import { threads } from '../support/driver.js';
import { MIB, rss, waitUntil, within } from '../support/server.js';
import { UNTELLABLE } from '../support/thrown.js';
import { Client, QUIET } from './client.js';

interface Serving {
  server: RustWSEServer;
  port: number;
  done: Promise<void>;
}

async function start(
  handlers: WSEHandlers | ((server: RustWSEServer) => WSEHandlers),
  options: ServeOptions = {},
  rest: Omit<WSEServerOptions, 'port'> = {},
): Promise<Serving> {
  const server = new RustWSEServer({ port: 0, shards: threads(2), ...QUIET, ...rest });
  const { port } = await server.start();
  const done = server.serve(typeof handlers === 'function' ? handlers(server) : handlers, options);
  onTestFinished(async () => {
    await server.stop({ timeout: 1 });
    await done;
  });
  return { server, port, done };
}

function warnings(): (Error & { code?: string })[] {
  const heard: Error[] = [];
  const listen = (warning: Error): void => void heard.push(warning);
  process.on('warning', listen);
  onTestFinished(() => void process.off('warning', listen));
  return heard;
}

const numberOf = (payload: unknown): number => (payload as WSEMessage).p as number;

describe('serve', () => {
  it('keeps the order of each connection under any delays, and no connection waits for another', async () => {
    let inFlight = 0;
    let most = 0;
    const { port } = await start(
      (server) => ({
        async message(conn, payload) {
          inFlight += 1;
          most = Math.max(most, inFlight);
          const n = numberOf(payload);
          // Some at once, some after a promise, some after a while.
          if (n % 3 === 1) await null;
          if (n % 3 === 2) await pause(Math.random() * 4);
          server.send(conn, String(n));
          inFlight -= 1;
        },
      }),
      { concurrency: 5, maxWaiting: 50 },
    );
    const clients = await Promise.all(Array.from({ length: 10 }, () => Client.open(port)));
    const numbers = Array.from({ length: 120 }, (_, n) => n);
    for (const n of numbers) for (const client of clients) client.send(`{"t":"n","p":${n}}`);
    for (const client of clients) expect((await client.heard(120)).map(Number)).toEqual(numbers);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(5);
  });

  it('lets nobody wait for a handler of somebody else that never ends', async () => {
    const stuck: (() => void)[] = [];
    const { port } = await start((server) => ({
      message(conn, payload) {
        if (payload === 'stuck') return new Promise<void>((resolve) => stuck.push(resolve));
        server.send(conn, String(payload));
        return undefined;
      },
    }));
    const [one, other] = [await Client.open(port), await Client.open(port)];
    one.send('stuck');
    one.send('late');
    await waitUntil(() => stuck.length === 1, 'handler in progress');
    for (let i = 0; i < 100; i += 1) other.send(`${i}`);
    await other.heard(100);
    expect(one.texts).toEqual([]);
    stuck[0]?.();
    await one.heard(1);
  });

  it('takes nothing more while too much waits, and says that it is alive as long as handlers end', async () => {
    const heard: number[] = [];
    let open = false;
    const { server, port } = await start(
      {
        async message(_, payload) {
          // Slower than what comes, but never still.
          if (!open) await pause(100);
          heard.push(numberOf(payload));
        },
      },
      { concurrency: 1, maxWaiting: 1 },
      { readerTimeout: 1, maxInboundQueueSize: 100 },
    );
    const codes = warnings();
    const client = await Client.open(port);
    for (let n = 0; n < 20_000; n += 1) client.send(`{"t":"n","p":${n}}`);
    await waitUntil(() => server.healthSnapshot().inbound_queue_depth >= 100, 'events that wait in the engine');
    await pause(3000);
    expect(heard.length).toBeLessThan(1000);
    expect(server.healthSnapshot()['readers_stalled']).toBe(0);
    open = true;
    await waitUntil(() => heard.length === 20_000, 'all of them');
    expect(heard.every((n, index) => n === index)).toBe(true);
    expect(codes).toEqual([]);
  });

  it('hands what handlers throw or reject with to error, with its connection, and goes on', async () => {
    const errors: unknown[] = [];
    const heard: unknown[] = [];
    const { server, port } = await start({
      connect: () => {
        throw new Error('connect failed');
      },
      async message(_, payload) {
        heard.push(payload);
        await null;
        throw new Error('message failed');
      },
      disconnect: () => Promise.reject('no Error'),
      error: (error, conn, [type, from]) => errors.push([type, conn === from, error instanceof Error ? error.message : error]),
    });
    const client = await Client.open(port);
    client.send('one');
    client.send('two');
    await waitUntil(() => errors.length === 3, 'three errors');
    client.socket.close();
    await waitUntil(() => errors.length === 4, 'four errors');
    expect(heard).toEqual(['one', 'two']);
    expect(errors).toEqual([
      ['connect', true, 'connect failed'],
      ['raw', true, 'message failed'],
      ['raw', true, 'message failed'],
      ['disconnect', true, 'no Error'],
    ]);
    expect(server.isRunning()).toBe(true);
  });

  it('closes the connection of a failure with 1011 where that is asked for, and no other', async () => {
    const gone: unknown[] = [];
    const { port } = await start(
      (server) => ({
        message(conn, payload) {
          if (payload === 'bad') throw new Error('bad');
          server.send(conn, String(payload));
        },
        disconnect: (_, info) => gone.push(info),
        error: () => {},
      }),
      { onError: 'close' },
    );
    const [bad, good] = [await Client.open(port), await Client.open(port)];
    bad.send('bad');
    await waitUntil(() => bad.code === 1011, 'close');
    good.send('good');
    await good.heard(1);
    await waitUntil(() => gone.length === 1, 'disconnect');
    expect(gone[0]).toMatchObject({ code: 1011, by: 'server' });
  });

  it('warns of failures nobody handles, and of those of the error handler, but not of each', async () => {
    const heard = warnings();
    const { port } = await start({
      message: () => {
        throw new TypeError('no luck');
      },
    });
    const client = await Client.open(port);
    for (let i = 0; i < 500; i += 1) client.send('x');
    await waitUntil(() => heard.length === 1, 'warning');
    expect(heard[0]).toMatchObject({ name: 'WSEHandlerWarning', code: 'WSE_HANDLER_FAILED' });
    expect(heard[0]?.message).toContain('no luck');
    await pause(200);
    expect(heard).toHaveLength(1);

    const fail = (): never => {
      throw new Error('handler');
    };
    for (const error of [
      () => {
        throw new Error('reporter');
      },
      () => Promise.reject(new Error('reporter')),
    ]) {
      const before = heard.length;
      const other = await start({ message: fail, error });
      (await Client.open(other.port)).send('x');
      await waitUntil(() => heard.length > before, 'warning of the reporter');
      expect(heard.at(-1)?.message).toContain('handlers.error failed');
      expect(heard.at(-1)?.message).toContain('reporter');
    }
  });

  it('warns of whatever is thrown', async () => {
    const heard = warnings();
    for (const [what, make] of Object.entries(UNTELLABLE)) {
      const fail = (): never => {
        throw make();
      };
      for (const handlers of [{ message: fail }, { message: async () => fail() }, { message: fail, error: async () => fail() }]) {
        const { server, port } = await start(handlers);
        const before = heard.length;
        (await Client.open(port)).send('x');
        await waitUntil(() => heard.length > before, `warning of ${what}`);
        expect(heard.at(-1)).toMatchObject({ code: 'WSE_HANDLER_FAILED' });
        await server.stop({ timeout: 1 });
      }
    }
  });

  it('resolves with the server once the last handler is done', async () => {
    let release: (() => void) | undefined;
    let ended = false;
    const kinds: string[] = [];
    const { server, port, done } = await start({
      message: () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
      disconnect: () => void kinds.push('disconnect'),
    });
    void done.then(() => (ended = true));
    const client = await Client.open(port);
    client.send('x');
    await waitUntil(() => release !== undefined, 'handler in progress');
    await server.stop();
    await pause(50);
    expect([ended, kinds]).toEqual([false, []]);
    release?.();
    await within(done, 'end');
    expect(kinds).toEqual(['disconnect']);
  });

  it('ends when its signal aborts in the first handler of all', async () => {
    const controller = new AbortController();
    const waiting = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET });
    onTestFinished(() => waiting.stop({ timeout: 1 }));
    const { port } = await waiting.start();
    await Client.open(port);
    await waitUntil(() => waiting.inboundQueueDepth() === 1, 'connect');
    const heard: number[] = [];
    const connect = (conn: number): void => {
      heard.push(conn);
      controller.abort();
    };
    await within(waiting.serve({ connect }, { signal: controller.signal }), 'the end of serve()');
    expect(heard).toHaveLength(1);
  });

  it('gives its connections away only once all that was read of them is done, in hand or in progress', async () => {
    const controller = new AbortController();
    const server = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET });
    onTestFinished(() => server.stop({ timeout: 1 }));
    const { port } = await server.start();
    const client = await Client.open(port);
    for (let i = 0; i < 4000; i += 1) client.send(`m${i}`);
    await waitUntil(() => server.inboundQueueDepth() === 4001, 'all events');
    let [handled, busy] = [0, 0];
    const serving = server.serve(
      {
        connect: () => {},
        message: () => {
          handled += 1;
          if (handled === 1000) process.nextTick(() => controller.abort());
          if (handled <= 1000) return;
          busy += 1;
          return pause(handled < 1010 ? 20 : 0).then(() => {
            busy -= 1;
          });
        },
      },
      { signal: controller.signal },
    );
    await within(serving, 'the end of serve()');
    const mine = handled;
    expect([mine > 1000, busy]).toEqual([true, 0]);
    const next: unknown[] = [];
    await waitUntil(() => {
      for (const [type, , payload] of server.drainInbound(1024, 0)) if (type === 'raw') next.push(payload);
      return mine + next.length >= 4000;
    }, 'the rest');
    expect(next).toEqual(Array.from({ length: 4000 - mine }, (_, i) => `m${mine + i}`));
  });

  it('ends by its signal or stopReading(): what was read is handled, what comes is the next reader’s', async () => {
    for (const how of ['signal', 'stopReading'] as const) {
      const controller = new AbortController();
      const heard: unknown[] = [];
      const { server, port, done } = await start(
        {
          async message(_, payload) {
            await pause(20);
            heard.push(payload);
          },
        },
        { signal: controller.signal },
      );
      const client = await Client.open(port);
      // In one piece, so that the engine has all of them when it has one.
      const { _socket: tcp } = client.socket as unknown as { _socket: Socket };
      tcp.cork();
      for (let n = 0; n < 5; n += 1) client.send(`${n}`);
      tcp.uncork();
      await waitUntil(() => heard.length > 0, 'message');
      await waitUntil(() => server.inboundQueueDepth() === 0, 'all taken');
      if (how === 'signal') controller.abort();
      else server.stopReading();
      client.send('next');
      await within(done, 'end');
      expect(heard).toEqual(['0', '1', '2', '3', '4']);
      const next: unknown[] = [];
      const again = RustWSEServer.attach(server.handle).serve({
        adopt: (conn) => next.push(conn),
        message: (_, payload) => next.push(payload),
      });
      await waitUntil(() => next.length === 2, 'the next reader');
      expect(next).toEqual([expect.any(Number), 'next']);
      await server.stop();
      await within(again, 'end');
      // Aborted before it began.
      await server
        .serve({ message: () => {} }, { signal: AbortSignal.abort() })
        .catch((error) => expect(error.code).toBe('WSE_STOPPED'));
    }
  });

  it('calls methods of an object, refuses what is none, and reads alone', async () => {
    class Chat implements WSEHandlers {
      readonly said: unknown[] = [];
      message(_: number, payload: unknown): number {
        return this.said.push(payload);
      }
    }
    const chat = new Chat();
    const { server, port } = await start(chat);
    (await Client.open(port)).send('hello');
    await waitUntil(() => chat.said.length === 1, 'message');
    await expect(server.serve(chat)).rejects.toMatchObject({ code: 'WSE_CONSUMER_BUSY' });
    expect(() => server.batches()).toThrow(expect.objectContaining({ code: 'WSE_CONSUMER_BUSY' }));
    const other = RustWSEServer.attach(server.handle);
    for (const [handlers, options] of [
      [null, {}],
      [{}, {}],
      [{ error: () => {} }, {}],
      [{ onMessage: () => {} }, {}],
      [{ message: 'x' }, {}],
      [chat, { concurrency: 0 }],
      [chat, { maxWaiting: 1.5 }],
      [chat, { onError: 'ignore' }],
    ]) {
      await expect(other.serve(handlers as WSEHandlers, options as ServeOptions)).rejects.toThrow(TypeError);
    }
    const unstarted = new RustWSEServer({ port: 0 });
    await expect(unstarted.serve(chat)).rejects.toMatchObject({ code: 'WSE_NOT_RUNNING' });
  });

  it('whose handler fails on every message for seconds leaks nothing and serves the others', async () => {
    let failures = 0;
    const { server, port } = await start(
      (server) => ({
        async message(conn, payload) {
          if (typeof payload === 'string') {
            server.send(conn, payload);
            return;
          }
          if (numberOf(payload) % 2 === 0) await null;
          throw new Error('x'.repeat(1000), { cause: payload });
        },
        error: async () => {
          failures += 1;
          await null;
        },
      }),
      { concurrency: 64 },
    );
    const calm = await Client.open(port);
    const hostile = await Promise.all(Array.from({ length: 8 }, () => Client.open(port)));
    const until = performance.now() + 8000;
    let round = 0;
    let before = 0;
    // A slow machine takes longer for as many rounds.
    while (performance.now() < until || round <= 30) {
      for (const client of hostile) for (let n = 0; n < 100; n += 1) client.send(`{"t":"n","p":${n}}`);
      calm.send(`${round}`);
      round += 1;
      const said = round;
      await waitUntil(() => calm.texts.length === said, 'answer for who does no harm');
      await waitUntil(() => failures >= said * 800, 'all failures');
      if (round === 20) before = rss();
      // Some go in the middle of it.
      if (round % 10 === 0) {
        hostile.shift()?.socket.terminate();
        hostile.push(await Client.open(port));
      }
    }
    expect(rss() - before).toBeLessThan(64 * MIB);
    expect(round).toBeGreaterThan(30);
    for (const client of hostile) client.socket.terminate();
    await waitUntil(() => server.getConnectionCount() === 1, 'all slots back');
    expect(failures).toBe(round * 800);
  });
});
