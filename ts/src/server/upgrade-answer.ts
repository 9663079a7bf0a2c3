/** From what `onUpgrade` answers to what crosses. Checks the form; sizes and what a header may hold are the engine's to judge. */

import { toBytes } from '../bytes.js';
import { describe } from '../describe.js';
import { WSEArgumentError } from '../errors.js';
import { toJson } from '../json.js';

/** An answer as it crosses (`crates/engine/src/asking/answer.rs`). @internal */
export interface NativeAnswer {
  id: number;
  failed?: true;
  /** Bytes, one character each; null: there is no such key. */
  key?: string | null;
  status?: number;
  headers?: [name: string, value: string][];
  body?: string;
  user?: string;
  data?: string;
  protocol?: string;
  acl?: { allow?: string[]; deny?: string[] };
  topics?: string[];
}

const TERMS = ['user', 'data', 'protocol', 'acl', 'topics'];
const REFUSAL = ['status', 'headers', 'body'];

/**
 * The answer to the question `id`.
 *
 * @internal
 * @param offered the subprotocols of the client
 * @throws WSEArgumentError `WSE_INVALID_ANSWER` naming the member that cannot be meant.
 */
export function toAnswer(id: number, given: unknown, offered: readonly string[]): NativeAnswer {
  if (given === undefined || given === null) return { id };
  if (typeof given !== 'object' || Array.isArray(given)) {
    return wrong('answer', `must be an object, or nothing to let the client in, not ${describe(given)}`);
  }
  const values = given as Record<string, unknown>;
  const isRefusal = REFUSAL.some((name) => values[name] !== undefined);
  for (const name of Object.keys(values)) {
    const known = isRefusal ? REFUSAL : TERMS;
    if (values[name] === undefined || known.includes(name)) continue;
    const reason = TERMS.includes(name) ? 'is of no use to a client that is refused (status)' : `is unknown; there are ${known}`;
    return wrong(`answer.${name}`, reason);
  }
  return isRefusal ? { id, ...refusal(values) } : { id, ...terms(values, offered) };
}

/**
 * The key the question `id` is about, or that there is none.
 *
 * @internal
 * @throws WSEArgumentError `WSE_INVALID_ANSWER` for what can be no key.
 */
export function toKeyAnswer(id: number, given: unknown): NativeAnswer {
  if (given === undefined || given === null) return { id, key: null };
  try {
    const bytes = typeof given === 'string' ? Buffer.from(given) : toBytes(given, 'key');
    return { id, key: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1') };
  } catch {
    return wrong('key', `must be a string, bytes, or null, not ${describe(given)}`);
  }
}

function refusal({ status, headers, body }: Record<string, unknown>): Omit<NativeAnswer, 'id'> {
  if (!Number.isInteger(status) || (status as number) < 200 || (status as number) > 599) {
    return wrong('answer.status', `must be a whole number from 200 to 599, not ${describe(status)}`);
  }
  return {
    status: status as number,
    ...(headers === undefined ? {} : { headers: toFields(headers) }),
    ...(body === undefined ? {} : { body: text(body, 'answer.body') }),
  };
}

function toFields(headers: unknown): [name: string, value: string][] {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    return wrong('answer.headers', `must be an object, not ${describe(headers)}`);
  }
  return Object.entries(headers).flatMap(([name, given]) => {
    const path = `answer.headers.${name}`;
    const values: unknown[] = Array.isArray(given) ? given : [given];
    return values.map((value): [string, string] => [name, typeof value === 'number' ? String(value) : text(value, path)]);
  });
}

function terms(values: Record<string, unknown>, offered: readonly string[]): Omit<NativeAnswer, 'id'> {
  const { user, data, protocol, acl, topics } = values;
  if (protocol !== undefined && !offered.includes(text(protocol, 'answer.protocol'))) {
    return wrong('answer.protocol', 'must be one of the subprotocols the client offers');
  }
  return {
    ...(user === undefined ? {} : { user: text(user, 'answer.user') }),
    ...(data === undefined || data === null ? {} : { data: toJson(data, 'answer.data') }),
    ...(protocol === undefined ? {} : { protocol: protocol as string }),
    ...(acl === undefined ? {} : { acl: toAcl(acl) }),
    ...(topics === undefined ? {} : { topics: texts(topics, 'answer.topics') }),
  };
}

function toAcl(acl: unknown): NonNullable<NativeAnswer['acl']> {
  if (typeof acl !== 'object' || acl === null || Array.isArray(acl)) {
    return wrong('answer.acl', `must be an object, not ${describe(acl)}`);
  }
  for (const name of Object.keys(acl)) {
    // What was meant to restrict and is not read would open everything.
    if (name !== 'allow' && name !== 'deny') return wrong(`answer.acl.${name}`, 'is unknown; there are allow and deny');
  }
  const { allow, deny } = acl as { allow?: unknown; deny?: unknown };
  return {
    ...(allow === undefined || allow === null ? {} : { allow: texts(allow, 'answer.acl.allow') }),
    ...(deny === undefined || deny === null ? {} : { deny: texts(deny, 'answer.acl.deny') }),
  };
}

function texts(value: unknown, path: string): string[] {
  if (!Array.isArray(value)) return wrong(path, `must be an array of strings, not ${describe(value)}`);
  return Array.from(value, (item, index) => text(item, `${path}[${index}]`));
}

function text(value: unknown, path: string): string {
  return typeof value === 'string' ? value : wrong(path, `must be a string, not ${describe(value)}`);
}

function wrong(path: string, reason: string): never {
  throw new WSEArgumentError('WSE_INVALID_ANSWER', path, reason);
}
