/** Parsed envelopes to events. Trusts no member's type; never copies keys it does not know, so `__proto__` is data like any other. */
import type { Category, WSEEvent } from './types.js';

/** What `JSON.parse` makes of an object. */
export type Raw = Record<string, unknown>;

/** Whether a parsed value is an object with members. */
export const isRaw = (value: unknown): value is Raw => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The event an envelope says; `prefix` is the category in front of it, if one was, and counts more than `c`. */
export const toEvent = (raw: Raw, prefix?: Category): WSEEvent => {
  const { id, seq, ts, v, pri, cid, sig, tp, e, o, c } = raw;
  const type = raw['t'] ?? raw['type'];
  const payload = 'p' in raw ? raw['p'] : raw['payload'];
  const event: Raw = {
    type: typeof type === 'string' ? type : '',
    // An object that is no envelope at all is what its sender wanted to say.
    payload: type === undefined && payload === undefined ? raw : payload,
  };
  if (typeof id === 'string') event['id'] = id;
  if (typeof seq === 'number') event['sequence'] = seq;
  if (typeof ts === 'string') event['timestamp'] = ts;
  if (typeof v === 'number') event['version'] = v;
  if (typeof pri === 'number') event['priority'] = pri;
  if (typeof cid === 'string') event['correlationId'] = cid;
  if (typeof sig === 'string') event['signature'] = sig;
  const category = prefix ?? c;
  if (category === 'U' || category === 'S' || category === 'WSE') event['category'] = category;
  const topic = tp ?? raw['topic'];
  if (typeof topic === 'string') event['topic'] = topic;
  if (typeof tp === 'string' && typeof e === 'string' && Number.isSafeInteger(o) && (o as number) >= 0) {
    event['epoch'] = e;
    event['offset'] = o;
  }
  return event as unknown as WSEEvent;
};

/**
 * What a `batch` holds, in order; undefined for every other event. The decoder takes apart what has no stamp. A batch that was published
 * to a topic keeps its stamp together until its turn has come: whoever delivers it takes it apart then.
 */
export const batched = (event: WSEEvent): readonly unknown[] | undefined => {
  const messages = event.type === 'batch' && isRaw(event.payload) && event.payload['messages'];
  return Array.isArray(messages) ? messages : undefined;
};
