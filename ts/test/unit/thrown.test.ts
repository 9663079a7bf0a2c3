import { describe, expect, it } from 'vitest';
import { WSEStateError } from '../../src/errors.js';
import { describeThrown, isStopped, nameThrown } from '../../src/thrown.js';
import { UNTELLABLE } from '../support/thrown.js';

describe('what was thrown', () => {
  it.each(Object.entries(UNTELLABLE))('has words: %s', (_, make) => {
    const { text, detail } = describeThrown(make());
    expect(text).not.toBe('');
    expect(['string', 'undefined']).toContain(typeof detail.detail);
    expect(nameThrown(make())).toContain(text);
    expect(isStopped(make())).toBe(false);
  });

  it('is told as it is where it can be', () => {
    const error = new TypeError('x is no function');
    expect(describeThrown(error)).toEqual({ text: 'x is no function', detail: { detail: error.stack } });
    expect(nameThrown(error)).toBe('TypeError: x is no function');
    expect([7, 'text', null, undefined, Symbol('s')].map((thrown) => nameThrown(thrown))).toEqual([
      '7',
      'text',
      'null',
      'undefined',
      'Symbol(s)',
    ]);
    expect(describeThrown(Object.create(null))).toEqual({ text: '[object Object]', detail: {} });
    const stackless = Object.assign(new Error('here'), { stack: 7 });
    expect(describeThrown(stackless)).toEqual({ text: 'here', detail: {} });
    expect([isStopped(new WSEStateError('WSE_STOPPED', '')), isStopped(error)]).toEqual([true, false]);
  });
});
