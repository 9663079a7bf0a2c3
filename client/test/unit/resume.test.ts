import { describe, expect, test } from 'vitest';
import { createResume, type ResumeOptions } from '../../src/core/resume.js';
import { SHARED } from '../../src/core/shared.js';
import type { Position, WSEEvent } from '../../src/protocol/types.js';
import { TestClock } from '../support/time.js';

const A = '0000000a';
const B = '0000000b';

const event = (offset: number, epoch = A, topic = 't'): WSEEvent => ({ type: 'x', payload: offset, topic, epoch, offset });

const setup = (options: Partial<ResumeOptions> = {}) => {
  const clock = new TestClock();
  const log: string[] = [];
  const asked: Record<string, Position>[] = [];
  const say = ({ epoch, offset }: Position): string => `${epoch.at(-1)}${offset}`;
  const resume = createResume({
    shared: SHARED,
    deliver: ({ epoch, offset, type }) => log.push(epoch === undefined ? type : `${epoch.at(-1)}${offset}`),
    recover: (positions) => asked.push(positions),
    lost: (_, from, to) => log.push(`lost ${say(from)}-${say(to)}`),
    clock,
    ...options,
  });
  resume.connected();
  const accept = (...offsets: number[]): void => offsets.forEach((offset) => resume.accept(event(offset), 10));
  const reply = (offset: number | null, recovered: boolean | undefined, epoch: string | null = A, topic = 't'): void =>
    resume.reply({ action: 'subscribe', success: true, recovery: { [topic]: { epoch, offset, recovered, count: 0 } } });
  return { resume, clock, log, asked, accept, reply };
};

describe('the stream', () => {
  test('duplicates are dropped, and nothing is delivered ahead of a gap', () => {
    const { accept, log, asked } = setup();
    accept(5, 6, 6, 8, 7, 8);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8']);
    expect(asked).toEqual([{ t: { epoch: A, offset: 6 } }]);
  });

  test('what has no stamp passes, ahead of what is held too', () => {
    const { resume, accept, log } = setup();
    accept(1, 3);
    resume.accept({ type: 'plain', payload: 1 });
    resume.accept({ type: 'topic alone', payload: 1, topic: 't' });
    expect(log).toEqual(['a1', 'plain', 'topic alone']);
  });

  test('topics do not wait for each other', () => {
    const { resume, accept, log } = setup();
    accept(1, 3);
    resume.accept(event(9, B, 'other'));
    expect(log).toEqual(['a1', 'b9']);
    expect(resume.positions()).toEqual({ t: { epoch: A, offset: 1 }, other: { epoch: B, offset: 9 } });
  });

  test('a topic called __proto__ is one like any other', () => {
    const { resume, asked } = setup();
    resume.accept(event(1, A, '__proto__'));
    resume.accept(event(3, A, '__proto__'));
    expect(Object.keys(asked[0] ?? {})).toEqual(['__proto__']);
    expect(JSON.stringify(resume.positions())).toBe(`{"__proto__":{"epoch":"${A}","offset":1}}`);
    resume.reply(JSON.parse(`{"recovery":{"__proto__":{"epoch":"${A}","offset":3,"recovered":false}}}`));
    expect(JSON.stringify(resume.positions(['__proto__']))).toBe(`{"__proto__":{"epoch":"${A}","offset":3}}`);
  });
});

