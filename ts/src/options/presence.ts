/** The option `presence`: true, false, or its limits. */

import type { NativeOptions } from '../native/index.js';
import { type NumberRule, OptionReader } from './reader.js';
import type { SecondsRule } from './seconds.js';
import { suggestOption } from './suggest.js';

const DATA_BYTES: NumberRule = { min: 2, max: 2 ** 20, integer: true, unit: 'bytes' };
const MEMBERS: NumberRule = { min: 0, max: 2 ** 24, integer: true };
const GRACE: SecondsRule = { max: 3600, zero: true };

/**
 * What the engine is told; null: there is no presence.
 *
 * @throws WSEConfigError naming the member that is wrong.
 */
export function readPresence(options: OptionReader): NativeOptions['presence'] {
  const given = options.any('presence') ?? false;
  if (given === false) return null;
  const reader = new OptionReader(given === true ? {} : given, options.at('presence'));
  const presence = {
    maxDataSize: reader.number('maxDataSize', DATA_BYTES, 4096),
    maxMembers: reader.number('maxMembers', MEMBERS, 0),
    grace: reader.seconds('grace', GRACE, 0),
  };
  reader.done(suggestOption);
  return presence;
}
