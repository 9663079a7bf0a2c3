/** The option `outbox`: true, false, or its limits. */

import type { NativeOptions } from '../native/index.js';
import { type NumberRule, OptionReader } from './reader.js';
import type { SecondsRule } from './seconds.js';
import { suggestOption } from './suggest.js';

const STREAMS: NumberRule = { min: 1, max: 2 ** 24, integer: true };
/** A month: whoever comes back later begins anew. */
const TTL: SecondsRule = { max: 30 * 86_400 };

/**
 * What the engine is told; null: clients are not told that what they send again is taken once.
 *
 * @throws WSEConfigError naming the member that is wrong.
 */
export function readOutbox(options: OptionReader): NativeOptions['outbox'] {
  const given = options.any('outbox') ?? true;
  if (given === false) return null;
  const reader = new OptionReader(given === true ? {} : given, options.at('outbox'));
  const outbox = {
    maxStreams: reader.number('maxStreams', STREAMS, 65_536),
    ttl: reader.seconds('ttl', TTL, 86_400),
  };
  reader.done(suggestOption);
  return outbox;
}
