/** Requests: what `serve()` answers, who gives up, and what a server asks its clients. */

import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { LazyMessage } from '../../src/inbound/lazy.js';
import {
  type IncomingRequest,
  RustWSEServer,
  type ServeOptions,
  WSEError,
  type WSEHandlers,
  type WSEMessage,
  WSEOverloadedError,
  WSERequestError,
  type WSEServerOptions,
  WSEStateError,
} from '../../src/index.js';
import { threads } from '../support/driver.js';
import { waitUntil } from '../support/server.js';
import { Client, QUIET } from './client.js';

interface Reply {
  c: string;
  t: string;
  p?: unknown;
  cid: string;
  err?: { code: string; message: string };
}

interface Serving {
  server: RustWSEServer;
  client: Client;
  conn: number;
  port: number;
}

/** A server that serves, and one client of it. */
async function start(
  handlers: WSEHandlers,
  options: ServeOptions = {},
  rest: Omit<WSEServerOptions, 'port'> = {},
): Promise<Serving> {
  const server = new RustWSEServer({ port: 0, shards: threads(2), ...QUIET, ...rest });
  const { port } = await server.start();
  let conn = -1;
  const connect = (id: number): void => {
    conn = id;
  };
  const done = server.serve({ connect, ...handlers }, options);
  onTestFinished(async () => {
    await server.stop({ timeout: 1 });
    await done;
  });
  const client = await Client.open(port);
  await waitUntil(() => conn >= 0, 'connect');
  return { server, client, conn, port };
}

const ask = (client: Client, type: string, cid: string, p: unknown = null, rq: unknown = 20_000): void =>
  client.send(JSON.stringify({ c: 'U', t: type, p, v: 1, cid, rq }));
const cancel = (client: Client, cid: string): void => client.send(`{"c":"WSE","t":"cancel","cid":"${cid}"}`);

async function replies(client: Client, count: number): Promise<Reply[]> {
  return (await client.heard(count)).map((text) => JSON.parse(text) as Reply);
}

/** Why nobody waits for its answer. */
const reasonOf = (request: IncomingRequest | undefined): unknown => (request?.signal.reason as WSERequestError | undefined)?.code;

/** Answers `now` at once, and keeps every other request until it is aborted. */
const untilGone = (requests: IncomingRequest[]): WSEHandlers => ({
  message(_, payload, request) {
    if (request === undefined || (payload as WSEMessage).t === 'now') return (payload as WSEMessage).p;
    requests.push(request);
    return new Promise((_resolve, reject) => request.signal.addEventListener('abort', () => reject(request.signal.reason)));
  },
});