describe('replies', () => {
  test('behind the replay, as our server sends them', () => {
    const { accept, reply, log, asked, resume, clock } = setup();
    accept(5, 8, 6, 7, 8);
    reply(8, true);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8']);
    expect(clock.timers).toBe(0);
    accept(9, 11);
    expect(asked).toEqual([{ t: { epoch: A, offset: 5 } }, { t: { epoch: A, offset: 9 } }]);
    expect(resume.stats()).toEqual({ topics: 1, held: 1, heldBytes: 10, duplicates: 1, requests: 2, losses: 0 });
  });

  test('before the replay, as published servers may', () => {
    const { accept, reply, log, asked, clock } = setup();
    accept(5, 8);
    reply(8, true);
    accept(9, 6, 7, 8);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8', 'a9']);
    expect(asked).toHaveLength(1);
    expect(clock.timers).toBe(0);
  });

  test('one request at a time, again behind the deadline, later each time, and lost in the end', () => {
    const { accept, log, asked, clock } = setup({ deadline: 1_000, attempts: 3 });
    accept(5, 8, 9, 12, 13);
    expect(asked).toHaveLength(1);
    clock.pass(999);
    expect(asked).toHaveLength(1);
    clock.pass(1);
    expect(asked).toHaveLength(2);
    clock.pass(1_999);
    expect(asked).toHaveLength(2);
    clock.pass(1);
    expect(asked).toHaveLength(3);
    expect(log).toEqual(['a5']);
    clock.pass(4_000);
    expect(log).toEqual(['a5', 'lost a5-a7', 'a8', 'a9', 'lost a9-a11', 'a12', 'a13']);
    expect(clock.timers).toBe(0);
    accept(14);
    expect(log.at(-1)).toBe('a14');
  });

  test('a deadline that brought something starts from the beginning', () => {
    const { accept, asked, clock, log } = setup({ deadline: 1_000, attempts: 2 });
    accept(1, 9);
    for (let offset = 2; offset < 8; offset++) {
      accept(offset);
      clock.pass(1_000);
    }
    expect(asked).toHaveLength(7);
    expect(log).not.toContainEqual(expect.stringContaining('lost'));
  });

  test('that nothing could be recovered moves forward, declares it, and keeps what is held', () => {
    const { accept, reply, log, resume } = setup();
    accept(5, 8, 9);
    reply(10, false);
    expect(log).toEqual(['a5', 'lost a5-a7', 'a8', 'a9', 'lost a9-a10']);
    accept(11);
    expect(log.at(-1)).toBe('a11');
    expect(resume.stats().held).toBe(0);
  });

  test('never move backwards within an epoch', () => {
    const { accept, reply, log, asked } = setup();
    accept(5, 6, 7);
    reply(5, false);
    accept(6, 7, 8);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8']);
    expect(asked).toEqual([]);
  });

  test('without a position before are the first one, and lose nothing', () => {
    const { accept, reply, log, asked } = setup();
    reply(7, false);
    accept(7, 8, 10);
    expect(log).toEqual(['a8']);
    expect(asked).toEqual([{ t: { epoch: A, offset: 8 } }]);
  });

  test('of another epoch end the old one with what is held of it', () => {
    const { accept, reply, log, resume } = setup();
    accept(5, 8);
    reply(2, false, B);
    resume.accept(event(3, B));
    // Late ones of the epoch before do not take us back.
    accept(6, 9);
    expect(log).toEqual(['a5', 'lost a5-a7', 'a8', 'lost a8-b2', 'b3']);
    reply(9, false, A);
    resume.accept(event(4, B));
    expect(log.at(-1)).toBe('b4');
  });

  test('after a reconnect may go back to an epoch that was left', () => {
    const { accept, log, resume } = setup();
    accept(5);
    resume.accept(event(1, B));
    resume.disconnected();
    resume.connected();
    accept(9);
    expect(log).toEqual(['a5', 'lost a5-b0', 'b1', 'lost b1-a8', 'a9']);
  });

  test('without a memory of the topic give up what is missing', () => {
    const { accept, reply, log, clock, resume } = setup();
    accept(5, 8);
    reply(0, false, null);
    expect(log).toEqual(['a5', 'lost a5-a7', 'a8']);
    expect(clock.timers).toBe(0);
    reply(0, false, null, 'unknown');
    expect(resume.positions()).toEqual({ t: { epoch: A, offset: 8 } });
  });

  test('to an older request leave the newer one alone', () => {
    const { accept, reply, log, asked, clock } = setup({ deadline: 1_000 });
    accept(5, 8);
    for (let n = 0; n < 100; n++) {
      reply(4, false);
      reply(3, true);
      reply(5, true);
    }
    expect(asked).toHaveLength(1);
    accept(6, 7);
    reply(8, true);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8']);
    expect(clock.timers).toBe(0);
  });

  test('of every wrong shape change nothing', () => {
    const { resume, accept, log } = setup();
    accept(5);
    const entries = [null, 1, [], {}, { epoch: 1, offset: 2, recovered: false }, { epoch: A, offset: -1, recovered: false }];
    const more = [
      { epoch: A, offset: '9', recovered: false },
      { epoch: A, offset: 1.5, recovered: false },
      { epoch: A, offset: 9 },
    ];
    for (const entry of [...entries, ...more]) resume.reply({ recovery: { t: entry, u: entry } });
    for (const payload of [null, 1, 'x', [], {}, { recovery: null }, { recovery: [1] }, { recovery: 'text' }])
      resume.reply(payload);
    resume.reply({ action: 'unsubscribe', recovery: { t: { epoch: A, offset: 9, recovered: false } } });
    expect(log).toEqual(['a5']);
    expect(resume.positions()).toEqual({ t: { epoch: A, offset: 5 } });
  });
});

