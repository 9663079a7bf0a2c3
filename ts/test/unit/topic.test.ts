import { describe, expect, it } from 'vitest';
import { WSEError } from '../../src/errors.js';
import { topicSegment, toTopicName } from '../../src/topic.js';

describe('topicSegment', () => {
  it.each([
    ['tea', 'tea'],
    ['*', '%2A'],
    ['a?b', 'a%3Fb'],
    ['a.b:c/d', 'a%2Eb%3Ac%2Fd'],
    ['100%2A', '100%252A'],
    ['\u0000\n\u007f', '%00%0A%7F'],
    ['Straße 😀', 'Straße 😀'],
    ['\ud83d', '%ED%A0%BD'],
    ['x\udc00y', 'x%ED%B0%80y'],
    ['', ''],
  ])('%j is %j', (typed, segment) => {
    expect(topicSegment(typed)).toBe(segment);
  });

  it('makes a name of its own of each text, and never a pattern or another level', () => {
    const pieces = ['*', '?', '%', '.', ':', '/', '2', 'A', '\n', 'ü', '\ud800', '\udc00', '\ufffd'];
    const texts = pieces.flatMap((a) => pieces.flatMap((b) => [a, a + b, ...pieces.map((c) => a + b + c)]));
    const names = new Map<string, string>();
    for (const text of new Set(texts)) {
      const name = Buffer.from(`room.${topicSegment(text)}`).toString(); // as it is on the wire
      expect(name).toMatch(/^room\.[^*?.:/]*$/);
      expect(names.get(name), name).toBeUndefined();
      names.set(name, text);
    }
    expect(names.size).toBeGreaterThan(2000);
  });

  it('refuses anything but text', () => {
    expect(() => topicSegment(5 as never)).toThrow(TypeError);
  });
});

describe('toTopicName', () => {
  it.each(['', '*', 'a?', 'room.*'])('refuses %j', (name) => {
    const thrown = expect(() => toTopicName(name, 'topics[3]'));
    thrown.toThrow(WSEError);
    thrown.toThrow(expect.objectContaining({ code: 'WSE_INVALID_TOPIC', path: 'topics[3]' }));
  });

  it('gives a name back', () => {
    expect(toTopicName('room.%2A', 'topic')).toBe('room.%2A');
  });
});
