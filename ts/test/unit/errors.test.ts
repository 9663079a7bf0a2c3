import { describe, expect, it } from 'vitest';
import {
  fromNative,
  native,
  nativeAsync,
  WSEArgumentError,
  WSEConfigError,
  WSEError,
  WSEOverloadedError,
  WSEStateError,
} from '../../src/errors.js';

/** An error as the addon throws it. */
const thrown = (code: string, message: string, path = ''): Error => Object.assign(new Error(message), { code, path });

describe('fromNative', () => {
  it.each([
    ['WSE_ADDR_IN_USE', '127.0.0.1:80 is already in use', '', WSEError, '127.0.0.1:80 is already in use'],
    ['WSE_CONFIG_INVALID', 'must be PEM', 'tls.cert', WSEConfigError, 'tls.cert: must be PEM'],
    ['WSE_STOPPED', 'the server is stopped', '', WSEStateError, 'the server is stopped'],
    ['WSE_NOT_RUNNING', 'call start()', '', WSEStateError, 'call start()'],
    ['WSE_OVERLOADED', 'full', '', WSEOverloadedError, 'full'],
    ['WSE_START_FAILED', 'a | b', '', WSEError, 'a | b'],
  ])('%s', (code, message, path, kind, text) => {
    const error = fromNative(thrown(code, message, path)) as WSEError;
    expect(error.constructor).toBe(kind);
    expect(error).toBeInstanceOf(WSEError);
    expect(error.name).toBe(kind.name);
    expect([error.code, error.message]).toEqual([code, text]);
  });

  it('keeps the path of an option', () => {
    expect((fromNative(thrown('WSE_CONFIG_INVALID', 'bad', 'jwt.secret')) as WSEConfigError).path).toBe('jwt.secret');
  });

  it('an argument error is a TypeError and a WSEError, and nothing else of ours', () => {
    const error = new WSEArgumentError('WSE_INVALID_TOPIC', 'topics[1]', 'must not be empty');
    expect([error instanceof TypeError, error instanceof WSEError, error instanceof WSEConfigError]).toEqual([true, true, false]);
    expect([error.name, error.code, error.path, error.message]).toEqual([
      'WSEArgumentError',
      'WSE_INVALID_TOPIC',
      'topics[1]',
      'topics[1]: must not be empty',
    ]);
    expect([
      new TypeError('x') instanceof WSEError,
      {} instanceof WSEError,
      new WSEError('WSE_STOPPED', 'x') instanceof WSEArgumentError,
    ]).toEqual([false, false, false]);
  });

  it('hands on what is not ours', () => {
    const foreign = new TypeError('not|ours');
    expect(fromNative(foreign)).toBe(foreign);
    expect(fromNative('text')).toBe('text');
    const system = Object.assign(new Error('no such file'), { code: 'ENOENT', path: '/nowhere' });
    expect(fromNative(system)).toBe(system);
  });

  it('maps thrown errors and rejections', async () => {
    const fail = (): never => {
      throw thrown('WSE_STOPPED', 'gone');
    };
    expect(() => native(fail)).toThrow(WSEStateError);
    await expect(nativeAsync(async () => fail())).rejects.toThrow(WSEStateError);
  });
});
