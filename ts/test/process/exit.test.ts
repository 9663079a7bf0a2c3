import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { waitUntil } from '../support/wait.js';
import { Child } from './facade.js';

/** Windows has no signals: a process that is sent one just ends. */
const itWithSignals = it.skipIf(process.platform === 'win32');

const QUIET_END = { code: 0, signal: null } as const;

describe('a process', () => {
  it.each(['batches', 'callbacks', 'workers', 'worker-loops', 'nobody'])(
    'ends by itself after stop(), with %s',
    async (delivery) => {
      const child = new Child('exits', 'stop', delivery);
      await child.report('stopped');
      expect(await child.ended()).toMatchObject(QUIET_END);
      expect(child.stderr).toBe('');
    },
  );

  it('is not kept alive by a server that was never started', async () => {
    const child = new Child('exits', 'never-started');
    expect(await child.ended()).toMatchObject(QUIET_END);
    expect(child.reports).toEqual([{ created: true }]);
  });

  itWithSignals('is kept alive by a running server, and SIGINT ends it as ever', async () => {
    const child = new Child('exits', 'kept-alive');
    const port = await child.report('port');
    for (let round = 0; round < 3; round += 1) {
      const client = new WebSocket(`ws://127.0.0.1:${port}/`);
      await waitUntil(() => client.readyState === WebSocket.OPEN, 'connection');
      client.close();
      await waitUntil(() => client.readyState === WebSocket.CLOSED, 'close');
    }
    expect(child.exit).toBeUndefined();
    child.process.kill('SIGINT');
    expect(await child.ended()).toMatchObject({ code: null, signal: 'SIGINT' });
  });

  it.each([
    ['exit', 0],
    ['exit', 3],
    ['exit-in-callback', 7],
    ['exit-with-workers', 8],
    ['exit-while-stopping', 9],
    ['exit-while-starting', 10],
  ] as const)('that calls process.exit(): %s %i ends promptly with that code', async (how, code) => {
    const rounds = await Promise.all(
      Array.from({ length: 2 }, async () => {
        const child = new Child('exits', how, code);
        await child.report('exiting');
        const began = performance.now();
        const end = await child.ended();
        return { end, took: performance.now() - began, stderr: child.stderr };
      }),
    );
    for (const { end, took, stderr } of rounds) {
      expect(end).toMatchObject({ code, signal: null });
      // Of the thirty seconds that stop() may take there; a busy machine takes some of its own.
      expect(took).toBeLessThan(8000);
      expect(stderr).toBe('');
    }
  });

  it.each([
    ['uncaught', 'boom in the loop'],
    ['uncaught-timer', 'boom in a timer'],
  ])('with an uncaught exception (%s) says so and ends with 1', async (how, text) => {
    const child = new Child('exits', how);
    expect(await child.ended()).toMatchObject({ code: 1, signal: null });
    expect(child.stderr).toContain(text);
  });

  itWithSignals('drains on SIGTERM: every client sees 4300, a later connect fails, and the process ends with 0', async () => {
    const child = new Child('exits', 'sigterm');
    const port = await child.report('port');
    const codes: number[] = [];
    const clients = Array.from({ length: 20 }, () => {
      const client = new WebSocket(`ws://127.0.0.1:${port}/`);
      client.on('close', (code) => codes.push(code));
      client.on('error', () => codes.push(0));
      return client;
    });
    await child.report('connected');
    child.process.kill('SIGTERM');
    expect(await child.report<boolean>('drained')).toBe(true);
    await waitUntil(() => codes.length === 20, 'close of all clients');
    expect(codes).toEqual(Array<number>(20).fill(4300));
    await waitUntil(() => child.reports.filter((one) => 'left' in one).length === 20, 'all disconnect events');
    expect(child.exit).toBeUndefined();
    const late = new WebSocket(`ws://127.0.0.1:${port}/`);
    let failed = false;
    late.on('error', () => {
      failed = true;
    });
    await waitUntil(() => late.readyState === WebSocket.CLOSED, 'refusal');
    expect(failed).toBe(true);
    child.tell();
    expect(await child.ended()).toMatchObject(QUIET_END);
    expect(clients.every(({ readyState }) => readyState === WebSocket.CLOSED)).toBe(true);
    expect(child.stderr).toBe('');
  });
});
