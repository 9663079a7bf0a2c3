/** Readers of one client's events: what each is told, and that each comes to its end. */

import { expect, it } from 'vitest';
import { WSEError } from '../../src/core/errors.js';
import { createInbox } from '../../src/core/inbox.js';
import { TestClock } from '../support/time.js';

const END = new WSEError('WSE_STOPPED', 'the client has ended');
const strict = () => createInbox<number>(2, 'error', new TestClock(), () => {});

it('a loss is told before the end of the client, to every reader', async () => {
  for (const end of [undefined, END]) {
    const inbox = strict();
    const readers = [inbox.iterate(), inbox.iterate()];
    for (const n of [1, 2, 3]) inbox.push(n);
    inbox.end(end);
    for (const reader of readers) {
      expect([(await reader.next()).value, (await reader.next()).value]).toEqual([1, 2]);
      await expect(reader.next()).rejects.toMatchObject({ code: 'WSE_OVERFLOW' });
      // Then the end, and as often as it is asked for.
      for (let again = 0; again < 2; again += 1) {
        if (end) await expect(reader.next()).rejects.toBe(end);
        else expect(await reader.next()).toEqual({ done: true, value: undefined });
      }
    }
  }
});

it('a second reader that is left ends, and what it waits for', async () => {
  const inbox = strict();
  const [first, second, third] = [inbox.iterate(), inbox.iterate(), inbox.iterate()];
  const waiting = second.next();
  await second.return?.();
  expect(await waiting).toEqual({ done: true, value: undefined });
  for (const n of [1, 2]) inbox.push(n);
  expect(await second.next()).toEqual({ done: true, value: undefined });
  // What waited for one that is left is gone; the first one's stays for who reads next.
  expect(await third.next()).toEqual({ done: false, value: 1 });
  await third.return?.();
  expect(await third.next()).toEqual({ done: true, value: undefined });
  await first.return?.();
  expect([(await inbox.iterate().next()).value, inbox.size]).toEqual([1, 1]);
});

it('a second reader that has overflowed ends behind its error', async () => {
  const inbox = strict();
  const [, second] = [inbox.iterate(), inbox.iterate()];
  for (const n of [1, 2, 3]) inbox.push(n);
  await second.next();
  await second.next();
  await expect(second.next()).rejects.toMatchObject({ code: 'WSE_OVERFLOW' });
  expect(await second.next()).toEqual({ done: true, value: undefined });
});

it('what came before the first read is a loss like any other, unless handlers have heard it', async () => {
  let dropped = 0;
  const make = (overflow: 'error' | 'drop-oldest') => createInbox<number>(2, overflow, new TestClock(), () => (dropped += 1));
  const oldest = make('drop-oldest');
  for (const n of [1, 2, 3]) oldest.push(n);
  expect([dropped, (await oldest.next()).value, (await oldest.next()).value]).toEqual([1, 2, 3]);
  const told = make('error');
  for (const n of [1, 2, 3]) told.push(n);
  expect([dropped, (await told.next()).value, (await told.next()).value]).toEqual([2, 1, 2]);
  await expect(told.next()).rejects.toMatchObject({ code: 'WSE_OVERFLOW' });
  const heard = make('error');
  for (const n of [1, 2, 3]) heard.push(n, true);
  expect([dropped, heard.size]).toEqual([2, 0]);
});

it('what nobody has heard waits for its reader, whatever handlers hear beside it', async () => {
  let dropped = 0;
  const inbox = createInbox<number>(3, 'drop-oldest', new TestClock(), () => (dropped += 1));
  for (const n of [1, 2, 3, 4]) inbox.push(n, true);
  expect(inbox.size).toBe(0);
  for (const n of [5, 6, 7]) inbox.push(n);
  for (const n of [8, 9]) inbox.push(n, true);
  expect([dropped, inbox.size]).toEqual([0, 3]);
  inbox.push(10);
  expect(dropped).toBe(1);
  const read = [await inbox.next(), await inbox.next(), await inbox.next()].map(({ value }) => value);
  expect(read).toEqual([6, 7, 10]);
});
