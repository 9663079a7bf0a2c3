import { expectTypeOf, test } from 'vitest';
import { WSEConfigError, type WSEError, type WSEErrorCode } from '../../src/index.js';

declare const error: WSEError;

test('a code is one of a closed list', () => {
  expectTypeOf(error.code).toEqualTypeOf<WSEErrorCode>();
  expectTypeOf<'WSE_ADDR_IN_USE'>().toExtend<WSEErrorCode>();
  expectTypeOf<'WSE_DRAINING'>().not.toExtend<WSEErrorCode>();
  // @ts-expect-error there is no such code
  new WSEConfigError('WSE_CONFIG_WRONG', 'port', 'must be a number');
});
