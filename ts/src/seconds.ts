/** Times as their user writes them: numbers of seconds. Owns what a time must be; never where it comes from. */

import { describe } from './bytes.js';
import { WSEConfigError } from './errors.js';

/** What a time must be. */
export interface SecondsRule {
  /** Seconds; the longest time there is a use for. Small enough that the same time in milliseconds is above it. */
  max: number;
  /** Whether 0 is a time. @default false */
  zero?: boolean;
  /** Only whole seconds. @default false */
  whole?: boolean;
}

/**
 * `value` if it is a time within the rule. Milliseconds in its place are a valid number a thousand times too long, so a value
 * that would fit as milliseconds is refused with the value that was meant.
 *
 * @param path where the value stands, for the error: `handshake.timeout`
 * @throws WSEConfigError with that `path` otherwise.
 */
export function toSeconds(value: unknown, path: string, rule: SecondsRule): number {
  if (fits(value, rule)) return value;
  throw new WSEConfigError('WSE_CONFIG_INVALID', path, complaint(value, rule));
}

function fits(value: unknown, { max, zero = false, whole = false }: SecondsRule): value is number {
  return typeof value === 'number' && value <= max && (zero ? value >= 0 : value > 0) && (!whole || Number.isInteger(value));
}

function complaint(value: unknown, rule: SecondsRule): string {
  if (typeof value === 'number' && value > rule.max && fits(value / 1000, rule)) {
    return `${value} looks like milliseconds; times are in seconds: ${value / 1000}`;
  }
  const range = rule.zero ? `from 0 to ${rule.max}` : `above 0 and at most ${rule.max}`;
  return `must be ${rule.whole ? 'a whole' : 'a'} number of seconds ${range}, not ${describe(value)}`;
}
