/** What one turn says crosses together: order, bounds, and who is told that nobody is there. */

import { Worker } from 'node:worker_threads';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RustWSEServer } from '../../src/index.js';
import type { NativeCalls } from '../../src/native/binding.js';
import { loadNative } from '../../src/native/loader.js';
import { SEND_BYTES as BYTES, Outbox, SEND_TEXT as TEXT } from '../../src/server/outbox.js';
import { INLINE, threads } from '../support/driver.js';
import { startServer, type TestServer, waitUntil } from '../support/server.js';
import { type Client, heardSoFar, join, QUIET } from './client.js';

const MODULE = new URL('../../../dist/index.cjs', import.meta.url).pathname;

/** Every message of a client as it came, text or bytes. */
function listen(client: Client): string[] {
  const heard: string[] = [];
  client.socket.on('message', (data, binary) => heard.push((binary ? 'bin:' : 'text:') + data.toString()));
  return heard;
}

/** Data frames the engine has queued for connections. */
const sent = (on: TestServer): number => on.metric('wse_messages_sent_total');

/** Small, long, and of characters of one, two, three and four bytes; a lone surrogate arrives as U+FFFD. */
const BODIES = ['', 'x', 'ü', '€uro', '😀', '\ud800', 'y'.repeat(200), 'ß'.repeat(3000), 'z'.repeat(20_000), '😀'.repeat(9000)];

