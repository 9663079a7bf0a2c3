/** zlib streams (RFC 1950) to text with the platform's own decompressor. Never holds more than the cap and one chunk. */
import type { DecodeError } from './errors.js';

/**
 * The UTF-8 text a zlib stream holds. Rejects with `too_large` as soon as it is more than `max` bytes, whatever the stream would have
 * become, and with `corrupt` for everything that is not one whole stream of text. What follows the stream is refused or ignored, as the platform does.
 */
export const inflate = async (bytes: Uint8Array, max: number, Problem: typeof DecodeError): Promise<string> => {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream('deflate'));
  const reader = stream.getReader();
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + utf8.decode();
      size += value.length;
      if (size > max) throw new Problem('too_large', `inflates to more than ${max} bytes`);
      text += utf8.decode(value, { stream: true });
    }
  } catch (cause) {
    reader.cancel().catch(() => {});
    throw cause instanceof Problem ? cause : new Problem('corrupt', 'not zlib', cause);
  }
};
