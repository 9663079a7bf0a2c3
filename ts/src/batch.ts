/**
 * Decodes one flat batch of the engine into events. The layout (little endian, 8-byte aligned):
 *
 * ```
 *  0 u32 count    4 u32 flags    8 u32 textLen    12 u32 dataLen
 * 16 f64[count]   connection ids (NaN: none)
 *    u32[count]   lengths in bytes
 *    u8[count]    kinds, padded with zeros to a multiple of 8
 *    text region  `[` + the JSON of every `msg`, joined by `,` + `]`
 *    data region  the payloads of all other events, one after the other
 * ```
 *
 * All messages cost one `JSON.parse`; nothing that is handed out refers to the batch's memory.
 */

import type { PresenceChange, SlowConsumer, WSEBatch, WSEEvent, WSEMessage } from './events.js';
import { LazyMessage } from './lazy.js';

const HEADER_BYTES = 16;
/** `[]` */
const EMPTY_TEXT = 2;
const FLAG_ASCII_TEXT = 1;
const FLAG_ASCII_DATA = 2;

const CONNECT = 0;
const AUTH_CONNECT = 1;
const MSG = 2;
const RAW = 3;
const BIN = 4;
const DISCONNECT = 5;
const PRESENCE_JOIN = 6;
const PRESENCE_LEAVE = 7;
const SLOW_CONSUMER = 8;

/**
 * The events of one batch, in order.
 *
 * @throws RangeError when the bytes are not a batch; that is a mismatch of addon and package, never a peer's doing.
 */
export function decodeBatch(bytes: Uint8Array): WSEBatch {
  return decode(bytes, parsed) as WSEBatch;
}

/**
 * The same with messages that are parsed when asked for.
 *
 * @throws RangeError as `decodeBatch`.
 */
export function decodeLazyBatch(bytes: Uint8Array): WSEBatch<LazyMessage> {
  return decode(bytes, unparsed) as WSEBatch<LazyMessage>;
}

/** Makes the messages of a text region: called for each in order, with its place in the region. */
type Messages = (index: number, start: number, end: number) => WSEMessage | LazyMessage | string;

/** One `JSON.parse` for all. */
function parsed(chars: Buffer, ascii: boolean): Messages {
  const messages = parseAll(chars.toString(ascii ? 'latin1' : 'utf8'));
  if (messages !== undefined) return (index) => messages[index] as WSEMessage;
  // Rust has validated this text; should JSON.parse ever disagree, one message must not cost the others.
  return (_, start, end) => parseOne(chars.toString('utf8', start, end));
}

/** The region is copied, because the batch's memory is used again. */
function unparsed(chars: Buffer): Messages {
  const region = Buffer.from(chars);
  return (_, start, end) => new LazyMessage(region, start, end);
}

function decode(bytes: Uint8Array, messagesOf: (chars: Buffer, ascii: boolean) => Messages): WSEBatch<WSEMessage | LazyMessage> {
  // Typed arrays want alignment; an allocation of our own has it.
  const source = (bytes.byteOffset & 7) === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset, byteLength } = source;
  if (byteLength < HEADER_BYTES) throw new RangeError('batch: shorter than its header');

  const header = new Uint32Array(buffer, byteOffset, 4);
  const count = header[0] as number;
  const flags = header[1] as number;
  const textLen = header[2] as number;
  const dataLen = header[3] as number;
  const lensAt = HEADER_BYTES + count * 8;
  const kindsAt = lensAt + count * 4;
  const textAt = (kindsAt + count + 7) & ~7;
  const dataAt = textAt + textLen;
  if (dataAt + dataLen !== byteLength) throw new RangeError('batch: its lengths do not add up');

  const conns = new Float64Array(buffer, byteOffset + HEADER_BYTES, count);
  const lens = new Uint32Array(buffer, byteOffset + lensAt, count);
  const kinds = new Uint8Array(buffer, byteOffset + kindsAt, count);
  const chars = Buffer.from(buffer, byteOffset, byteLength);

  const dataEncoding = (flags & FLAG_ASCII_DATA) !== 0 ? 'latin1' : 'utf8';
  const ascii = (flags & FLAG_ASCII_TEXT) !== 0;
  const messages = textLen <= EMPTY_TEXT ? undefined : messagesOf(chars.subarray(textAt, dataAt), ascii);

  const events = new Array<WSEEvent<WSEMessage | LazyMessage>>(count);
  let at = dataAt;
  let text = 1;
  let message = 0;
  for (let i = 0; i < count; i += 1) {
    const conn = conns[i] as number;
    const length = lens[i] as number;
    const kind = kinds[i];
    if (kind === MSG && messages !== undefined) {
      const made = messages(message, text, text + length);
      events[i] = typeof made === 'string' ? ['raw', conn, made] : ['msg', conn, made];
      message += 1;
      text += length + 1;
      continue;
    }
    const end = at + length;
    switch (kind) {
      case BIN:
        events[i] = ['bin', conn, new Uint8Array(source.subarray(at, end))];
        break;
      case RAW:
        events[i] = ['raw', conn, chars.toString(dataEncoding, at, end)];
        break;
      case DISCONNECT:
        events[i] = ['disconnect', conn, null];
        break;
      case AUTH_CONNECT:
        events[i] = ['auth_connect', conn, chars.toString(dataEncoding, at, end)];
        break;
      case CONNECT:
        events[i] = ['connect', conn, chars.toString(dataEncoding, at, end)];
        break;
      case SLOW_CONSUMER:
        events[i] = ['slow_consumer', conn, JSON.parse(chars.toString(dataEncoding, at, end)) as SlowConsumer];
        break;
      case PRESENCE_JOIN:
        events[i] = ['presence_join', null, JSON.parse(chars.toString(dataEncoding, at, end)) as PresenceChange];
        break;
      case PRESENCE_LEAVE:
        events[i] = ['presence_leave', null, JSON.parse(chars.toString(dataEncoding, at, end)) as PresenceChange];
        break;
      default:
        throw new RangeError(`batch: unknown event kind ${kind}`);
    }
    at = end;
  }
  return events;
}

function parseAll(text: string): WSEMessage[] | undefined {
  try {
    return JSON.parse(text) as WSEMessage[];
  } catch {
    return undefined;
  }
}

/** The message, or the text itself if it is none. */
function parseOne(text: string): WSEMessage | string {
  try {
    return JSON.parse(text) as WSEMessage;
  } catch {
    return text;
  }
}
