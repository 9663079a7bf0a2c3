/**
 * Tokens: asked for at every attempt, and exchanged in band on an open connection before they expire (`auth_refresh`). Nothing is stored
 * but a token that was given as a string.
 */

import type { Outgoing } from '../protocol/types.js';
import type { Clock, TimerHandle } from './clock.js';
import { WSEError } from './errors.js';
import type { TokenRequest, TokenSource } from './options.js';
import { createWait, type Wait } from './wait.js';

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
  report(error: unknown): void;
}

/** The tokens of one client. */
export interface Tokens {
  /** Whether there can be another one than the last. */
  readonly renewable: boolean;
  /** One for an attempt; undefined: without. Rejects as the token function does. */
  get(reason: TokenRequest['reason']): Promise<string | undefined>;
  /** Gives the server this token, or what the function has now; resolves with its expiry, Unix seconds, or null where none closes. */
  exchange(token?: string): Promise<number | null>;
  /** `auth_expiring`: another one is exchanged for it, if there can be one. */
  expiring(payload: Readonly<Record<string, unknown>>): void;
  /** `auth_refreshed`. */
  accepted(payload: Readonly<Record<string, unknown>>): void;
  /** `AUTH_REFRESH_FAILED`. */
  refused(payload: Readonly<Record<string, unknown>>): void;
  /** The connection is gone: no exchange will be answered. */
  disconnected(): void;
}

/** Tokens from a source. */
export function createTokens({ source, clock, timeout, signal, write, report }: TokensHost): Tokens {
  let current: Wait<number | null> | undefined;
  let again: (() => void) | undefined;
  let soon: TimerHandle | undefined;
  let exchanged = false;
  let tries = 0;
  let last: Promise<unknown> = Promise.resolve();

  const get: Tokens['get'] = async (reason) =>
    (typeof source === 'function' ? await source({ reason, signal }) : source) || undefined;
  const lost = (): void => current?.fail('WSE_CONNECTION_LOST', 'the connection ended before the exchange');
  const renewable = typeof source === 'function';
  const tokens: Tokens = {
    renewable,
    get,
    expiring({ expires_in: seconds }) {
      if (!renewable) return;
      // One that lives no longer than the warning is announced as soon as it is accepted: half of its life passes first.
      const life = exchanged ? Number(seconds) || 1 : 0;
      clock.clearTimeout(soon);
      soon = clock.setTimeout(() => tokens.exchange().catch(report), life * 500);
    },
    exchange(given) {
      const run = async (): Promise<number | null> => {
        const token = given ?? (await get('expiring'));
        if (!token) throw new WSEError('WSE_ARGUMENT', 'no token');
        const wait = createWait<number | null>(clock, 'no answer to the token', timeout, undefined, () => {
          current = undefined;
        });
        current = wait;
        tries = 0;
        again = () => {
          wait.arm(timeout);
          if (current === wait && !write({ type: 'auth_refresh', payload: { token } })) lost();
        };
        again();
        return wait.promise;
      };
      // One after the other: the server's answers do not say which token they are about.
      const result = last.then(run, run);
      last = result;
      return result;
    },
    accepted({ expires_at: expires }) {
      exchanged = true;
      current?.resolve(typeof expires === 'number' ? expires : null);
    },
    refused({ reason }) {
      if (/^(busy|unavailable)$/.test(String(reason)) && ++tries <= AGAIN) {
        current?.arm(undefined);
        if (again) clock.setTimeout(again, AGAIN_MS * tries);
      } else current?.fail('WSE_AUTH_FAILED', `the token was refused: ${reason}`);
    },
    disconnected() {
      clock.clearTimeout(soon);
      lost();
    },
  };
  return tokens;
}
