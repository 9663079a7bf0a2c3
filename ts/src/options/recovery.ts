/** What can be recovered: how the option is read, and its defaults. */

import type { NativeOptions } from '../native/index.js';
import { type NumberRule, OptionReader } from './reader.js';
import type { SecondsRule } from './seconds.js';
import { suggestOption } from './suggest.js';

type NativeRecovery = NonNullable<NativeOptions['recovery']>;

const MIB = 2 ** 20;
const SIZE: NumberRule = { min: 1, max: 2 ** 20, integer: true };
const RATE: NumberRule = { min: 1024, max: 2 ** 40, unit: 'bytes per second' };
const BUDGET: NumberRule = { min: 64 * 1024, max: 2 ** 40, integer: true, unit: 'bytes' };
/** A day: whoever wants more wants a database. */
const TTL: SecondsRule = { max: 86_400, zero: true };
const MAX_PATTERN_BYTES = 1024;
const MAX_RULES = 256;

/** The rules of `recovery`, or null where nothing is kept. */
export function readRecovery(reader: OptionReader): NativeRecovery | null {
  const given = reader.any('recovery') ?? false;
  if (given === false) return null;
  const group = new OptionReader(given === true ? {} : given, 'recovery');
  const bufferSize = group.number('bufferSize', SIZE, 128);
  const ttl = group.seconds('ttl', TTL, 300);
  const recovery: NativeRecovery = {
    bufferSize,
    ttl: ttl || null,
    maxMessages: group.number('maxMessages', { ...SIZE, max: 2 ** 24 }, 500),
    memoryBudget: group.number('memoryBudget', BUDGET, 256 * MIB),
    maxReplayRate: group.number('maxReplayRate', RATE, 64 * MIB),
    maxConnectionReplayRate: group.number('maxConnectionReplayRate', RATE, 16 * MIB),
    rules: readRules(group, bufferSize, ttl),
    lastValues: [],
  };
  group.done(suggestOption);
  return recovery;
}

function readRules(group: OptionReader, bufferSize: number, ttl: number): NativeRecovery['rules'] {
  const given = group.any('topics') ?? {};
  const rules = new OptionReader(given, 'recovery.topics');
  const patterns = rules.names();
  if (patterns.length > MAX_RULES) group.fail('topics', `must name at most ${MAX_RULES} patterns, not ${patterns.length}`);
  return patterns.map((topics) => {
    if (topics === '' || Buffer.byteLength(topics) > MAX_PATTERN_BYTES) {
      rules.fail(topics, `must be a pattern of 1 to ${MAX_PATTERN_BYTES} bytes`);
    }
    const rule = rules.any(topics);
    if (rule === false) return { topics, bufferSize: null, ttl: null };
    const one = new OptionReader(rule, rules.at(topics));
    const read = { topics, bufferSize: one.number('bufferSize', SIZE, bufferSize), ttl: one.seconds('ttl', TTL, ttl) || null };
    one.done(suggestOption);
    return read;
  });
}