describe('what one turn sends and publishes', () => {
  it.each([1, 3])('arrives in the order of the calls, text and bytes, short and long, with %d shards', async (shards) => {
    const on = await startServer({ ...QUIET, shards: threads(shards), maxOutboundQueueBytes: 256 * 1024 * 1024 });
    const members = [await join(on), await join(on), await join(on)];
    const heard = members.map(({ client }) => listen(client));
    const expected: string[][] = members.map(() => []);
    for (const { conn } of members.slice(0, 2)) on.server.subscribeConnection(conn, ['a', 'b']);
    let seed = 20_261_121;
    const next = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let turn = 0; turn < 40; turn += 1) {
      for (let call = next(200); call >= 0; call -= 1) {
        const text = `${turn}.${call} ${BODIES[next(call % 10 === 0 ? BODIES.length : 7)]}`;
        const arrives = Buffer.from(text).toString();
        const member = next(3);
        const { conn } = members[member] as { conn: number };
        switch (next(4)) {
          case 0:
            expect(on.server.send(conn, text)).toBe(true);
            expected[member]?.push(`text:${arrives}`);
            break;
          case 1:
            expect(on.server.sendBytes(conn, Buffer.from(text))).toBe(true);
            expected[member]?.push(`bin:${arrives}`);
            break;
          case 2:
            on.server.broadcast(next(2) === 0 ? 'a' : 'b', text);
            expected[0]?.push(`text:${arrives}`);
            expected[1]?.push(`text:${arrives}`);
            break;
          default:
            if (next(20) > 0) continue;
            on.server.broadcastAll(text);
            for (const list of expected) list.push(`text:${arrives}`);
        }
      }
      await new Promise(setImmediate);
    }
    await waitUntil(() => heard.every((list, member) => list.length >= (expected[member] as string[]).length), 'everything');
    for (const [member, list] of heard.entries()) {
      const wrong = list.findIndex((message, at) => message !== expected[member]?.[at]);
      expect([member, wrong, list.length]).toEqual([member, -1, expected[member]?.length]);
    }
  });

  it('is a copy: the bytes may be changed at once', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const bytes = Buffer.from('before');
    on.server.sendBytes(conn, bytes);
    bytes.write('after!');
    on.server.sendBytes(conn, new DataView(bytes.buffer, bytes.byteOffset, 2));
    expect((await heardSoFar(on, client, conn)).binaries).toEqual(['before', 'af']);
  });

  it('may be more bytes than are collected at once, and says its own length', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const bodies = Array.from({ length: 12 }, (_, i) => String.fromCharCode(97 + i).repeat(i % 3 === 0 ? 16 * 1024 : 15_000));
    for (const body of bodies) expect(on.server.sendBytes(conn, Buffer.from(body))).toBe(true);
    class Boaster extends Uint8Array {
      override get length(): number {
        return 50_000;
      }
      override get byteLength(): number {
        return Number.NaN;
      }
    }
    expect(on.server.sendBytes(conn, Boaster.from([104, 105]))).toBe(true);
    expect((await heardSoFar(on, client, conn)).binaries).toEqual([...bodies, 'hi']);
  });

  it('goes out before the thread blocks in drainInbound(), whichever server it was given to', async () => {
    const [drained, spoken] = [await startServer({ ...QUIET, keep: false }), await startServer(QUIET)];
    const { client, conn } = await join(spoken);
    const worker = new Worker(
      `const { workerData } = require('node:worker_threads');
      const { RustWSEServer } = require(workerData.module);
      const [drained, spoken] = workerData.handles.map((handle) => RustWSEServer.attach(handle));
      for (let i = 0; ; i += 1) {
        if (i < 10) spoken.send(workerData.conn, 'm' + i);
        drained.drainInbound(256, 20);
      }`,
      { eval: true, workerData: { module: MODULE, handles: [drained.server.handle, spoken.server.handle], conn } },
    );
    expect(await client.heard(10)).toEqual(Array.from({ length: 10 }, (_, i) => `m${i}`));
    await worker.terminate();
  });

  it('is an error once another thread has stopped the engine, also for a thread that never gives way', async () => {
    const on = await startServer(QUIET);
    const { conn } = await join(on);
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
      const { RustWSEServer } = require(workerData.module);
      const server = RustWSEServer.attach(workerData.handle);
      const pause = new Int32Array(new SharedArrayBuffer(4));
      const until = Date.now() + 10_000;
      parentPort.postMessage(server.send(workerData.conn, 'x'));
      try {
        while (Date.now() < until) { server.send(workerData.conn, 'x'); Atomics.wait(pause, 0, 0, 1); }
      } catch (error) { parentPort.postMessage(error.code); }`,
      { eval: true, workerData: { module: MODULE, handle: on.server.handle, conn } },
    );
    const said: unknown[] = [];
    worker.on('message', (message) => said.push(message));
    await waitUntil(() => said.length === 1, 'the worker');
    await on.server.stop({ timeout: 0 });
    await waitUntil(() => said.length === 2, 'its error');
    expect(said).toEqual([true, 'WSE_STOPPED']);
    await worker.terminate();
  });

  it('is handed over up to the first note that does not add up', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const native = loadNative();
    const to = [conn % 2 ** 32, Math.floor(conn / 2 ** 32)];
    const wrong: [string, Uint8Array | null, number[], number?][] = [
      ['1\n', null, [TEXT, ...to, 1, TEXT, ...to, 1]],
      ['2\nx', null, [TEXT, ...to, 1, TEXT, ...to, 1]],
      ['3\nö\n', null, [TEXT, ...to, 1, TEXT, ...to, 2]],
      ['4\n', new Uint8Array(3), [TEXT, ...to, 1, BYTES, ...to, 4]],
      ['5\n', null, [TEXT, ...to, 1, BYTES, ...to, 1]],
      ['6\n', null, [TEXT, ...to, 1, TEXT, ...to]],
      ['7\n', null, [TEXT, ...to, 1, TEXT]],
      ['8\nt\n', null, [TEXT, ...to, 1, 1, 9]],
      ['9\n', null, [TEXT, ...to, 1, 1]],
      ['never\n', null, [TEXT, ...to, 5], 5],
    ];
    for (const [text, bytes, notes, noted = notes.length] of wrong) {
      expect(() => native.handOver(on.server.handle, text, text.length, bytes, new Uint32Array(notes), noted)).toThrow(/add up/);
    }
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9']);
  });

  // Without a thread of its own an engine writes when JavaScript gives way.
  it.skipIf(INLINE)('is written while the same turn goes on, once much has come together', async () => {
    const on = await startServer(QUIET);
    const { conn } = await join(on);
    for (let i = 0; i < 1000; i += 1) on.server.send(conn, `m${i}`);
    const until = performance.now() + 5000;
    while (sent(on) < 900 && performance.now() < until);
    expect(sent(on)).toBeGreaterThanOrEqual(900);
  });

  it.skipIf(INLINE)('is not handed over by a question, but by a command', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const before = sent(on);
    on.server.send(conn, 'x');
    const until = performance.now() + 100;
    while (performance.now() < until) {
      expect([on.server.getConnectionCount(), on.server.getConnections(), sent(on)]).toEqual([1, [conn], before]);
    }
    on.server.subscribeConnection(conn, ['t']);
    const later = performance.now() + 5000;
    while (sent(on) === before && performance.now() < later);
    expect(sent(on)).toBe(before + 1);
    expect((await heardSoFar(on, client, conn)).texts).toEqual(['x']);
  });
});

describe('a connection id', () => {
  it('that names nobody is answered with false, whatever number it is', async () => {
    const on = await startServer({ ...QUIET, shards: threads(2) });
    const { client, conn } = await join(on);
    const nobody = [
      0,
      -0,
      -conn,
      conn + 0.5,
      conn + 1,
      conn + 2 ** 21,
      conn + 2 ** 27,
      conn * 2,
      2 ** 53,
      NaN,
      Infinity,
      -Infinity,
    ];
    for (const id of nobody.filter((id) => id !== conn)) {
      expect([id, on.server.send(id, 'x'), on.server.sendBytes(id, Buffer.from('x'))]).toEqual([id, false, false]);
    }
    expect(await heardSoFar(on, client, conn)).toEqual({ texts: [], binaries: [] });
  });

  it('is forgotten when the connection ends, also by the next one in its place', async () => {
    const on = await startServer({ ...QUIET, shards: threads(1) });
    const first = await join(on);
    first.client.socket.terminate();
    await on.take('disconnect', first.conn);
    expect([on.server.send(first.conn, 'x'), on.server.sendBytes(first.conn, Buffer.from('x'))]).toEqual([false, false]);
    const second = await join(on);
    expect([first.conn % 2 ** 27, first.conn === second.conn]).toEqual([second.conn % 2 ** 27, false]);
    expect(on.server.send(first.conn, 'to the first')).toBe(false);
    expect(on.server.send(second.conn, 'to the second')).toBe(true);
    expect((await heardSoFar(on, second.client, second.conn)).texts).toEqual(['to the second']);
  });

  it('is not open any more once its Close is on the way', async () => {
    const on = await startServer({ ...QUIET, closeTimeout: 30 });
    const { client, conn } = await join(on);
    client.socket.pause(); // so that it does not answer
    on.server.disconnect(conn);
    await waitUntil(() => !on.server.send(conn, 'late'), 'the Close');
    expect(on.server.getConnectionCount()).toBe(1);
    client.socket.resume();
    await on.take('disconnect', conn);
  });

  it('is known to every facade of the engine, in every thread', async () => {
    const on = await startServer({ ...QUIET, shards: threads(2) });
    const members = [await join(on), await join(on)];
    const other = RustWSEServer.attach(on.server.handle);
    for (const { conn } of members)
      expect([other.send(conn, 'attached'), other.send(conn + 2 ** 27, 'x')]).toEqual([true, false]);
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { RustWSEServer } = require(workerData.module);
      const server = RustWSEServer.attach(workerData.handle);
      const answers = workerData.conns.map((conn) => [server.send(conn, 'worker'), server.send(conn + 2 ** 27, 'x')]);
      setImmediate(() => parentPort.postMessage(answers)); // its turn is over, what it sent is on the way`;
    // One after the other: the memory each has looked at outlives its thread.
    for (let round = 0; round < 3; round += 1) {
      const conns = members.map(({ conn }) => conn);
      const worker = new Worker(script, { eval: true, workerData: { module: MODULE, handle: on.server.handle, conns } });
      const answer = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      expect(answer).toEqual([
        [true, false],
        [true, false],
      ]);
      await worker.terminate();
    }
    for (const { client, conn } of members) {
      expect((await heardSoFar(on, client, conn)).texts).toEqual(['attached', 'worker', 'worker', 'worker']);
    }
  });
});

