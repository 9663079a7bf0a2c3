/** Close codes as advice: what a client does next. Never decides how long to wait. */

/**
 * What to do after a connection ended: come back at once but for jitter, come back with the usual delay, get a new token first, come
 * back late, or stay away.
 */
export type CloseClass = 'retry-now' | 'retry' | 'refresh' | 'backoff' | 'stop';

/**
 * The class of a close code. 4300 and 1012 are restarts and kicks, 4401 is a token that no longer counts, 4403 a refusal, 4429 and
 * 1013 a server that has too much. Every other code is `retry`: 1000, 1001 and an empty Close too, since published servers send those when they restart.
 */
export const closeClass = (code: number): CloseClass =>
  code === 4300 || code === 1012
    ? 'retry-now'
    : code === 4401
      ? 'refresh'
      : code === 4403
        ? 'stop'
        : code === 4429 || code === 1013
          ? 'backoff'
          : 'retry';
