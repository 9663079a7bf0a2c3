/** The decoder against the events in `spec/vectors/presence.json`; its frames are compared at the border, as they come. */

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { decodeBatch, decodeLazyBatch } from '../../src/inbound/batch.js';
import { buildBatch, inMemory } from './build-batch.js';

interface Vector {
  kind: 'frame' | 'event';
  name: 'presence_join' | 'presence_update' | 'presence_leave';
  topic: string;
  user_id: string;
  data: string;
  output: string;
}

const file = new URL('../../../spec/vectors/presence.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];
const KINDS = { presence_join: 6, presence_update: undefined, presence_leave: 7 };

it.each(vectors.filter(({ kind }) => kind === 'event'))('an event of no connection: $name', (vector) => {
  const { name, topic, user_id, data, output } = vector;
  const bytes = buildBatch([{ kind: KINDS[name] as number, conn: 0, bytes: output }]);
  const expected = [[name, null, { topic, user_id, data: JSON.parse(data) }]];
  expect(decodeBatch(...inMemory(bytes))).toEqual(expected);
  expect(decodeLazyBatch(...inMemory(bytes))).toEqual(expected);
});

it('there are frames of all kinds, and each is the JSON it says', () => {
  const frames = vectors.filter(({ kind }) => kind === 'frame');
  expect(new Set(frames.map(({ name }) => name)).size).toBe(3);
  for (const { name, topic, user_id, data, output } of frames) {
    expect(JSON.parse(output)).toEqual({ c: 'WSE', t: name, p: { topic, user_id, data: JSON.parse(data) } });
  }
});