/** What a promise rejects with. */
const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('what handlers return', () => {
  it('answers the request, and nothing else', async () => {
    const { client } = await start({
      message(_, payload, request) {
        const { t, p } = payload as WSEMessage;
        if (t === 'late') return pause(5).then(() => ({ late: p }));
        if (t === 'mute') return undefined;
        return t === 'null' ? null : { t, id: request?.id, timeoutMs: request?.timeoutMs, aborted: request?.signal.aborted };
      },
    });
    client.send('{"t":"plain","p":1}');
    client.send('{"t":"plain","p":1,"cid":"x"}');
    ask(client, 'mute', 'q-0');
    ask(client, 'late', 'q-1', 7);
    ask(client, 'now', 'q-2');
    ask(client, 'null', 'q-3');
    // What is no request is a message that is not answered.
    for (const rq of [0, -1, '5', true]) ask(client, 'now', 'q-4', null, rq);
    client.send('{"t":"now","cid":5,"rq":100}');
    client.send('{"t":"now","rq":100}');
    ask(client, 'now', 'q-5', null, 0.5e9);
    expect(await replies(client, 4)).toEqual([
      { c: 'U', t: 'reply', p: { late: 7 }, cid: 'q-1' },
      { c: 'U', t: 'reply', p: { t: 'now', id: 'q-2', timeoutMs: 20_000, aborted: false }, cid: 'q-2' },
      { c: 'U', t: 'reply', p: null, cid: 'q-3' },
      { c: 'U', t: 'reply', p: { t: 'now', id: 'q-5', timeoutMs: 0.5e9, aborted: false }, cid: 'q-5' },
    ]);
  });

  it('says that it failed, not why; unless the error is meant for the client', async () => {
    const errors: unknown[] = [];
    const { client } = await start({
      message(_, payload) {
        const { t } = payload as WSEMessage;
        if (t === 'map') return new Map();
        if (t === 'typed') throw new WSERequestError('NO_SUCH_SYMBOL', 'there is no ACME');
        if (t === 'typed later') return Promise.reject(new WSERequestError('LATER', 'no'));
        if (t === 'odd') throw undefined;
        if (t === 'later') return pause(1).then(() => Promise.reject(new Error('secret')));
        throw new Error('secret');
      },
      error: (error) => void errors.push(error),
    });
    const types = ['throw', 'later', 'map', 'odd', 'typed', 'typed later'];
    for (const type of types) ask(client, type, type);
    const said = await replies(client, types.length);
    expect(said.map(({ cid }) => cid)).toEqual(types);
    const failed = { code: 'HANDLER_FAILED', message: 'The request could not be handled' };
    expect(said.map(({ err }) => err)).toEqual([
      failed,
      failed,
      failed,
      failed,
      { code: 'NO_SUCH_SYMBOL', message: 'there is no ACME' },
      { code: 'LATER', message: 'no' },
    ]);
    expect(client.texts.join()).not.toContain('secret');
    expect(errors).toEqual([new Error('secret'), new Error('secret'), expect.any(TypeError), undefined]);
  });

  it('is not said to who has given up', async () => {
    const requests: IncomingRequest[] = [];
    const answer: (() => void)[] = [];
    const errors: unknown[] = [];
    const { client, port } = await start({
      message(_, payload, request) {
        if (request === undefined) return undefined;
        requests.push(request);
        const { signal } = request;
        if ((payload as WSEMessage).t === 'abortable') {
          return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        }
        return new Promise((resolve) => answer.push(() => resolve('too late')));
      },
      error: (error) => void errors.push(error),
    });
    // Cancelled while it is handled: the handler hears of it although its connection's next event waits for it.
    ask(client, 'abortable', 'q-1');
    await waitUntil(() => requests.length === 1, 'first');
    cancel(client, 'unknown');
    cancel(client, 'q-1');
    await waitUntil(() => requests[0]?.signal.aborted === true, 'abort');
    expect(reasonOf(requests[0])).toBe('CANCELLED');
    // Out of time while it is handled.
    ask(client, 'abortable', 'q-2', null, 30);
    await waitUntil(() => requests[1]?.signal.aborted === true, 'timeout');
    expect(reasonOf(requests[1])).toBe('TIMEOUT');
    // Out of time while it waits for its turn, and cancelled meanwhile: nobody is called for it.
    ask(client, 'wait', 'q-3');
    await waitUntil(() => answer.length === 1, 'third');
    ask(client, 'wait', 'q-4', null, 1);
    ask(client, 'wait', 'q-5');
    cancel(client, 'q-5');
    ask(client, 'wait', 'q-6');
    await pause(20);
    answer[0]?.();
    await waitUntil(() => answer.length === 2, 'sixth');
    expect(requests.map(({ id }) => id)).toEqual(['q-1', 'q-2', 'q-3', 'q-6']);
    expect(await replies(client, 1)).toEqual([{ c: 'U', t: 'reply', p: 'too late', cid: 'q-3' }]);
    // Gone.
    const other = await Client.open(port);
    ask(other, 'abortable', 'q-7');
    await waitUntil(() => requests.length === 5, 'seventh');
    other.socket.terminate();
    await waitUntil(() => requests[4]?.signal.aborted === true, 'end');
    expect(reasonOf(requests[4])).toBe('DISCONNECTED');
    expect(errors).toEqual([]);
    answer[1]?.();
    expect((await replies(client, 2)).map(({ cid }) => cid)).toEqual(['q-3', 'q-6']);
  });

  it('is one for each name: a second request of a name that is open is refused, and hangs nothing', async () => {
    const requests: IncomingRequest[] = [];
    const { client, port } = await start(untilGone(requests), { concurrency: 2 });
    const others = [await Client.open(port), await Client.open(port)];
    for (const other of others) {
      for (let n = 0; n < 3; n += 1) ask(other, 'wait', 'same', null, 1e308);
      const err = { code: 'DUPLICATE_REQUEST', message: 'A request of this name is open' };
      const refusal = { c: 'WSE', t: 'reply', cid: 'same', err };
      expect(await replies(other, 2)).toEqual([refusal, refusal]);
    }
    // Both places are taken; each comes back, and with it what waits behind it.
    for (const other of others) other.socket.terminate();
    ask(client, 'now', 'mine', 7);
    expect(await replies(client, 1)).toEqual([{ c: 'U', t: 'reply', p: 7, cid: 'mine' }]);
    await waitUntil(() => requests.every(({ signal }) => signal.aborted), 'all of them');
    expect(requests.map(reasonOf)).toEqual(['DISCONNECTED', 'DISCONNECTED']);
    // A name that is open no more is anybody's; one that was cancelled is not, though its handler may be at work still.
    for (let n = 0; n < 3; n += 1) ask(client, 'now', 'mine', n);
    expect((await replies(client, 4)).slice(1).map(({ p }) => p)).toEqual([0, 1, 2]);
    ask(client, 'wait', 'given up');
    await waitUntil(() => requests.length === 3, 'third');
    cancel(client, 'given up');
    ask(client, 'now', 'given up', 8);
    expect((await replies(client, 5))[4]).toEqual({ c: 'U', t: 'reply', p: 8, cid: 'given up' });
  });

  it('is not waited for by handlers whose client is gone while nothing is read', async () => {
    const requests: IncomingRequest[] = [];
    const { client, port } = await start(untilGone(requests), { concurrency: 1, maxWaiting: 4 });
    const other = await Client.open(port);
    ask(other, 'wait', 'first', null, 1e308);
    await waitUntil(() => requests.length === 1, 'first');
    // So many wait that nothing more is read, also not that it is gone.
    for (let n = 0; n < 8; n += 1) ask(other, 'wait', `more-${n}`, null, 1e308);
    await pause(50);
    other.socket.terminate();
    ask(client, 'now', 'mine', 7);
    expect(await replies(client, 1)).toEqual([{ c: 'U', t: 'reply', p: 7, cid: 'mine' }]);
    expect(reasonOf(requests[0])).toBe('DISCONNECTED');
  });

  it('has a name of 1 to 128 characters, or is none', async () => {
    const heard: unknown[] = [];
    const { client } = await start({
      message(_, payload, request) {
        heard.push([(payload as WSEMessage).p, request?.id.length]);
        return 1;
      },
    });
    for (const length of [0, 1, 128, 129]) ask(client, 'x', 'n'.repeat(length), length);
    await waitUntil(() => heard.length === 4, 'all of them');
    expect(heard).toEqual([
      [0, undefined],
      [1, 1],
      [128, 128],
      [129, undefined],
    ]);
    expect((await replies(client, 2)).map(({ cid }) => cid.length)).toEqual([1, 128]);
  });

  it('is HANDLER_FAILED for an error that cannot be read, and nothing leaks', async () => {
    const errors: unknown[] = [];
    const evil = (name: string): WSERequestError =>
      Object.create(WSERequestError.prototype, {
        [name]: {
          get(): never {
            throw new Error('evil');
          },
        },
      }) as WSERequestError;
    const { client } = await start(
      {
        message(_, payload) {
          const { t } = payload as WSEMessage;
          if (t === 'now') throw evil('code');
          return t === 'later' ? Promise.reject(evil('message')) : t;
        },
        error: (error) => void errors.push(error),
      },
      { concurrency: 1 },
    );
    for (const type of ['now', 'later', 'sound']) ask(client, type, type);
    const said = await replies(client, 3);
    expect(said.map(({ cid, err, p }) => [cid, err?.code ?? p])).toEqual([
      ['now', 'HANDLER_FAILED'],
      ['later', 'HANDLER_FAILED'],
      ['sound', 'sound'],
    ]);
    expect(errors.length).toBe(2);
  });

  it('leaves messages of applications alone that look alike', async () => {
    const heard: unknown[] = [];
    const { client } = await start({ message: (_, payload) => void heard.push(payload) });
    const alike = [
      { t: 'cancel', cid: 'a' },
      { c: 'U', t: 'cancel', cid: 'a' },
      { c: 'WSE', t: 'cancel' },
      { c: 'U', t: 'reply', p: 1, cid: 'a' },
    ];
    for (const message of alike) client.send(JSON.stringify(message));
    await waitUntil(() => heard.length === alike.length, 'all of them');
    expect(heard).toEqual(alike);
  });
});

