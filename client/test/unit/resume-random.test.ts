import { expect, test } from 'vitest';
import { createResume } from '../../src/core/resume.js';
import { SHARED } from '../../src/core/shared.js';
import type { Position } from '../../src/protocol/types.js';
import { seeded, seeds } from '../support/random.js';
import { ringServer, type Weather } from '../support/ring-server.js';
import { TestClock } from '../support/time.js';

const TOPICS = ['a', 'b', '__proto__'];

interface Outcome {
  readonly delivered: number;
  readonly losses: number;
}

/** One schedule. Throws where a message is seen twice, out of order, or is missing without a declaration. */
const run = (seed: number, weather: Weather, evictions: number, attempts: number): Outcome => {
  const random = seeded(seed);
  const clock = new TestClock();
  const server = ringServer(random, weather);
  // Where each topic's log is: every entry has to continue it.
  const logs = new Map<string, Position>();
  const asked = new Map<string, { at: number; epoch: string }>();
  let online = false;
  let delivered = 0;
  let losses = 0;
  const say = (position?: Position): string => (position ? `${position.epoch}/${position.offset}` : 'nothing');

  const resume = createResume({
    shared: SHARED,
    clock,
    deadline: 100,
    attempts,
    maxHeld: 200,
    deliver({ topic = '', epoch = '', offset = 0 }) {
      const at = logs.get(topic);
      if (at?.epoch !== epoch || at.offset + 1 !== offset) throw new Error(`${topic}: ${epoch}/${offset} behind ${say(at)}`);
      logs.set(topic, { epoch, offset });
      delivered++;
    },
    lost(topic, from, to) {
      const at = logs.get(topic);
      if (at?.epoch !== from.epoch || at.offset !== from.offset)
        throw new Error(`${topic}: lost from ${say(from)} at ${say(at)}`);
      if (to.epoch === from.epoch && to.offset <= from.offset)
        throw new Error(`${topic}: lost from ${say(from)} back to ${say(to)}`);
      logs.set(topic, to);
      losses++;
    },
    recover(positions) {
      for (const [topic, { epoch }] of Object.entries(positions)) {
        const before = asked.get(topic);
        if (!online) throw new Error(`${topic}: asked without a connection`);
        if (before?.epoch === epoch && clock.now() - before.at < 100)
          throw new Error(`${topic}: asked twice within the deadline`);
        asked.set(topic, { at: clock.now(), epoch });
      }
      server.request(Object.keys(positions), positions);
    },
  });

  const receive = (): boolean => {
    const frame = server.receive();
    if (!frame) return false;
    if ('event' in frame) {
      resume.accept(frame.event, 10);
    } else {
      for (const [topic, entry] of Object.entries(frame.reply.recovery)) {
        // The first position of all: where the log begins.
        if (!logs.has(topic)) logs.set(topic, entry as Position);
        asked.delete(topic);
      }
      resume.reply(frame.reply);
    }
    return true;
  };
  const connect = (): void => {
    online = true;
    asked.clear();
    const positions = resume.positions(TOPICS);
    for (const [topic, { epoch }] of Object.entries(positions)) asked.set(topic, { at: clock.now(), epoch });
    resume.connected();
    server.request(TOPICS, positions);
    // A first reply is in front of what it is the position of.
    while (TOPICS.some((topic) => !logs.has(topic)) && receive());
  };
  const cut = (): void => {
    online = false;
    server.cut();
    resume.disconnected();
  };

  const topic = (): string => TOPICS[Math.floor(random() * TOPICS.length)] ?? 'a';
  connect();
  for (let step = 0; step < 300; step++) {
    const what = random();
    if (what < 0.45) server.publish(topic());
    else if (what < 0.9) receive();
    else if (what < 0.95) clock.pass(random() * 150);
    else if (what < 0.97) online ? cut() : connect();
    else if (what < 0.97 + evictions) server.evict(topic());
  }
  server.calm();
  cut();
  connect();
  while (receive());
  for (const name of TOPICS) server.publish(name);
  for (let n = 0; n < 20; n++) {
    while (receive());
    clock.pass(1_000);
  }
  for (const name of TOPICS)
    if (say(logs.get(name)) !== say(server.position(name))) throw new Error(`${name}: ends at ${say(logs.get(name))}`);
  if (resume.stats().held || resume.stats().heldBytes) throw new Error('still held');
  return { delivered, losses };
};

const all = (count: number, weather: Weather, evictions: number, attempts: number): Outcome => {
  const total = { delivered: 0, losses: 0 };
  for (const seed of seeds(count)) {
    try {
      const { delivered, losses } = run(seed, weather, evictions, attempts);
      total.delivered += delivered;
      total.losses += losses;
    } catch (error) {
      throw new Error(`WSE_SEED=${seed}: ${error}`, { cause: error });
    }
  }
  return total;
};

const FAULTS = { drop: 0.08, duplicate: 0.05, reorder: 0.1, ignore: 0, ring: 10_000, most: 10_000 };

test.each([0, 1, 0.5])(
  'with a server that keeps enough every message is seen once and in order, none lost (reply in front: %s)',
  (early) => {
    const { delivered, losses } = all(150, { ...FAULTS, early }, 0, Number.POSITIVE_INFINITY);
    expect(losses).toBe(0);
    expect(delivered).toBeGreaterThan(150 * 50);
  },
);

test.each([0, 1, 0.5])('with one that forgets, or never answers, what is not seen is declared (reply in front: %s)', (early) => {
  const { delivered, losses } = all(300, { ...FAULTS, early, drop: 0.2, ignore: 0.2, ring: 16, most: 12 }, 0.01, 3);
  expect(losses).toBeGreaterThan(300);
  expect(delivered).toBeGreaterThan(300 * 30);
});
