/** The envelope of a published message, and the category rule every server of this protocol follows. */

import { toOptions, toText } from './arguments.js';
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

/** What may go with a published message. */
export interface PublishOptions {
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
export function buildEnvelope(type: string, payload: unknown, options: PublishOptions = {}): string {
  toText(type, 'type');
  toOptions(options, 'options');
  let text = `{"c":"${categoryOf(type)}","t":${JSON.stringify(type)},"p":${toJson(payload, 'payload')}`;
  if (options.id !== undefined) text += `,"id":${JSON.stringify(toText(options.id, 'id'))}`;
  if (options.ts !== undefined) {
    const ts = options.ts instanceof Date ? options.ts.toISOString() : toText(options.ts, 'ts');
    text += `,"ts":${JSON.stringify(ts)}`;
  }
  return `${text},"v":1}`;
}
