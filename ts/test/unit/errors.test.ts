import { describe, expect, it } from 'vitest';
import {
  fromNative,
  native,
  nativeAsync,
  WSEConfigError,
  WSEError,
  WSEOverloadedError,
  WSEStateError,
} from '../../src/errors.js';

describe('fromNative', () => {
  it.each([
    ['WSE_ADDR_IN_USE|127.0.0.1:80 is already in use|', WSEError, 'WSE_ADDR_IN_USE', '127.0.0.1:80 is already in use'],
    ['WSE_CONFIG_INVALID|must be PEM|tls.cert', WSEConfigError, 'WSE_CONFIG_INVALID', 'tls.cert: must be PEM'],
    ['WSE_STOPPED|the server is stopped|', WSEStateError, 'WSE_STOPPED', 'the server is stopped'],
    ['WSE_NOT_RUNNING|call start()|', WSEStateError, 'WSE_NOT_RUNNING', 'call start()'],
    ['WSE_OVERLOADED|full|', WSEOverloadedError, 'WSE_OVERLOADED', 'full'],
    ['WSE_START_FAILED|a | b|', WSEError, 'WSE_START_FAILED', 'a | b'],
  ])('%s', (message, kind, code, text) => {
    const error = fromNative(new Error(message)) as WSEError;
    expect(error.constructor).toBe(kind);
    expect(error).toBeInstanceOf(WSEError);
    expect(error.name).toBe(kind.name);
    expect([error.code, error.message]).toEqual([code, text]);
  });

  it('keeps the path of an option', () => {
    expect((fromNative(new Error('WSE_CONFIG_INVALID|bad|jwt.secret')) as WSEConfigError).path).toBe('jwt.secret');
  });

  it('hands on what is not ours', () => {
    const foreign = new TypeError('not|ours');
    expect(fromNative(foreign)).toBe(foreign);
    expect(fromNative('text')).toBe('text');
  });

  it('maps thrown errors and rejections', async () => {
    const fail = (): never => {
      throw new Error('WSE_STOPPED|gone|');
    };
    expect(() => native(fail)).toThrow(WSEStateError);
    await expect(nativeAsync(async () => fail())).rejects.toThrow(WSEStateError);
  });
});
