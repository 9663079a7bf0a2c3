/** What a server says about subscriptions, in one form: published servers have several. Nothing here keeps or decides anything. */

import { isRaw } from '../protocol/event.js';
import type { SubscriptionResult } from './subscriptions.js';

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.map((item) => (typeof item === 'string' ? item : String(item?.topic))) : [];

/** The payload of a `subscription_update`. */
export function readReply(payload: unknown): SubscriptionResult {
  const p = isRaw(payload) ? payload : {};
  const reasons = (p['failed_reasons'] ?? []) as unknown[];
  const failed = strings(p['failed_topics']).map((topic, i) => ({ topic, reason: String(reasons[i] ?? 'unknown') }));
  return {
    action: p['action'] === 'unsubscribe' ? 'unsubscribe' : 'subscribe',
    success: failed.length === 0,
    topics: strings(p['success_topics'] ?? (p['success'] === false ? [] : p['topics'])),
    failed,
    recovered: p['recovered'] as boolean | undefined,
    presenceRefused: p['presence_refused'] as string | undefined,
  };
}