describe('offset 0', () => {
  test('is a position, and the next is 1', () => {
    const { accept, reply, log, resume, asked } = setup();
    reply(0, false);
    expect(resume.positions()).toEqual({ t: { epoch: A, offset: 0 } });
    accept(1, 2);
    expect(log).toEqual(['a1', 'a2']);
    expect(asked).toEqual([]);
  });

  test('may be a message where a server counts from 0', () => {
    const { accept, reply, log } = setup();
    reply(0, false);
    accept(0, 0, 1, 2);
    expect(log).toEqual(['a0', 'a1', 'a2']);
    const { accept: first, log: firstLog } = setup();
    first(0, 0, 1);
    expect(firstLog).toEqual(['a0', 'a1']);
  });

  test('is where a gap at the beginning is asked for', () => {
    const { accept, reply, log, asked } = setup();
    reply(0, false);
    accept(3);
    expect(asked).toEqual([{ t: { epoch: A, offset: 0 } }]);
    accept(1, 2);
    expect(log).toEqual(['a1', 'a2', 'a3']);
    const none = setup();
    none.reply(0, false);
    none.accept(3);
    none.reply(0, false);
    none.reply(3, false);
    expect(none.log).toEqual(['lost a0-a2', 'a3']);
  });

  test('of a new epoch: nothing of it is missing', () => {
    const { accept, log, resume } = setup();
    accept(5);
    resume.accept(event(1, B));
    resume.accept(event(0, A));
    expect(log).toEqual(['a5', 'lost a5-b0', 'b1']);
  });
});

