/** Names of topics: what is one, and how what a user typed becomes part of one. Patterns are the engine's. */

import { toText } from './arguments.js';
import { WSEArgumentError } from './errors.js';

/**
 * `value` if it is a topic's name: not empty, and no pattern. Control characters are left to the engine, where no subscription
 * can have them either.
 *
 * @throws TypeError for anything but a string; WSEArgumentError `WSE_INVALID_TOPIC` for what nobody can be meant by.
 */
export function toTopicName(value: unknown, path: string): string {
  const name = toText(value, path);
  if (name === '') throw new WSEArgumentError('WSE_INVALID_TOPIC', path, 'must not be empty: nobody can subscribe to it');
  if (name.includes('*') || name.includes('?')) {
    throw new WSEArgumentError(
      'WSE_INVALID_TOPIC',
      path,
      `must be a name, not the pattern '${name}'; topicSegment() encodes * and ?`,
    );
  }
  return name;
}

/** What separates and what matches in names, what they cannot hold, and halves of characters, which would all become one. */
const ENCODED = /[%*?.:/]|(?=\p{ASCII})\p{Cc}|\p{Cs}/gu;

/**
 * What a user typed, as one segment of a topic's name: `` `room.${topicSegment(room)}` `` is a topic of its own for each `room`,
 * and never a pattern or a topic of another level. `*`, `?`, `%`, the separators `.`, `:` and `/`, and control characters are
 * percent-encoded (RFC 3986 §2.1); everything else stays as it is. Patterns have no escape: a name is encoded instead.
 *
 * @throws TypeError for anything but a string.
 */
export function topicSegment(text: string): string {
  return toText(text, 'text').replace(ENCODED, (found) => {
    const code = found.charCodeAt(0);
    // The three bytes its half of a pair would have: nobody writes them, so they stand for nothing else.
    const bytes = code < 0x80 ? [code] : [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)];
    return bytes.map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
  });
}
