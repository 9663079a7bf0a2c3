/**
 * Ten workers, one after the other, drain beside a steady one and are terminated in the middle of it, under traffic.
 * Every client numbers its messages; what is missing, twice or out of order in the end is reported.
 */

import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { WebSocket } from 'ws';
import { RustWSEServer, type WSEEvent } from '../../../src/index.js';
import { threads } from '../../support/driver.js';
import { exited, launch, report, until } from './talk.js';
import type { Drained } from './worker.js';

const ROUNDS = 10;
const server = new RustWSEServer({ port: 0, shards: threads(2), serverReady: false });
const { port } = await server.start();

/** Per connection: who heard which numbers, in order. */
interface Heard {
  by: number;
  numbers: number[];
  ended: number;
  disconnects: number;
}
let heard = new Map<number, Heard[]>();
const log: { order: number; worker: number; events: readonly WSEEvent[] }[] = [];
const counter = new SharedArrayBuffer(4);

function note(worker: number, events: readonly WSEEvent[]): void {
  for (const [type, conn, payload] of events) {
    if (conn === null) continue;
    const spans = heard.get(conn) ?? [];
    heard.set(conn, spans);
    let span = spans.at(-1);
    if (span?.by !== worker) {
      span = { by: worker, numbers: [], ended: 0, disconnects: 0 };
      spans.push(span);
    }
    if (type === 'msg') span.numbers.push(payload.p as number);
    if (type === 'raw') span.ended += 1;
    if (type === 'disconnect') span.disconnects += 1;
  }
}

function drainer(index: number): Promise<Worker> {
  const worker = launch({ handle: server.handle, role: 'drain', tell: true, max: 64, counter });
  return new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (message: string | Drained) => {
      if (typeof message !== 'string') {
        log.push({ ...message, worker: index });
        note(index, message.events);
      } else if (message === 'ready') resolve(worker);
    });
  });
}

const clients: WebSocket[] = [];
let flowing = true;
async function client(): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  await once(socket, 'open');
  clients.push(socket);
  let number = 0;
  const pump = (): void => {
    if (!flowing) {
      socket.send('end');
      return;
    }
    for (let i = 0; i < 10 && socket.bufferedAmount === 0; i += 1) socket.send(`{"t":"n","p":${number++}}`);
    setTimeout(pump, 1);
  };
  pump();
}

const STEADY = 0;
const steady = await drainer(STEADY);
for (let round = 1; round <= ROUNDS; round += 1) {
  const victim = await drainer(round);
  // They go to the reader with the fewest: two of the first four to the victim, and from then on all four.
  await Promise.all([client(), client(), client(), client()]);
  const ofVictim = (): Heard[] =>
    [...heard.values()].map((spans) => spans.at(-1)).filter((span): span is Heard => span?.by === round);
  await until(() => ofVictim().length >= 2 && ofVictim().every(({ numbers }) => numbers.length > 50));
  await victim.terminate();
  // Its connections go on with the steady one.
  const orphans = [...heard.values()].filter((spans) => spans.some(({ by }) => by === round));
  await until(() => orphans.every((spans) => spans.at(-1)?.by === STEADY && (spans.at(-1)?.numbers.length ?? 0) > 20));
}
flowing = false;
const spansOf = (): Heard[][] => [...heard.values()];
const total = (of: (span: Heard) => number): number =>
  spansOf()
    .flat()
    .map(of)
    .reduce((a, b) => a + b, 0);
await until(() => total(({ ended }) => ended) === clients.length);
for (const socket of clients) socket.terminate();
await until(() => total(({ disconnects }) => disconnects) === clients.length);
// Once more, in the order in which it was drained.
heard = new Map();
log.sort((a, b) => a.order - b.order);
for (const { worker, events } of log) note(worker, events);
const contiguous = ({ numbers }: Heard): boolean =>
  numbers.every((value, i) => i === 0 || value === (numbers[i - 1] as number) + 1);
report({
  clients: clients.length,
  connections: heard.size,
  moved: spansOf().filter((spans) => spans.length > 1).length,
  mostSpans: Math.max(...spansOf().map((spans) => spans.length)),
  // Within what one worker heard nothing is missing, twice or out of order …
  holes: spansOf()
    .flat()
    .filter((span) => !contiguous(span)).length,
  // … and who was with the steady one all the time lost nothing at all.
  steadyFromZero: spansOf()
    .filter((spans) => spans.length === 1)
    .every(([span]) => span?.numbers[0] === 0),
  // The next one goes on behind what the dead one heard.
  backwards: spansOf().filter((spans) =>
    spans.some((span, i) => i > 0 && (span.numbers[0] as number) <= (spans[i - 1]?.numbers.at(-1) as number)),
  ).length,
  ends: total(({ ended }) => ended),
  disconnects: total(({ disconnects }) => disconnects),
});
await server.stop();
await exited(steady);
report({ done: true });