describe('bounds', () => {
  test('beyond the count the first gap is lost, and the rest goes on', () => {
    const { accept, log, asked, resume } = setup({ maxHeld: 3 });
    accept(1, 4, 5, 8);
    expect(log).toEqual(['a1']);
    accept(9);
    expect(log).toEqual(['a1', 'lost a1-a3', 'a4', 'a5']);
    expect(resume.stats().held).toBe(2);
    // The request that is under way asked for these too.
    accept(6, 7);
    expect(log.slice(-4)).toEqual(['a6', 'a7', 'a8', 'a9']);
    expect(asked).toHaveLength(1);
  });

  test('of bytes', () => {
    const { accept, log, resume } = setup({ maxHeldBytes: 25 });
    accept(1, 3, 5, 7);
    expect(log).toEqual(['a1', 'lost a1-a2', 'a3']);
    expect(resume.stats().heldBytes).toBe(20);
  });

  test('of a single message', () => {
    const { resume, log } = setup({ maxHeldBytes: 5 });
    resume.accept(event(1));
    resume.accept(event(3), 100);
    expect(log).toEqual(['a1', 'lost a1-a2', 'a3']);
    expect(resume.stats()).toMatchObject({ held: 0, heldBytes: 0 });
  });

  test('a topic that is forgotten for a new one loses nothing in silence', () => {
    const { resume, accept, log } = setup({ maxTopics: 2 });
    accept(1, 3, 4, 7);
    resume.accept(event(1, A, 'second'));
    resume.accept(event(1, B, 'third'));
    expect(log).toEqual(['a1', 'a1', 'lost a1-a2', 'a3', 'a4', 'lost a4-a6', 'a7', 'b1']);
    expect(Object.keys(resume.positions())).toEqual(['second', 'third']);
    expect(resume.stats()).toMatchObject({ topics: 2, held: 0, heldBytes: 0, losses: 2 });
  });

  test('of topics: the oldest is forgotten', () => {
    const { resume } = setup({ maxTopics: 2 });
    for (const topic of ['a', 'b', 'c']) resume.accept(event(1, A, topic));
    expect(Object.keys(resume.positions())).toEqual(['b', 'c']);
  });

  test('of topics: room for one more costs the same, whatever is named', () => {
    let looked = 0;
    const { resume } = setup({ maxTopics: 2, wanted: (topic) => (++looked && /^vital/.test(topic) ? {} : undefined) });
    for (let n = 0; n < 1_000; n += 1) resume.accept(event(1, A, `vital.${n}`));
    looked = 0;
    for (let n = 0; n < 100; n += 1) resume.accept(event(1, A, `t.${n}`));
    expect(looked).toBeLessThan(400);
  });

  test('of topics: what somebody has named is not forgotten for what a pattern brings', () => {
    const { resume } = setup({ maxTopics: 1, wanted: (topic) => (/^vital/.test(topic) ? {} : undefined) });
    for (const topic of ['vital.1', 'vital.2', 'a', 'b', 'c']) resume.accept(event(1, A, topic));
    expect(Object.keys(resume.positions()).sort()).toEqual(['c', 'vital.1', 'vital.2']);
    for (const topic of ['vital.3', 'vital.4', 'd', 'e']) resume.accept(event(1, A, topic));
    resume.forget(['e']);
    resume.accept(event(1, A, 'e'));
    expect(Object.keys(resume.positions()).sort()).toEqual(['e', 'vital.1', 'vital.2', 'vital.3', 'vital.4']);
  });
});

describe('connections', () => {
  test('what is held stays held, and the next connection fills the gap', () => {
    const { resume, accept, reply, log, asked, clock } = setup();
    accept(5, 8);
    resume.disconnected();
    expect(clock.timers).toBe(0);
    clock.pass(1_000_000);
    accept(10);
    expect(asked).toHaveLength(1);
    expect(resume.positions()).toEqual({ t: { epoch: A, offset: 5 } });
    resume.connected();
    accept(6, 7, 8, 9);
    reply(10, true);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8', 'a9', 'a10']);
    // The subscriptions were the request.
    expect(asked).toHaveLength(1);
    expect(clock.timers).toBe(0);
  });

  test('live messages ahead of the reply wait for it, without another request', () => {
    const { resume, accept, reply, log, asked } = setup();
    accept(5);
    resume.disconnected();
    resume.connected();
    accept(9, 10);
    reply(8, true);
    accept(6, 7, 8);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8', 'a9', 'a10']);
    expect(asked).toEqual([]);
  });

  test('a reply that never comes is asked for where something is held', () => {
    const { resume, accept, asked, clock } = setup({ deadline: 1_000 });
    accept(5);
    resume.disconnected();
    resume.connected();
    clock.pass(10_000);
    expect(asked).toEqual([]);
    accept(7);
    expect(asked).toEqual([{ t: { epoch: A, offset: 5 } }]);
  });
});

