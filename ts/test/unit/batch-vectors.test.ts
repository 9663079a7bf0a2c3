/** The decoder against the batches in `spec/vectors/batch.json`, which the engine's tests write byte for byte. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeBatch, decodeLazyBatch } from '../../src/inbound/batch.js';
import type { LazyMessage } from '../../src/inbound/lazy.js';
import { inMemory } from './build-batch.js';

type Written = readonly [type: string, conn: number, payload: unknown, shape?: number];

interface Vector {
  name: string;
  columns: boolean;
  events: Written[];
  hex: string;
}

const file = new URL('../../../spec/vectors/batch.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];

/** The event as a loop gets it. */
function heard([type, conn, payload]: Written): [type: string, conn: number | null, payload: unknown] {
  if (type.startsWith('presence')) return [type, null, payload];
  if (type === 'msg') return [type, conn, JSON.parse(payload as string)];
  if (type === 'bin') return [type, conn, new Uint8Array(Buffer.from(payload as string, 'hex'))];
  if (type === 'adopt')
    return [type, conn, { ...(payload as object), connectedAt: new Date((payload as { connectedAt: number }).connectedAt) }];
  if (type === 'auth_expiring') {
    const { expiresAt, expiresIn } = payload as { expiresAt: number; expiresIn: number };
    return [type, conn, { expiresAt: new Date(expiresAt * 1000), expiresIn }];
  }
  return [type, conn, payload];
}

describe('a batch', () => {
  it.each(vectors)('decodes as its vector: $name', ({ events, hex }) => {
    expect(decodeBatch(...inMemory(Buffer.from(hex, 'hex')))).toEqual(events.map(heard));
  });

  it.each(vectors.filter(({ columns }) => !columns))('keeps the text of its messages: $name', ({ events, hex }) => {
    const batch = decodeLazyBatch(...inMemory(Buffer.from(hex, 'hex')));
    const texts = batch.map(([type, , payload]) => (type === 'msg' ? (payload as LazyMessage).text : undefined));
    expect(texts).toEqual(events.map(([type, , payload]) => (type === 'msg' ? payload : undefined)));
  });
});
