/**
 * What happens to a connection, told to the window as `CustomEvent`s under the names published clients use, and one event for each message
 * under its type. Tells; acts on `wseRequestSnapshot` only.
 */

import type { Off, WSEClient, WSEEvent } from '../index.js';

interface Page {
  readonly CustomEvent?: new (name: string, init: { detail: unknown }) => object;
  dispatchEvent?(event: object): boolean;
  addEventListener?(name: string, fn: (event: { readonly detail?: unknown }) => void): void;
  removeEventListener?(name: string, fn: (event: never) => void): void;
}

type Raw = Readonly<Record<string, unknown>>;

/** Answers that go by their own name. */
const NAMED =
  /^(snapshot_complete|presence_(join|leave|update)|batch_message_result|(debug|sequence_stats|config|config_update|encryption|key_rotation|metrics|connection_state)_response)$/;
const camel = (type: string): string => type.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Tells the window of one client until the function it returns is called; does nothing where there is no window. */
export function watchWindow(client: WSEClient, page: Page = globalThis as Page): Off {
  const { CustomEvent } = page;
  if (!CustomEvent || !page.dispatchEvent || !page.addEventListener) return () => {};
  const tell = (name: string, detail: unknown): void => void page.dispatchEvent?.(new CustomEvent(name, { detail }));
  let grade = client.connectionQuality;

  const failed = (p: Raw): void => {
    const { code, message, recoverable = true, severity, timestamp = Date.now(), shouldReconnect } = p;
    const details = p['details'] as Raw | undefined;
    const known = { message, code, details };
    const retryAfter = p['retry_after'] ?? p['retryAfter'];
    const context = { messageType: 'error', messageId: undefined, sequence: undefined };
    if (code === 'AUTH_FAILED') tell('wseAuthFailed', known);
    if (/^RATE_LIMIT/.test(String(code))) tell('rateLimitExceeded', { ...details, message, retryAfter });
    if (code === 'SUBSCRIPTION_FAILED') {
      tell('subscriptionFailed', { ...details, message, topics: p['topics'] ?? details?.['topics'] });
    }
    if (code === 'INIT_ERROR') tell('wseInitializationError', { ...known, recoverable });
    if (code === 'SERVER_ERROR') tell('wseServerError', { ...known, recoverable });
    if (severity === 'critical' || recoverable === false) tell('criticalError', { code, message, shouldReconnect });
    tell('serverError', { ...known, recoverable, timestamp, severity, context });
  };
  const request = ({ detail }: { readonly detail?: unknown }): void => {
    const topics = (detail as { topics?: readonly string[] } | undefined)?.topics;
    client.requestSnapshot(topics).catch(() => {});
  };
  page.addEventListener('wseRequestSnapshot', request);

  const offs = [
    client.onAny(({ type, payload }: WSEEvent) => {
      if (type === 'error') failed((payload ?? {}) as Raw);
      else {
        if (NAMED.test(type)) tell(camel(type), payload);
        // No server shall click for its user: what the platform itself dispatches is left to it.
        if (type && !(`on${type.toLowerCase()}` in page)) tell(type, payload);
      }
    }),
    client.on('subscription_update', ({ payload }) => tell('subscriptionUpdate', payload)),
    client.watch('subscription', ({ failed: list, success }) => {
      if (success) return;
      tell('subscriptionFailed', { message: list[0]?.reason, topics: list.map(({ topic }) => topic), failed: list });
    }),
    client.watch('state', ({ state, previous, code, reason, attempt }) => {
      const { connectionId } = client.server;
      tell('connectionStateChange', { oldState: previous, newState: state, connectionId, timestamp: Date.now() });
      if (code === 4401) tell('authTokenExpired', { error: reason, attempts: attempt });
      if (state === 'error' && (code === 4401 || code === 4403)) tell('wseAuthFailed', { code, reason });
    }),
    client.watch('quality', (metrics) => {
      const { quality } = metrics;
      if (quality === grade) return;
      grade = quality;
      for (const name of ['connectionQualityChanged', 'wse:quality-change']) {
        tell(name, { quality, strategy: metrics.suggestions, metrics });
      }
    }),
    client.watch('lost', ({ topic }) => tell('wseRecoveryGap', { topic })),
    () => page.removeEventListener?.('wseRequestSnapshot', request),
  ];
  return () => offs.forEach((off) => off());
}
