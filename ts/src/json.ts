/**
 * JSON text from JavaScript values, with the conversions of the wire: bytes become lower-case hex, dates ISO text, NaN and
 * infinities null, a bigint the number it is or, where a number of JavaScript would be another one, its decimal text. What has
 * no JSON form (a map, a set, an error, a regular expression, a promise, a symbol) is refused: `{}` or `"[object Map]"` in its
 * place would be silent loss. `undefined` and functions are left out, as `JSON.stringify` does.
 *
 * `JSON.stringify` is used as it stands when nothing of that kind is inside, which one walk finds out.
 */

import { types } from 'node:util';
import { describe } from './describe.js';
import { WSEArgumentError } from './errors.js';

const MAX_DEPTH = 256;
/** Beyond it a client that reads a JSON number may read another one. */
const MAX_EXACT = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * The JSON text of one event.
 *
 * @throws TypeError when `value` is not an object with members, or refers to itself; WSEArgumentError when something in it has no
 *   JSON form.
 */
export function objectToJson(value: unknown, name: string): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || isOpaque(value) || isValue(value)) {
    throw new TypeError(`${name} must be a JSON object, not ${describe(value)}`);
  }
  const text = toJson(value, name);
  // A toJSON() may have made anything of it.
  if (!text.startsWith('{')) throw new TypeError(`${name} must be a JSON object, not ${describe(value)}`);
  return text;
}

/** The same JSON with U+FFFD for halves of surrogate pairs, which no UTF-8 text can hold and the engine's reader refuses. */
export function replaceLoneSurrogates(json: string): string {
  // `JSON.stringify` writes nothing else as \ud…; an escaped backslash before it is consumed with its pair.
  if (!json.includes('\\ud')) return json;
  return json.replace(/\\(?:ud[89a-f][0-9a-f]{2}|[\s\S])/g, (found) => (found.length === 2 ? found : '\ufffd'));
}

/**
 * The JSON text of any value; `null` for `undefined`.
 *
 * @throws TypeError when it refers to itself or is nested more than 256 deep; WSEArgumentError naming the place of what has no
 *   JSON form.
 */
export function toJson(value: unknown, name: string): string {
  if (isPlain(value, 0, name)) return JSON.stringify(value) ?? 'null';
  return write(value, 0, name) ?? 'null';
}

/** true: `JSON.stringify` already says what the wire wants. */
function isPlain(value: unknown, depth: number, name: string): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'number':
      return true;
    case 'object':
      break;
    default:
      return value === undefined;
  }
  if (value === null) return true;
  if (depth >= MAX_DEPTH) throw tooDeep(name);
  if (Array.isArray(value)) {
    for (const item of value) if (!isPlain(item, depth + 1, name)) return false;
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return false;
  for (const key in value) {
    if (!isPlain((value as Record<string, unknown>)[key], depth + 1, name)) return false;
  }
  return true;
}

/** undefined: the member is left out, as `JSON.stringify` does. `name` is where the value is. */
function write(value: unknown, depth: number, name: string): string | undefined {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
      return Number.isFinite(value) ? JSON.stringify(value) : 'null';
    case 'bigint':
      return value >= -MAX_EXACT && value <= MAX_EXACT ? value.toString() : JSON.stringify(value.toString());
    case 'undefined':
    case 'function': // its source is nobody's business
      return undefined;
    case 'symbol':
      throw formless(value, name);
    case 'object':
      break;
  }
  if (value === null) return 'null';
  if (depth >= MAX_DEPTH) throw tooDeep(name);
  if (types.isDate(value)) return Number.isNaN(value.getTime()) ? 'null' : JSON.stringify(value.toISOString());
  if (ArrayBuffer.isView(value)) {
    return `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}"`;
  }
  if (types.isAnyArrayBuffer(value)) return `"${Buffer.from(value).toString('hex')}"`;
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return write(toJSON.call(value), depth + 1, name);
  if (types.isBoxedPrimitive(value)) return write(value.valueOf(), depth + 1, name);
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item, index) => write(item, depth + 1, `${name}[${index}]`) ?? 'null').join(',')}]`;
  }
  if (isOpaque(value)) throw formless(value, name);
  const members: string[] = [];
  for (const [key, member] of Object.entries(value)) {
    const text = write(member, depth + 1, `${name}.${key}`);
    if (text !== undefined) members.push(`${JSON.stringify(key)}:${text}`);
  }
  return `{${members.join(',')}}`;
}

/** Objects whose members say nothing about what they are, and that have no other form. */
function isOpaque(value: object): boolean {
  return (
    types.isMap(value) ||
    types.isSet(value) ||
    types.isRegExp(value) ||
    types.isNativeError(value) ||
    types.isPromise(value) ||
    types.isWeakMap(value) ||
    types.isWeakSet(value)
  );
}

/** Objects that stand for one value, not for members. */
function isValue(value: object): boolean {
  return types.isDate(value) || types.isBoxedPrimitive(value) || types.isAnyArrayBuffer(value) || ArrayBuffer.isView(value);
}

function formless(value: unknown, path: string): WSEArgumentError {
  const advice = types.isMap(value)
    ? 'send Object.fromEntries(map), or an array of its entries'
    : types.isSet(value)
      ? 'send Array.from(set)'
      : types.isNativeError(value)
        ? 'send what a client may know of it, such as { message: error.message }'
        : 'send what you mean by it';
  return new WSEArgumentError('WSE_NO_JSON_FORM', path, `${describe(value)} has no JSON form: ${advice}`);
}

function tooDeep(name: string): TypeError {
  return new TypeError(`${name} is nested more than ${MAX_DEPTH} deep or refers to itself`);
}
