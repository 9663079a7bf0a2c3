/**
 * Tokens: asked for at every attempt, and exchanged in band on an open connection before they expire (`auth_refresh`). Nothing is stored
 * but a token that was given as a string.
 */

import type { Outgoing } from '../protocol/types.js';
import type { Clock, TimerHandle } from './clock.js';
import { WSEError } from './errors.js';
import type { TokenRequest, TokenSource } from './options.js';

/** A server that could not look at a token is asked again after so many ms, this often. */
const AGAIN_MS = 2_000;
const AGAIN = 3;

/** What it needs of a client. */
export interface TokensHost {
  readonly source: TokenSource | undefined;
  readonly clock: Clock;
  readonly timeout: number;
  /** Ended with the client. */
  readonly signal: AbortSignal;
  write(message: Outgoing): boolean;
}

/** The tokens of one client. */
export interface Tokens {
  /** Whether there can be another one than the last. */
  readonly renewable: boolean;
  /** One for an attempt; undefined: without. Rejects as the token function does. */
  get(reason: TokenRequest['reason']): Promise<string | undefined>;
  /** Gives the server this token, or what the function has now; resolves with its expiry, Unix seconds, or null where none closes. */
  exchange(token?: string): Promise<number | null>;
  /** `auth_refreshed`. */
  accepted(payload: unknown): void;
  /** `AUTH_REFRESH_FAILED`. */
  refused(payload: unknown): void;
  /** The connection is gone: no exchange will be answered. */
  disconnected(): void;
}

interface Exchange {
  readonly token: string;
  tries: number;
  timer: TimerHandle;
  resolve(expires: number | null): void;
  reject(error: WSEError): void;
}

/** Tokens from a source. */
export function createTokens({ source, clock, timeout, signal, write }: TokensHost): Tokens {
  let current: Exchange | undefined;

  const get: Tokens['get'] = async (reason) => {
    const token = typeof source === 'function' ? await source({ reason, signal }) : source;
    return token || undefined;
  };
  const settle = (error: WSEError | undefined, expires: number | null = null): void => {
    const exchange = current;
    if (exchange === undefined) return;
    current = undefined;
    clock.clearTimeout(exchange.timer);
    if (error === undefined) exchange.resolve(expires);
    else exchange.reject(error);
  };
  const lost = (): void => settle(new WSEError('WSE_CONNECTION_LOST', 'the connection ended before the token was exchanged'));
  const send = (exchange: Exchange): void => {
    exchange.timer = clock.setTimeout(() => settle(new WSEError('WSE_TIMEOUT', 'the token was not looked at')), timeout);
    if (!write({ type: 'auth_refresh', payload: { token: exchange.token } })) lost();
  };
  return {
    renewable: typeof source === 'function',
    get,
    async exchange(given) {
      const token = given ?? (await get('expiring'));
      if (token === undefined) throw new WSEError('WSE_ARGUMENT', 'no token to exchange');
      // One at a time per connection: the newer one counts.
      settle(new WSEError('WSE_ABORTED', 'another token was given'));
      return new Promise((resolve, reject) => {
        current = { token, tries: 0, timer: undefined, resolve, reject };
        send(current);
      });
    },
    accepted(payload) {
      const expires = (payload as { expires_at?: unknown } | null)?.expires_at;
      settle(undefined, typeof expires === 'number' ? expires : null);
    },
    refused(payload) {
      const reason = String((payload as { reason?: unknown } | null)?.reason);
      const exchange = current;
      if (exchange && (reason === 'busy' || reason === 'unavailable') && ++exchange.tries <= AGAIN) {
        clock.clearTimeout(exchange.timer);
        exchange.timer = clock.setTimeout(() => send(exchange), AGAIN_MS * exchange.tries);
      } else settle(new WSEError('WSE_AUTH_FAILED', `the token was refused: ${reason}`));
    },
    disconnected: lost,
  };
}
