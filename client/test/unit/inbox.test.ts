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