describe('the vectors', () => {
  type Vector =
    | { kind: 'request'; name: string; type: string; payload: unknown; cid: string; timeout: number; output: string }
    | { kind: 'reply'; name: string; cid: string; value: unknown; output: string }
    | { kind: 'failure'; name: string; cid: string; code: string; message: string; output: string }
    | { kind: 'cancel'; name: string; cid: string; output: string };
  const file = new URL('../../../spec/vectors/requests.json', import.meta.url);
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];

  it.each(vectors)('hold for a $kind: $name', async (vector) => {
    const { server, client, conn } = await start({
      message(_, payload) {
        const { p } = payload as { p: { value?: unknown; code?: string; message?: string } };
        if (p.code === 'HANDLER_FAILED') throw new Error('anything');
        if (p.code !== undefined) throw new WSERequestError(p.code, p.message as string);
        return p.value;
      },
      error: () => {},
    });
    if (vector.kind === 'reply' || vector.kind === 'failure') {
      ask(client, 'x', vector.cid, vector);
      expect(await client.heard(1)).toEqual([vector.output]);
      return;
    }
    const signal = new AbortController();
    const type = vector.kind === 'request' ? vector.type : 'x';
    const payload = vector.kind === 'request' ? (vector.payload ?? undefined) : undefined;
    const timeout = vector.kind === 'request' ? vector.timeout / 1000 : 20;
    const asked = failureOf(server.request(conn, type, payload, { timeout, signal: signal.signal }));
    const [sent] = await client.heard(1);
    const { cid } = JSON.parse(sent as string) as { cid: string };
    if (vector.kind === 'request') expect(sent?.replace(cid, vector.cid)).toBe(vector.output);
    signal.abort();
    await asked;
    if (vector.kind === 'cancel') expect((await client.heard(2))[1]?.replace(cid, vector.cid)).toBe(vector.output);
  });
});

