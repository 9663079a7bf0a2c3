import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildEnvelope, categoryOf } from '../../src/envelope.js';

interface Vector {
  kind: string;
  name: string;
  input: string;
  output: string;
}

const vectors = JSON.parse(readFileSync(new URL('../../../spec/vectors/envelope.json', import.meta.url), 'utf8')) as Vector[];
const categories = vectors.filter(({ kind }) => kind === 'category');

describe('categoryOf', () => {
  it('has vectors', () => {
    expect(categories.length).toBeGreaterThan(10);
  });

  it.each(categories)('$name', ({ input, output }) => {
    expect(categoryOf(input)).toBe(output);
  });
});

describe('buildEnvelope', () => {
  it('writes members in the published order', () => {
    expect(buildEnvelope('tick', { n: 1 })).toBe('{"c":"U","t":"tick","p":{"n":1},"v":1}');
    expect(buildEnvelope('a"b', [1n], { id: 'i"1', ts: new Date(0) })).toBe(
      '{"c":"U","t":"a\\"b","p":[1],"id":"i\\"1","ts":"1970-01-01T00:00:00.000Z","v":1}',
    );
  });

  it('has a payload even without one', () => {
    expect(buildEnvelope('x', undefined)).toBe('{"c":"U","t":"x","p":null,"v":1}');
  });

  it('refuses a type that is not text', () => {
    expect(() => buildEnvelope(1 as unknown as string, {})).toThrow(TypeError);
    expect(() => buildEnvelope('x', {}, { id: 1 as unknown as string })).toThrow(TypeError);
    expect(() => buildEnvelope('x', {}, { ts: 1 as unknown as string })).toThrow(TypeError);
  });
});
