/** What the collector makes of calls, against the crossings in `spec/vectors/outbox.json` that the engine's tests read too. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { NativeCalls } from '../../src/native/binding.js';
import { Outbox } from '../../src/server/outbox.js';

type Call =
  | ['publish', topic: string, text: string, except?: number]
  | ['publishBytes', topic: string, hex: string, except?: number]
  | ['send', conn: number, text: string]
  | ['sendBytes', conn: number, hex: string];

interface Crossing {
  text: string;
  hex: string;
  notes: number[];
}

interface Vector extends Crossing {
  name: string;
  calls: Call[];
}

const file = new URL('../../../spec/vectors/outbox.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];

/** What crosses when `calls` are made within one turn, to connections that are all open. */
function crossings(calls: readonly Call[]): Crossing[] {
  const crossed: Crossing[] = [];
  const words = new Uint32Array(4);
  for (const [, to, , except] of calls) {
    for (const conn of [to, except]) if (typeof conn === 'number') words[conn % 4] = Math.floor(conn / 2 ** 27);
  }
  const addon: Pick<NativeCalls, 'room' | 'liveness' | 'livenessPerShard' | 'handOver'> = {
    room: () => 2 ** 20,
    liveness: () => words.buffer,
    livenessPerShard: () => words.length,
    handOver: (_, text, units, bytes, notes, noted) => {
      expect(units).toBe(text.length);
      const length = calls.reduce((sum, [kind, , body]) => sum + (kind.endsWith('Bytes') ? body.length / 2 : 0), 0);
      const hex = Buffer.from(bytes?.subarray(0, length) ?? []).toString('hex');
      crossed.push({ text, hex, notes: [...notes.subarray(0, noted)] });
      return 2 ** 20;
    },
  };
  const outbox = new Outbox(addon as NativeCalls, 1);
  for (const [kind, to, body, except] of calls) {
    if (kind === 'publish') outbox.publish(to, body, except);
    else if (kind === 'publishBytes') outbox.publishBytes(to, Buffer.from(body, 'hex'), except);
    else if (kind === 'send') expect(outbox.send(to, body)).toBe(true);
    else expect(outbox.sendBytes(to, Buffer.from(body, 'hex'))).toBe(true);
  }
  outbox.settle();
  return crossed;
}

describe('what one turn collects', () => {
  it.each(vectors)('crosses as its vector: $name', ({ calls, text, hex, notes }) => {
    expect(crossings(calls)).toEqual([{ text, hex, notes }]);
  });
});
