/** `authorize`: the question which topics a client may have, and from what it answers to what crosses. Decides nothing. */

import { describe } from '../describe.js';
import { WSEArgumentError } from '../errors.js';

/**
 * What `authorize` answers: whether the client may have all topics or none; or those it may have; or of each whether it may, or why
 * not, as the client is told (1 to 256 bytes). A topic that is left out is refused.
 */
export type AuthorizeAnswer =
  | boolean
  | readonly string[]
  | Readonly<Record<string, boolean | string>>
  | ReadonlyMap<string, boolean | string>;

/** Decides which of `topics` (names and patterns, as the client wrote them) a connection may have. */
export type Authorize = (
  conn: number,
  user: string | null,
  topics: readonly string[],
) => AuthorizeAnswer | PromiseLike<AuthorizeAnswer>;

/** A question about topics, as it crosses. @internal */
export interface AuthorizeQuestion {
  id: number;
  kind: 'authorize';
  conn: number;
  user: string | null;
  topics: string[];
}

/** Those refused: places in the question, and why. @internal */
export type Refused = [place: number, reason: string | null][];

const MAX_REASON_BYTES = 256;

/**
 * Which of `topics` are refused.
 *
 * @internal
 * @throws WSEArgumentError `WSE_INVALID_ANSWER` for what cannot be meant.
 */
export function toRefused(given: unknown, topics: readonly string[]): Refused {
  if (typeof given === 'boolean') return given ? [] : topics.map((_, place) => [place, null]);
  if (typeof given !== 'object' || given === null) {
    return wrong('answer', `must be true, false, an array of topics, or an object of topics, not ${describe(given)}`);
  }
  const verdictOf = reader(given);
  const refused: Refused = [];
  topics.forEach((topic, place) => {
    const verdict = verdictOf(topic);
    if (verdict === true) return;
    if (verdict === false || verdict === undefined) refused.push([place, null]);
    else refused.push([place, toReason(verdict, topic)]);
  });
  return refused;
}

/** What the answer says of a topic. */
function reader(given: object): (topic: string) => unknown {
  if (Array.isArray(given)) {
    given.forEach((topic: unknown, index) => {
      if (typeof topic !== 'string') wrong(`answer[${index}]`, `must be a topic, not ${describe(topic)}`);
    });
    const allowed = new Set<unknown>(given);
    return (topic) => allowed.has(topic);
  }
  if (given instanceof Map) return (topic) => (given as Map<string, unknown>).get(topic);
  const prototype: unknown = Object.getPrototypeOf(given);
  // A set of topics would otherwise be an object without any.
  if (prototype !== Object.prototype && prototype !== null)
    return wrong('answer', `must be a plain object, not ${describe(given)}`);
  // A topic may have any name, that of something every object has among them.
  return (topic) => (Object.hasOwn(given, topic) ? (given as Record<string, unknown>)[topic] : undefined);
}

function toReason(verdict: unknown, topic: string): string {
  if (typeof verdict === 'string' && verdict !== '' && Buffer.byteLength(verdict) <= MAX_REASON_BYTES) return verdict;
  const given = typeof verdict === 'string' ? `one of ${Buffer.byteLength(verdict)}` : describe(verdict);
  return wrong(
    `answer[${JSON.stringify(topic.slice(0, 80))}]`,
    `must be true, false, or a reason of 1 to ${MAX_REASON_BYTES} bytes, not ${given}`,
  );
}

function wrong(path: string, reason: string): never {
  throw new WSEArgumentError('WSE_INVALID_ANSWER', path, reason);
}
