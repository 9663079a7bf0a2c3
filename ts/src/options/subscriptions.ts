/** The options `authorize` and `snapshots`: what the engine asks about subscriptions it answers. Owns their rules and defaults. */

import type { NativeOptions } from '../native/index.js';
import type { NumberRule, OptionReader } from './reader.js';
import { suggestOption } from './suggest.js';

const TIMEOUT_S = 5;
const MAX_WAITING = 1024;
const WAITING: NumberRule = { min: 1, max: 2 ** 24, integer: true };
const SNAPSHOT_BYTES: NumberRule = { min: 1, max: 2 ** 28, integer: true, unit: 'bytes' };
const DEFAULT_SNAPSHOT_BYTES = 2 ** 20;
/** A pattern is tried for each topic a client names. */
const MAX_PATTERNS = 1024;
const MAX_PATTERN_BYTES = 1024;

/** What of the two stays in JavaScript. */
export interface Answering {
  /** Bytes of one topic's state. */
  maxSnapshotBytes: number;
}

/** What the engine is told, and what stays in JavaScript. */
export interface SubscriptionPart {
  native: Pick<NativeOptions, 'authorize' | 'snapshots'>;
  answering: Answering;
}

/**
 * Reads `authorize`, its bounds, and `snapshots`.
 *
 * @param answers whether the engine answers clients at all
 * @param idleTimeout in seconds: a client that waits may not be read, and is not to be taken for a dead one
 * @throws WSEConfigError with the `path` of the member that is wrong.
 */
export function readSubscriptions(reader: OptionReader, answers: boolean, idleTimeout: number): SubscriptionPart {
  const asks = reader.hasFunction('authorize');
  for (const name of ['authorize', 'snapshots'] as const) {
    if (!answers && (reader.any(name) ?? null) !== null) {
      reader.fail(name, "needs subscriptions: 'acl': with 'app' the application itself answers who subscribes");
    }
  }
  for (const name of ['authorizeTimeout', 'maxAuthorizing'] as const) {
    if (!asks && reader.has(name)) reader.fail(name, 'is about authorize, which is not there');
  }
  const authorize = {
    timeout: readTimeout(reader, 'authorizeTimeout', idleTimeout),
    maxWaiting: reader.number('maxAuthorizing', WAITING, MAX_WAITING),
  };
  const answering = { maxSnapshotBytes: DEFAULT_SNAPSHOT_BYTES };
  const snapshots = readSnapshots(reader, idleTimeout, answering);
  return { native: { authorize: asks ? authorize : null, snapshots }, answering };
}

function readSnapshots(reader: OptionReader, idleTimeout: number, answering: Answering): NativeOptions['snapshots'] {
  const given = reader.any('snapshots') ?? null;
  if (given === null) return null;
  if (given === 'last') return { provider: null };
  if (typeof given === 'string') reader.fail('snapshots', `must be 'last' or an object, not '${given.slice(0, 40)}'`);
  const group = reader.group('snapshots');
  const topics = readTopics(group);
  if (!group.hasFunction('get')) group.fail('get', 'must be a function that tells the state of topics');
  const timeout = readTimeout(group, 'timeout', idleTimeout);
  const maxWaiting = group.number('maxWaiting', WAITING, MAX_WAITING);
  answering.maxSnapshotBytes = group.number('maxSnapshotBytes', SNAPSHOT_BYTES, DEFAULT_SNAPSHOT_BYTES);
  group.done(suggestOption);
  return { provider: { topics, timeout, maxWaiting } };
}

function readTopics(group: OptionReader): string[] {
  const topics = typeof group.any('topics') === 'string' ? [group.text('topics')] : (group.textsOrNull('topics') ?? []);
  if (topics.length === 0) group.fail('topics', 'must be a topic, a pattern, or an array of such');
  if (topics.length > MAX_PATTERNS) group.fail('topics', `must be at most ${MAX_PATTERNS}, not ${topics.length}`);
  topics.forEach((topic, index) => {
    const size = Buffer.byteLength(topic);
    if (size > MAX_PATTERN_BYTES) group.fail(`topics[${index}]`, `must be at most ${MAX_PATTERN_BYTES} bytes, not ${size}`);
  });
  return topics;
}

function readTimeout(reader: OptionReader, name: string, idleTimeout: number): number {
  const timeout = reader.seconds(name, { max: 3600 }, Math.min(TIMEOUT_S, idleTimeout / 2));
  if (timeout >= idleTimeout) {
    reader.fail(name, `must be less than idleTimeout (${idleTimeout}): a client that waits may not be read`);
  }
  return timeout;
}
