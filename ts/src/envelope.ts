/** The envelope of a published message, and the category rule every server of this protocol follows. */

import { toFlag, toOptions, toText } from './arguments.js';
import { toJson } from './json.js';

const SYSTEM_TYPES: ReadonlySet<string> = new Set([
  'server_ready',
  'server_hello',
  'client_hello_ack',
  'connection_state_change',
  'subscription_update',
  'error',
  'pong',
  'PONG',
]);

/** The category of a message type: `S` snapshots, `WSE` the protocol's own, `U` everything else. */
export function categoryOf(type: string): 'S' | 'WSE' | 'U' {
  if (type.startsWith('snapshot_') || type.includes('_snapshot')) return 'S';
  return SYSTEM_TYPES.has(type) ? 'WSE' : 'U';
}

/** To whom a publication goes. */
export interface AudienceOptions {
  /** A connection that does not get it, such as the one it came from; one that is gone leaves nobody out. @default nobody */
  except?: number;
}

/** What may go with published bytes. */
export interface PublishBytesOptions extends AudienceOptions {
  /**
   * Put `T:` (54 3A), the length of the topic's name in UTF-8 as two bytes (big endian) and the name in front of the bytes, so
   * that a subscriber of a pattern learns on which topic they came. @default false
   */
  includeTopic?: boolean;
}

/** What may go with a published message. */
export interface PublishOptions extends AudienceOptions {
  /** Name the topic in the envelope, as its member `topic`: a subscriber of a pattern learns it from nothing else. @default false */
  includeTopic?: boolean;
  /** Clients drop a second message with the same id. @default none */
  id?: string;
  /** Time of the message; a `Date` becomes RFC 3339 text. @default none */
  ts?: string | Date;
}

/**
 * The text of one envelope, members in the order published servers use.
 *
 * @throws TypeError for a type, id or ts that is not text, or a payload without a JSON form.
 */
export function buildEnvelope(type: string, payload: unknown, options: PublishOptions = {}, topic = ''): string {
  toText(type, 'type');
  toOptions(options, 'options');
  let text = `{"c":"${categoryOf(type)}","t":${JSON.stringify(type)},"p":${toJson(payload, 'payload')}`;
  if (options.id !== undefined) text += `,"id":${JSON.stringify(toText(options.id, 'id'))}`;
  if (options.ts !== undefined) {
    const ts = options.ts instanceof Date ? options.ts.toISOString() : toText(options.ts, 'ts');
    text += `,"ts":${JSON.stringify(ts)}`;
  }
  if (options.includeTopic !== undefined && toFlag(options.includeTopic, 'includeTopic')) {
    text += `,"topic":${JSON.stringify(topic)}`;
  }
  return `${text},"v":1}`;
}

/** `T:`, the length of the topic's name as two bytes (big endian), the name in UTF-8, and `bytes`. */
export function withTopic(topic: string, bytes: Uint8Array): Uint8Array {
  const name = Buffer.from(topic);
  const head = Buffer.from([0x54, 0x3a, name.length >> 8, name.length & 0xff]);
  return Buffer.concat([head, name, bytes]);
}
