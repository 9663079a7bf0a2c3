/** Requests without a connection: what is answered, refused and left alone (docs/protocol.md §18), and what is asked. */

import { setImmediate as turn } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { createAnswering } from '../../src/core/answering.js';
import { createRequests, type Requests } from '../../src/core/requests.js';
import { SHARED } from '../../src/core/shared.js';
import type { Outgoing, WSEEvent } from '../../src/protocol/types.js';
import { TestClock } from '../support/time.js';

interface Setup {
  readonly requests: Requests;
  readonly clock: TestClock;
  readonly written: Outgoing[];
  /** A message of the server; whether it was a request, a reply or a cancellation. */
  hear(type: string, cid: unknown, more?: Record<string, unknown>): boolean;
  /** What was answered since the last look: the payload, or the code of the failure. */
  answers(): Promise<unknown[]>;
}

function setup(limit = Infinity): Setup {
  const clock = new TestClock();
  const written: Outgoing[] = [];
  let count = 0;
  const write = (message: Outgoing, check?: (text: string) => void): boolean => {
    check?.(JSON.stringify(message));
    return written.push(message) > 0;
  };
  const fits = (text: string): void => {
    if (text.length > limit) throw new SHARED.WSEError('WSE_TOO_LARGE', `the server takes ${limit} bytes`);
  };
  const requests = createRequests({
    clock,
    timeout: 10_000,
    id: () => `me-${++count}`,
    async send(message) {
      written.push(message);
    },
    waiting: () => 0,
    write,
  });
  const answering = createAnswering({ clock, shared: SHARED, requests, write, fits, report: () => {} });
  return {
    requests,
    clock,
    written,
    hear(type, cid, { category = 'U', ...raw } = {}) {
      const event = { type, payload: raw['p'], correlationId: cid, category } as WSEEvent;
      return answering.take(event, { rq: 5_000, ...raw });
    },
    async answers() {
      await turn();
      return written.splice(0).map(({ payload, error }) => error?.code ?? payload);
    },
  };
}

it('a second request of an open name is refused, and not handled', async () => {
  const { requests, hear, answers } = setup();
  const given: (() => void)[] = [];
  requests.handle('wait', (payload) => new Promise((resolve) => given.push(() => resolve(payload))));
  hear('wait', 'a', { p: 1 });
  hear('wait', 'a', { p: 2 });
  hear('other', 'a');
  expect(await answers()).toEqual(['DUPLICATE_REQUEST', 'DUPLICATE_REQUEST']);
  expect(given).toHaveLength(1);
  given[0]?.();
  expect(await answers()).toEqual([1]);
  // What is answered, cancelled or late is open no more.
  hear('wait', 'a', { p: 3 });
  hear('cancel', 'a', { category: 'WSE', rq: undefined });
  hear('wait', 'a', { p: 4 });
  for (const give of given) give();
  expect(await answers()).toEqual([4]);
});

it('handlers are bounded by their number, whatever the names of their requests', async () => {
  const { requests, clock, hear, answers } = setup();
  let begun = 0;
  const given: (() => void)[] = [];
  requests.handle('wait', () => new Promise((resolve) => given.push(() => resolve(++begun))));
  // Their time is over, they are not.
  for (let n = 0; n < 1_024; n += 1) {
    hear('wait', 'same');
    clock.pass(5_000);
  }
  hear('wait', 'same');
  expect(await answers()).toEqual(['BUSY']);
  for (const give of given) give();
  await turn();
  hear('wait', 'same');
  given.at(-1)?.();
  expect(await answers()).toEqual([1_025]);
});

it('what is no request is an ordinary message', async () => {
  const { requests, hear, answers } = setup();
  let handled = 0;
  requests.handle('x', () => ++handled);
  for (const rq of [0, -1, Number.NaN, '5', null, undefined]) expect(hear('x', 'a', { rq }), String(rq)).toBe(false);
  for (const cid of ['', 'x'.repeat(129), undefined]) expect(hear('x', cid), String(cid)).toBe(false);
  expect(hear('cancel', 'a', { rq: undefined })).toBe(false);
  expect(await answers()).toEqual([]);
  expect(hear('x', 'x'.repeat(128))).toBe(true);
  expect(await answers()).toEqual([1]);
});

it('of the application is a cancel of its category', async () => {
  const { requests, hear } = setup();
  let aborted = false;
  requests.handle('wait', (_, { signal }) => {
    signal.addEventListener('abort', () => {
      aborted = true;
    });
    return new Promise(() => {});
  });
  hear('wait', 'a');
  expect(hear('cancel', 'a', { rq: undefined })).toBe(false);
  expect(aborted).toBe(false);
  expect(hear('cancel', 'a', { category: 'WSE', rq: undefined })).toBe(true);
  expect(aborted).toBe(true);
});

it('one with a priority that there is not is refused, and nothing waits for it', async () => {
  const { requests, clock } = setup();
  const unhandled: unknown[] = [];
  const hear = (error: unknown): void => void unhandled.push(error);
  process.on('unhandledRejection', hear);
  onTestFinished(() => void process.off('unhandledRejection', hear));
  await expect(requests.request('x', {}, { priority: 4 as never })).rejects.toMatchObject({ code: 'WSE_ARGUMENT' });
  expect(requests.size).toBe(0);
  expect(clock.timers).toBe(0);
  clock.pass(20_000);
  await turn();
  expect(unhandled).toEqual([]);
});

it('whatever a handler does, and whatever the server takes, is an answer', async () => {
  const { requests, hear, answers, clock } = setup(1);
  requests.handle('large', () => 'x'.repeat(100));
  requests.handle('throw', () => {
    throw new Error('x'.repeat(1_000));
  });
  requests.handle('nothing', () => Promise.reject(undefined));
  for (const [n, type] of ['large', 'throw', 'nothing', 'nobody'].entries()) hear(type, String(n));
  clock.pass(0);
  expect((await answers()).sort()).toEqual(['HANDLER_ERROR', 'HANDLER_ERROR', 'NOT_HANDLED', 'WSE_TOO_LARGE']);
});
