/**
 * Tokens exchanged in band on an open connection before they expire (`auth_refresh`), when a server announces it or the program asks. Nothing is
 * stored.
 */

import type { Outgoing, WSEEvent } from '../protocol/types.js';
import type { Clock, TimerHandle } from './clock.js';
import type { TokenRequest } from './options.js';
import type { Shared } from './shared.js';
import type { Wait } from './wait.js';

/** A server that could not look at a token is asked again after so many ms, this often. */
const AGAIN_MS = 2_000;
const AGAIN = 3;

/** What it needs of a client. */
export interface ExchangeHost {
  /** A token; undefined: there is none. */
  token(reason: TokenRequest['reason']): Promise<string | undefined>;
  readonly clock: Clock;
  readonly timeout: number;
  write(message: Outgoing): boolean;
  report(error: unknown): void;
  readonly shared: Pick<Shared, 'createWait' | 'WSEError'>;
}

/** The exchanges of one client. */
export interface Exchange {
  /** Gives the server this token, or what the function has now; resolves with its expiry, Unix seconds, or null where none closes. */
  exchange(token?: string): Promise<number | null>;
  /** `auth_expiring`: another one is exchanged for it. `auth_refreshed`, and the error `AUTH_REFRESH_FAILED`: the answers. */
  hear(event: WSEEvent): void;
  /** The connection is gone: no exchange will be answered. */
  disconnected(): void;
}

/** No exchange is under way. */
export function createExchange({ token: get, clock, timeout, write, report, shared }: ExchangeHost): Exchange {
  const { createWait, WSEError } = shared;
  /** The exchange under way, from the call for its token on. */
  let open: Wait<number | null> | undefined;
  /** The same once the server has the token: what it says then is about this one. */
  let current: Wait<number | null> | undefined;
  let again: (() => void) | undefined;
  let later: TimerHandle | undefined;
  let soon: TimerHandle | undefined;
  let used = false;
  let exchanged = false;
  let tries = 0;
  let last: Promise<unknown> = Promise.resolve();

  const lost = (): void => open?.fail('WSE_CONNECTION_LOST', 'the connection ended before the exchange');
  /** `needed`: that there is none is an error; where a cookie counts it is not. */
  const exchange = (given?: string, needed = true): Promise<number | null> => {
    used = true;
    const run = (): Promise<number | null> => {
      // From here on: a token function that hangs must not hold up those behind it.
      const wait = createWait<number | null>(clock, 'no token, or no answer to it', timeout, undefined, () => {
        open = undefined;
        current = undefined;
      });
      open = wait;
      const give = (token: string | undefined): void => {
        if (open !== wait) return;
        if (!token) {
          if (needed) throw new WSEError('WSE_ARGUMENT', 'no token');
          wait.resolve(null);
          return;
        }
        current = wait;
        tries = 0;
        again = () => {
          wait.arm(timeout);
          if (current === wait && !write({ type: 'auth_refresh', payload: { token } })) lost();
        };
        again();
      };
      Promise.resolve(given ?? get('expiring'))
        .then(give)
        .catch(wait.reject);
      return wait.promise;
    };
    // One after the other: the server's answers do not say which token they are about.
    const result = last.then(run, run);
    last = result;
    return result;
  };
  return {
    exchange: (given) => exchange(given),
    hear({ type, payload }) {
      const p = (payload ?? {}) as Readonly<Record<string, unknown>>;
      if (type === 'auth_expiring') {
        // One that lives no longer than the warning is announced as soon as it is accepted: half of its life passes first.
        const life = exchanged ? Number(p['expires_in']) || 1 : 0;
        clock.clearTimeout(soon);
        soon = clock.setTimeout(() => exchange(undefined, false).catch(report), life * 500);
      } else if (type === 'auth_refreshed') {
        // Answers are for whoever has asked.
        exchanged = used;
        const expires = p['expires_at'];
        current?.resolve(typeof expires === 'number' ? expires : null);
      } else if (/^(busy|unavailable)$/.test(String(p['reason'])) && ++tries <= AGAIN) {
        current?.arm(undefined);
        if (again) later = clock.setTimeout(again, AGAIN_MS * tries);
      } else current?.fail('WSE_AUTH_FAILED', `the token was refused: ${p['reason']}`);
    },
    disconnected() {
      clock.clearTimeout(soon);
      clock.clearTimeout(later);
      lost();
    },
  };
}
