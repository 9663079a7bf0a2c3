/**
 * Decodes one flat batch of the engine into events. The layout (little endian, 8-byte aligned):
 *
 * ```
 *  0 u32 count    4 u32 flags    8 u32 textLen    12 u32 dataLen    16 u32 columnsLen    20 u32 longsLen
 * 24 f64[count]   connection ids (of kinds 6 and 7: nobody's)
 *    u32[count]   lengths in bytes
 *    u8[count]    kinds, padded with zeros to a multiple of 8
 *    text region  `[` + the JSON of every `msg` of kind 2 or 10, joined by `,` + `]`
 *    columns      empty, or `[` + per shape its template and its columns, joined by `,` + `]` (`columns.ts`)
 *    data region  the payloads of all other events, one after the other
 *    longs        the long strings of the messages of kind 10, then those of columns, in ASCII (`long.ts`)
 * ```
 *
 * Kind 16 + k is a `msg` as well: the next row of shape k. All messages cost one `JSON.parse` or two; nothing that is handed
 * out refers to the batch's memory.
 */

import type {
  Adoption,
  Disconnection,
  PresenceChange,
  SlowConsumer,
  SubscriptionChange,
  TokenExpiring,
  WSEBatch,
  WSEEvent,
  WSEMessage,
} from '../events.js';
import { readTables, type Table } from './columns.js';
import { LazyMessage } from './lazy.js';
import { LongStrings } from './long.js';
import type { BatchMemory } from './memory.js';

const HEADER_BYTES = 24;
/** Of one event before the regions. */
const EVENT_BYTES = 13;
/** `[]` */
const EMPTY_TEXT = 2;
const FLAG_ASCII_TEXT = 1;
const FLAG_ASCII_DATA = 2;
const FLAG_ASCII_COLUMNS = 4;

const CONNECT = 0;
const AUTH_CONNECT = 1;
const MSG = 2;
const RAW = 3;
const BIN = 4;
const DISCONNECT = 5;
const PRESENCE_JOIN = 6;
const PRESENCE_LEAVE = 7;
const SLOW_CONSUMER = 8;
const ADOPT = 9;
const LONG_MSG = 10;
const SUBSCRIBE = 11;
const UNSUBSCRIBE = 12;
const AUTH_EXPIRING = 13;
/** From here on: a row of a shape. */
const SHAPED = 16;

/**
 * The events of the batch in the first `length` bytes, in order.
 *
 * @throws RangeError when the bytes are not a batch; that is a mismatch of addon and package, never a peer's doing.
 */
export function decodeBatch(memory: BatchMemory, length: number): WSEBatch {
  return decode(memory, length, parsed) as WSEBatch;
}

/**
 * The same with messages that are parsed when asked for.
 *
 * @throws RangeError as `decodeBatch`.
 */
export function decodeLazyBatch(memory: BatchMemory, length: number): WSEBatch<LazyMessage> {
  return decode(memory, length, unparsed) as WSEBatch<LazyMessage>;
}

/** Makes the messages of a text region: called for each in order, with its place in the batch. */
type Messages = (index: number, start: number, end: number) => WSEMessage | LazyMessage | string;

/** One `JSON.parse` for all. */
function parsed(bytes: Buffer, start: number, end: number, encoding: BufferEncoding): Messages {
  const messages = parseAll(bytes.toString(encoding, start, end));
  if (messages !== undefined) return (index) => messages[index] as WSEMessage;
  // Rust has validated this text; should JSON.parse ever disagree, one message must not cost the others.
  return (_, from, to) => parseOne(bytes.toString('utf8', from, to));
}

/** The region is copied, because the batch's memory is used again. */
function unparsed(bytes: Buffer, start: number, end: number): Messages {
  const region = Buffer.from(bytes.subarray(start, end));
  return (_, from, to) => new LazyMessage(region, from - start, to - start);
}