describe('a crossing that fails where nobody called', () => {
  it('is a warning and not the end of the process, and the next turn crosses', async () => {
    const on = await startServer(QUIET);
    const { client, conn } = await join(on);
    const heard = listen(client);
    const calls = loadNative();
    let failures = 0;
    const handOver: NativeCalls['handOver'] = (...args) => {
      failures += 1;
      // What no engine does: there is no input that makes this one throw here.
      if (failures === 1) throw new Error('out of something');
      return calls.handOver(...args);
    };
    const outbox = new Outbox({ ...calls, handOver }, on.server.handle);
    const warnings: Error[] = [];
    const rejections: unknown[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    const rejected = (reason: unknown): void => void rejections.push(reason);
    process.on('warning', warned).on('unhandledRejection', rejected);
    onTestFinished(() => void process.off('warning', warned).off('unhandledRejection', rejected));
    expect(outbox.send(conn, 'lost')).toBe(true);
    await waitUntil(() => warnings.length > 0 || rejections.length > 0, 'a report');
    expect(rejections).toEqual([]);
    expect(warnings[0]).toMatchObject({ code: 'WSE_HAND_OVER_FAILED', message: expect.stringContaining('out of something') });
    expect(outbox.send(conn, 'arrives')).toBe(true);
    await waitUntil(() => heard.length > 0, 'the next');
    expect(heard).toEqual(['text:arrives']);
  });
});