describe('topics', () => {
  test('are forgotten with what is held, by name and by pattern, but for what is still covered', () => {
    const { resume, clock } = setup();
    for (const topic of ['news.a', 'news.b', 'newsXa', 'prices']) {
      resume.accept(event(1, A, topic));
      resume.accept(event(3, A, topic));
    }
    resume.forget(['prices']);
    resume.forget(['news.*'], ['news.a']);
    expect(Object.keys(resume.positions())).toEqual(['news.a', 'newsXa']);
    expect(resume.stats()).toMatchObject({ held: 2, heldBytes: 0 });
    expect(clock.timers).toBe(2);
    resume.forget(['*']);
    expect(clock.timers).toBe(0);
    // A topic that comes back begins anew.
    resume.accept(event(9, A, 'prices'));
    expect(resume.positions()).toEqual({ prices: { epoch: A, offset: 9 } });
  });

  test('that come through patterns have positions under the pattern', () => {
    const { resume } = setup();
    for (const topic of ['news.a', 'news.b', 'n[w]s', 'other']) resume.accept(event(1, A, topic));
    expect(Object.keys(resume.positions(['news.?', 'x']))).toEqual(['news.a', 'news.b']);
    expect(Object.keys(resume.positions(['n[w]*']))).toEqual(['n[w]s']);
  });

  test('may be forgotten by whoever is told of them', () => {
    for (const at of ['deliver', 'lost'] as const) {
      const seen: number[] = [];
      const { resume, accept, reply, clock } = setup({
        deliver: ({ offset = 0 }) => {
          seen.push(offset);
          if (at === 'deliver' && offset === 2) resume.forget(['t']);
        },
        lost: () => resume.forget(['t']),
      });
      accept(1, 3, 4);
      if (at === 'deliver') accept(2);
      else reply(9, false);
      expect(seen).toEqual(at === 'deliver' ? [1, 2] : [1]);
      expect(resume.stats()).toMatchObject({ topics: 0, held: 0, heldBytes: 0 });
      expect(clock.timers).toBe(0);
    }
  });
});

describe('seeds and snapshots', () => {
  test('begin where the state was taken, and advance without a loss', () => {
    const { resume, accept, log, asked } = setup();
    resume.seed({ t: { epoch: A, offset: 5 } });
    expect(resume.positions()).toEqual({ t: { epoch: A, offset: 5 } });
    accept(4, 5, 6, 9, 10);
    resume.seed({ t: { epoch: A, offset: 9 } });
    resume.seed({ t: { epoch: A, offset: 3 } });
    resume.seed({ t: { epoch: B, offset: 99 } });
    expect(log).toEqual(['a6', 'a10']);
    expect(asked).toHaveLength(1);
    expect(resume.stats()).toMatchObject({ held: 0, heldBytes: 0, losses: 0 });
  });

  test('of wrong shapes are ignored', () => {
    const { resume } = setup();
    const wrong = { a: null, b: 1, c: { epoch: null, offset: null }, d: { epoch: A, offset: -1 }, e: { epoch: A } };
    resume.seed(wrong as unknown as Record<string, Position>);
    expect(resume.positions()).toEqual({});
  });

  test('a request for the state may go back to where it was taken, once', () => {
    const { resume, accept, reply, log } = setup();
    accept(5, 6, 7);
    resume.rewind(['t']);
    accept(8);
    reply(6, false);
    accept(7, 8, 9);
    reply(6, false);
    accept(7);
    expect(log).toEqual(['a5', 'a6', 'a7', 'a8', 'a7', 'a8', 'a9']);
  });

  test('the reply to the subscription before it does not use that up', () => {
    const { resume, accept, reply, log } = setup();
    resume.rewind();
    reply(5, false);
    accept(6, 7);
    reply(6, false);
    accept(7, 8);
    expect(log).toEqual(['a6', 'a7', 'a7', 'a8']);
  });

  test('a connection that ends takes the permission along', () => {
    const { resume, accept, reply, log } = setup();
    accept(5, 6);
    resume.rewind();
    resume.disconnected();
    resume.connected();
    reply(5, false);
    resume.accept(event(1, B, 'new'));
    resume.accept(event(2, B, 'new'));
    reply(1, false, B, 'new');
    accept(6);
    resume.accept(event(2, B, 'new'));
    expect(log).toEqual(['a5', 'a6', 'b1', 'b2']);
  });
});
