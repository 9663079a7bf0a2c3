/** Close codes as advice: what a client does next. Never decides how long to wait. */

/**
 * What to do after a connection ended: come back at once but for jitter, come back with the usual delay, get a new token first, come
 * back late, or stay away.
 */
export type CloseClass = 'retry-now' | 'retry' | 'refresh' | 'backoff' | 'stop';

const CLASSES: Readonly<Record<number, CloseClass>> = {
  1012: 'retry-now',
  1013: 'backoff',
  4300: 'retry-now',
  4401: 'refresh',
  4403: 'stop',
  4429: 'backoff',
};

/**
 * The class of a close code. 4300 and 1012 are restarts and kicks, 4401 is a token that no longer counts, 4403 a refusal, 4429 and
 * 1013 a server that has too much. Every other code is `retry`: 1000, 1001 and an empty Close too, since published servers send those when they restart.
 */
export const closeClass = (code: number): CloseClass => CLASSES[code] ?? 'retry';