describe('server.request', () => {
  /** Answers each request with what `answer` makes of it. */
  function answering(client: Client, answer: (request: Reply) => object | undefined): void {
    client.socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as Reply & { rq?: number };
      if (message.rq === undefined) return;
      const said = answer(message);
      if (said !== undefined) client.send(JSON.stringify({ c: 'U', t: 'reply', cid: message.cid, ...said }));
    });
  }

  it('resolves with what the client answers, also from within a handler of that very connection', async () => {
    const served = await start({
      async message(conn) {
        return { echoed: await served.server.request(conn, 'who', 5) };
      },
    });
    answering(served.client, ({ t, p }) => ({ p: { t, p } }));
    const { server, client, conn } = served;
    expect(await server.request<{ p: number }>(conn, 'price', [1])).toEqual({ t: 'price', p: [1] });
    expect(await Promise.all([1, 2, 3].map((n) => server.request(conn, 'n', n)))).toEqual([1, 2, 3].map((p) => ({ t: 'n', p })));
    ask(client, 'anything', 'mine');
    await waitUntil(() => client.texts.some((text) => text.includes('"cid":"mine"')), 'answer');
    expect(JSON.parse(client.texts.at(-1) as string)).toMatchObject({ p: { echoed: { t: 'who', p: 5 } } });
    expect(server.pendingRequests).toBe(0);
  });

  it('rejects with what went wrong', async () => {
    const heard: unknown[] = [];
    const { server, client, conn, port } = await start(
      { message: (_, payload) => void heard.push(payload) },
      {},
      { maxPendingRequests: 3 },
    );
    answering(client, ({ t }) =>
      t === 'refuse' ? { err: { code: 'BUSY', message: 'not now' } } : t === 'odd' ? { err: 7 } : undefined,
    );
    expect(await failureOf(server.request(conn, 'refuse'))).toEqual(new WSERequestError('BUSY', 'not now'));
    expect(await failureOf(server.request(conn, 'odd'))).toMatchObject({ code: 'UNKNOWN' });
    const late = await failureOf(server.request(conn, 'mute', null, { timeout: 0.02 }));
    expect([late instanceof WSEError, (late as WSEError).code]).toEqual([true, 'WSE_REQUEST_TIMEOUT']);
    // An answer that comes too late is nobody's; nor does another connection answer.
    const { cid } = JSON.parse(client.texts.at(-1) as string) as Reply;
    client.send(`{"c":"U","t":"reply","p":1,"cid":"${cid}"}`);
    const other = await Client.open(port);
    const open = failureOf(server.request(conn, 'mute'));
    await waitUntil(() => client.texts.length === 4, 'request');
    other.send(client.texts[3]?.replace('"t":"mute"', '"t":"reply"').replace(/,"rq":\d+/, '') as string);
    other.send('{"t":"after"}');
    client.send('{"t":"after"}');
    await waitUntil(() => heard.length === 2, 'what came behind');
    expect(heard).toEqual([{ t: 'after' }, { t: 'after' }]);
    expect(server.pendingRequests).toBe(1);
    // Given up.
    const controller = new AbortController();
    const given = failureOf(server.request(conn, 'mute', null, { signal: controller.signal }));
    const more = failureOf(server.request(conn, 'mute'));
    const full = await failureOf(server.request(conn, 'mute'));
    expect([full instanceof WSEOverloadedError, (full as WSEError).code]).toEqual([true, 'WSE_REQUESTS_FULL']);
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await given).toBe(reason);
    await waitUntil(() => client.texts.some((text) => text.includes('"t":"cancel"')), 'cancel');
    expect(await failureOf(server.request(conn, 'x', null, { signal: controller.signal }))).toBe(reason);
    // Gone.
    client.socket.terminate();
    for (const error of [await open, await more]) expect((error as WSEError).code).toBe('WSE_REQUEST_DISCONNECTED');
    expect(((await failureOf(server.request(conn, 'x'))) as WSEError).code).toBe('WSE_REQUEST_DISCONNECTED');
    expect(server.pendingRequests).toBe(0);
    expect(await failureOf(server.request(conn, 'x', new Map()))).toBeInstanceOf(TypeError);
    const tooLong = await failureOf(server.request(conn, 'x', null, { timeout: 5000 }));
    expect(tooLong).toMatchObject({ code: 'WSE_CONFIG_INVALID', path: 'timeout' });
  });

  it('rejects when the server stops', async () => {
    const server = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET });
    const { port } = await server.start();
    const client = await Client.open(port);
    const [[, conn]] = (await (await server.batches().next()).value) as unknown as [[string, number]];
    const asked = failureOf(server.request(conn, 'mute'));
    await client.heard(1);
    await server.stop({ timeout: 1 });
    const error = await asked;
    expect([error instanceof WSEStateError, (error as WSEError).code]).toEqual([true, 'WSE_STOPPED']);
    expect(((await failureOf(server.request(conn, 'mute'))) as WSEError).code).toBe('WSE_STOPPED');
  });

  it.each(['callbacks', 'batches', 'lazy batches', 'drainInbound'])('settles whatever reads: %s', async (style) => {
    const server = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET });
    const { port } = await server.start();
    const heard: unknown[] = [];
    let conn = -1;
    const note = (type: string, id: number | null, payload: unknown): void => {
      if (type === 'connect') conn = id as number;
      else if (type === 'msg')
        heard.push(
          typeof payload === 'object' && payload && 'parse' in payload ? (payload as { parse(): unknown }).parse() : payload,
        );
    };
    let reading = true;
    const read = async (): Promise<void> => {
      if (style === 'callbacks') {
        server.setCallbacks({
          onConnect: (id) => note('connect', id, null),
          onMessage: (id, payload) => note('msg', id, payload),
        });
      } else if (style === 'drainInbound') {
        while (reading) {
          for (const [type, id, payload] of server.drainInbound(64, 5)) note(type, id, payload);
          await pause(1);
        }
      } else {
        for await (const batch of server.batches({ lazy: style === 'lazy batches' })) {
          for (const [type, id, payload] of batch) note(type, id, payload);
        }
      }
    };
    const done = read();
    onTestFinished(async () => {
      reading = false;
      await done.catch(() => {});
    });
    onTestFinished(() => server.stop({ timeout: 1 }));
    const client = await Client.open(port);
    await waitUntil(() => conn >= 0, 'connect');
    answering(client, ({ p }) => {
      client.send('{"t":"before"}');
      return { p };
    });
    for (let n = 0; n < 20; n += 1) expect(await server.request(conn, 'n', n)).toBe(n);
    client.send('{"t":"last"}');
    await waitUntil(() => heard.length === 21, 'messages');
    expect(heard).toEqual([...Array.from({ length: 20 }, () => ({ t: 'before' })), { t: 'last' }]);
    if (style === 'drainInbound') reading = false;
  });

  it('decodes no lazy message that is no reply', async () => {
    const server = new RustWSEServer({ port: 0, shards: threads(1), ...QUIET });
    onTestFinished(() => server.stop({ timeout: 1 }));
    const { port } = await server.start();
    const decoded = vi.spyOn(LazyMessage.prototype, 'text', 'get');
    onTestFinished(() => decoded.mockRestore());
    const client = await Client.open(port);
    answering(client, ({ p }) => ({ p }));
    let conn = -1;
    let messages = 0;
    const read = async (): Promise<void> => {
      for await (const batch of server.batches({ lazy: true })) {
        for (const [type, id] of batch) {
          if (type === 'connect') conn = id as number;
          if (type === 'msg') messages += 1;
        }
      }
    };
    void read();
    await waitUntil(() => conn >= 0, 'connect');
    expect(await server.request(conn, 'n', 1)).toBe(1);
    const before = decoded.mock.calls.length;
    for (let n = 0; n < 20; n += 1) client.send('{"t":"reply","cid":"theirs","p":1}');
    await waitUntil(() => messages === 20, 'messages');
    expect([before, decoded.mock.calls.length]).toEqual([1, 1]);
  });
});
