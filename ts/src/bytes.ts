/** Turns whatever holds bytes into a `Uint8Array` the addon may read. */

import { types } from 'node:util';

/** Anything that holds bytes. */
export type BytesLike = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

/**
 * The bytes of `input`, and only the part its view covers. Shared memory is copied, because another thread may
 * write it while it is read; whoever sends the rest copies it before the call returns.
 *
 * @throws TypeError when `input` holds no bytes or its memory was transferred away.
 */
export function toBytes(input: unknown, name: string): Uint8Array {
  let buffer: ArrayBufferLike;
  let offset = 0;
  let length: number;
  if (ArrayBuffer.isView(input)) {
    buffer = input.buffer;
    offset = input.byteOffset; // on a detached DataView this line throws, as it should
    length = input.byteLength;
  } else if (types.isAnyArrayBuffer(input)) {
    buffer = input;
    length = input.byteLength;
  } else {
    throw new TypeError(`${name} must be a TypedArray, a DataView or an ArrayBuffer, not ${describe(input)}`);
  }
  if (length === 0) return emptyOf(buffer, name);
  if (types.isSharedArrayBuffer(buffer)) return new Uint8Array(new Uint8Array(buffer, offset, length));
  if (input instanceof Uint8Array) return input;
  return new Uint8Array(buffer, offset, length);
}

function emptyOf(buffer: ArrayBufferLike, name: string): Uint8Array {
  try {
    new Uint8Array(buffer); // the portable question "is it detached?"
  } catch {
    throw new TypeError(`${name} was transferred to another thread: its memory is gone`);
  }
  return new Uint8Array(0);
}

/** A value's kind, for error messages; never the value, which may be a secret. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  const kind = typeof value;
  if (kind === 'object') return `an object (${(value as object).constructor?.name ?? 'no prototype'})`;
  if (kind === 'number') return `the number ${String(value)}`;
  return kind === 'undefined' ? kind : `a ${kind}`;
}

/**
 * `value` if it is a string.
 *
 * @throws TypeError otherwise.
 */
export function toText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string, not ${describe(value)}`);
  return value;
}

/**
 * `value` if it is a number, which is all a connection id is here: an unknown one is the engine's to report.
 *
 * @throws TypeError otherwise.
 */
export function toConn(value: unknown): number {
  if (typeof value !== 'number') throw new TypeError(`conn must be a number, not ${describe(value)}`);
  return value;
}

/**
 * `value` if it is an array of strings.
 *
 * @throws TypeError otherwise, naming the item.
 */
export function toTexts(value: unknown, name: string): string[] {
  if (!Array.isArray(value)) throw new TypeError(`${name} must be an array of strings, not ${describe(value)}`);
  return Array.from(value, (item, index) => toText(item, `${name}[${index}]`));
}

/**
 * `value` if it is an object that can hold options. A value in its place, such as a close code without its name, would
 * otherwise be ignored without a word.
 *
 * @throws TypeError otherwise.
 */
export function toOptions<T extends object>(value: T, name: string): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name} must be an object, not ${describe(value)}`);
  }
  return value;
}
