/** Tokens: asked for at every attempt. Their exchange on an open connection (`exchange.ts`) is loaded when a server or the program wants it. */

import type { Outgoing, WSEEvent } from '../protocol/types.js';
import type { Clock } from './clock.js';
import { WSEError } from './errors.js';
import type { Exchange } from './exchange.js';
import { ignore, type Lazily } from './lazy.js';
import type { TokenRequest, TokenSource } from './options.js';
import { createWait } from './wait.js';

/** What it needs of a client. */
export interface TokensHost {
  readonly source: TokenSource | undefined;
  readonly clock: Clock;
  readonly timeout: number;
  /** Ended with the client. */
  readonly signal: AbortSignal;
  readonly lazily: Lazily;
  write(message: Outgoing): boolean;
  report(error: unknown): void;
}

/** The tokens of one client. */
export interface Tokens {
  /** One for an attempt; undefined: without. Rejects as the token function does. */
  get(reason: TokenRequest['reason']): Promise<string | undefined>;
  /** Gives the server this token, or what the function has now; resolves with its expiry, Unix seconds, or null where none closes. */
  exchange(token?: string): Promise<number | null>;
  /** What a server says of the token: `auth_expiring`, `auth_refreshed`, the error `AUTH_REFRESH_FAILED`. */
  auth(event: WSEEvent): void;
  /** The connection is gone: no exchange will be answered. */
  disconnected(): void;
}

/** Tokens from a source. */
export function createTokens({ source, clock, timeout, signal, lazily, write, report }: TokensHost): Tokens {
  let exchange: Exchange | undefined;
  /** Counts connections: what was said on one is nothing to the next. */
  let turn = 0;
  const renewable = typeof source === 'function';
  const get: Tokens['get'] = async (reason) => (renewable ? await source({ reason, signal }) : source) || undefined;
  const load = lazily(async () => {
    const { createExchange } = await import('./exchange.js');
    exchange = createExchange({ token: get, clock, timeout, write, report, shared: { createWait, WSEError } });
    return exchange;
  });
  return {
    get,
    exchange: async (token) => (await load()).exchange(token),
    auth(event) {
      const mine = turn;
      // There has to be another token to be had; the old one again would not live longer. Answers are for whoever has asked.
      if (event.type === 'auth_expiring' ? renewable : exchange) load().then((one) => mine === turn && one.hear(event), ignore);
    },
    disconnected() {
      turn += 1;
      exchange?.disconnected();
    },
  };
}
