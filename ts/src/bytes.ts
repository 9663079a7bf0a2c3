/** Turns whatever holds bytes into a `Uint8Array` the addon may read. */

import { types } from 'node:util';
import { describe } from './describe.js';

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
