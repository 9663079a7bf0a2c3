/** zlib streams (RFC 1950) to bytes with the platform's own decompressor. Never holds more than the cap and one chunk. */
import { DecodeError } from './errors.js';

/**
 * The bytes a zlib stream holds. Rejects with `too_large` as soon as they are more than `max`, whatever the stream would have become,
 * and with `corrupt` for everything that is not one whole stream.
 */
export const inflate = async (bytes: Uint8Array, max: number): Promise<Uint8Array> => {
  const { readable, writable } = new DecompressionStream('deflate');
  const writer = writable.getWriter();
  // What goes wrong there goes wrong at the reader too; nobody else listens.
  const ignore = (): void => {};
  writer.write(bytes as Uint8Array<ArrayBuffer>).catch(ignore);
  writer.close().catch(ignore);
  const reader = readable.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > max) break;
      chunks.push(next.value);
    }
  } catch (cause) {
    throw new DecodeError('corrupt', 'Not a zlib stream', cause);
  }
  if (size > max) {
    reader.cancel().catch(ignore);
    throw new DecodeError('too_large', `Inflates to more than ${max} bytes`);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
};
