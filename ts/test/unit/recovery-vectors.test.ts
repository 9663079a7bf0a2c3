/** The stamps in `spec/vectors/recovery.json` as a client reads them: members of a JSON object, the first three of it. */

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

interface Vector {
  kind: 'stamp' | 'skipped';
  name: string;
  topic: string;
  epoch: number;
  offset: number;
  text?: string;
  inject?: boolean;
  output: string | null;
}

const file = new URL('../../../spec/vectors/recovery.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];

it('there are stamps, heartbeats, and texts without', () => {
  expect(new Set(vectors.map(({ kind, output }) => `${kind} ${output !== null}`)).size).toBe(4);
});

it.each(vectors.filter(({ output }) => output !== null))(
  '$kind: $name',
  ({ kind, topic, epoch, offset, text, inject, output }) => {
    const read = JSON.parse(output as string) as Record<string, unknown>;
    expect(Object.keys(read).slice(0, 3)).toEqual(['tp', 'e', 'o']);
    const { tp, e, o, ...rest } = read;
    expect([tp, e, o]).toEqual([topic, epoch.toString(16).padStart(8, '0'), offset]);
    if (kind === 'skipped') return expect(rest).toEqual({ c: 'WSE', t: 'heartbeat', p: {} });
    const given = JSON.parse(text as string) as Record<string, unknown>;
    if (inject && 't' in given) expect(rest['c']).toBeTypeOf('string');
    else expect(rest['c']).toBe(given['c']);
    expect({ ...rest, c: given['c'] }).toEqual({ ...given, c: given['c'] });
  },
);
