/** Messages to text, in the key order published clients use. Never compresses and never packs: servers read TEXT JSON. */
import type { Category, Outgoing } from './types.js';

// The types published clients file under the protocol, and ours.
const PROTOCOL =
  /^(client_hello|subscription_update|p[io]ng|auth_refresh|cancel|batch|debug_request|\w+_response|(config|config_update|encryption|key_rotation)_request)$/i;

/** The category a client's message has when its sender does not say one: by its type alone. */
export const category = (type: string): Category =>
  PROTOCOL.test(type) ? 'WSE' : /^(sync_|snapshot_)request$|^request_/.test(type) ? 'S' : 'U';

/**
 * The text of a message: `ob` first where there is one, then c, t, p, id, seq, ts, v, pri, cid, sig, rq, err; absent members are left
 * out. Throws what `JSON.stringify` throws: a `TypeError` for cycles and `bigint`.
 */
export const encode = (message: Outgoing): string => {
  const { type, payload = {} } = message;
  return JSON.stringify({
    ob: message.outbox,
    c: message.category ?? category(type),
    t: type,
    // A failed request has no answer to show.
    p: message.error ? undefined : payload,
    id: message.id,
    seq: message.sequence,
    ts: message.timestamp,
    v: 1,
    pri: message.priority,
    cid: message.correlationId,
    sig: message.signature,
    rq: message.request,
    err: message.error,
  });
};