function decode(
  { bytes, words, floats }: BatchMemory,
  byteLength: number,
  messagesOf: typeof parsed,
): WSEBatch<WSEMessage | LazyMessage> {
  if (byteLength < HEADER_BYTES || byteLength > bytes.length) throw new RangeError('batch: shorter than its header');
  const count = words[0] as number;
  const flags = words[1] as number;
  const textLen = words[2] as number;
  const dataLen = words[3] as number;
  const columnsLen = words[4] as number;
  const longsLen = words[5] as number;
  const kindsAt = HEADER_BYTES + count * (EVENT_BYTES - 1);
  const textAt = Math.ceil((kindsAt + count) / 8) * 8;
  const columnsAt = textAt + textLen;
  const dataAt = columnsAt + columnsLen;
  if (dataAt + dataLen + longsLen !== byteLength) throw new RangeError('batch: its lengths do not add up');

  const encoding = (flag: number): BufferEncoding => ((flags & flag) !== 0 ? 'latin1' : 'utf8');
  const dataEncoding = encoding(FLAG_ASCII_DATA);
  const messages = textLen <= EMPTY_TEXT ? undefined : messagesOf(bytes, textAt, columnsAt, encoding(FLAG_ASCII_TEXT));
  const longs = new LongStrings(bytes, dataAt + dataLen, byteLength);
  // No net as above: a shape's values have passed the same scanner, and their message's own text did not cross.
  const tables = columnsLen === 0 ? [] : readTables(bytes.toString(encoding(FLAG_ASCII_COLUMNS), columnsAt, dataAt), longs);

  const firstConn = HEADER_BYTES / 8;
  const firstLength = HEADER_BYTES / 4 + count * 2;
  const events = new Array<WSEEvent<WSEMessage | LazyMessage>>(count);
  let at = dataAt;
  let text = textAt + 1;
  let message = 0;
  for (let i = 0; i < count; i += 1) {
    const conn = floats[firstConn + i] as number;
    const kind = bytes[kindsAt + i] as number;
    if (kind >= SHAPED && kind < SHAPED + tables.length) {
      events[i] = ['msg', conn, (tables[kind - SHAPED] as Table).next()];
      continue;
    }
    const length = words[firstLength + i] as number;
    if ((kind === MSG || kind === LONG_MSG) && messages !== undefined) {
      let made = messages(message, text, text + length);
      if (kind === LONG_MSG) made = longs.restore(made as WSEMessage | string);
      events[i] = typeof made === 'string' ? ['raw', conn, made] : ['msg', conn, made];
      message += 1;
      text += length + 1;
      continue;
    }
    const end = at + length;
    switch (kind) {
      case BIN:
        events[i] = ['bin', conn, new Uint8Array(bytes.subarray(at, end))];
        break;
      case RAW:
        events[i] = ['raw', conn, bytes.toString(dataEncoding, at, end)];
        break;
      case DISCONNECT:
        events[i] = ['disconnect', conn, JSON.parse(bytes.toString(dataEncoding, at, end)) as Disconnection];
        break;
      case AUTH_CONNECT:
        events[i] = ['auth_connect', conn, bytes.toString(dataEncoding, at, end)];
        break;
      case CONNECT:
        events[i] = ['connect', conn, bytes.toString(dataEncoding, at, end)];
        break;
      case SLOW_CONSUMER:
        events[i] = ['slow_consumer', conn, JSON.parse(bytes.toString(dataEncoding, at, end)) as SlowConsumer];
        break;
      case SUBSCRIBE:
        events[i] = ['subscribe', conn, JSON.parse(bytes.toString(dataEncoding, at, end)) as SubscriptionChange];
        break;
      case UNSUBSCRIBE:
        events[i] = ['unsubscribe', conn, JSON.parse(bytes.toString(dataEncoding, at, end)) as SubscriptionChange];
        break;
      case ADOPT:
        events[i] = ['adopt', conn, adoption(bytes.toString(dataEncoding, at, end))];
        break;
      case AUTH_EXPIRING:
        events[i] = ['auth_expiring', conn, expiring(bytes.toString(dataEncoding, at, end))];
        break;
      case PRESENCE_JOIN:
        events[i] = ['presence_join', null, JSON.parse(bytes.toString(dataEncoding, at, end)) as PresenceChange];
        break;
      case PRESENCE_LEAVE:
        events[i] = ['presence_leave', null, JSON.parse(bytes.toString(dataEncoding, at, end)) as PresenceChange];
        break;
      default:
        throw new RangeError(`batch: unknown event kind ${kind}`);
    }
    at = end;
  }
  for (const table of tables) table.end();
  return events;
}

/** The time crosses as a number. */
function adoption(text: string): Adoption {
  const known = JSON.parse(text) as Omit<Adoption, 'connectedAt'> & { connectedAt: number };
  return { ...known, connectedAt: new Date(known.connectedAt) };
}

/** The time crosses in seconds. */
function expiring(text: string): TokenExpiring {
  const { expiresAt, expiresIn } = JSON.parse(text) as { expiresAt: number; expiresIn: number };
  return { expiresAt: new Date(expiresAt * 1000), expiresIn };
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
