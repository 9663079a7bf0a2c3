/** The tokens of open connections: given another one, or believed no more. */

import { toConn, toOptions, toText } from '../arguments.js';
import { describe } from '../describe.js';
import type { EngineHandle } from './engine-handle.js';

/** Largest number of seconds: what is above are milliseconds. That is in the year 5138. */
const MAX_SECONDS = 1e11;
/** Bytes of a token a name may be taken from. */
const MAX_NAME = 8192;

/** A token that was exchanged. */
export interface TokenRefreshed {
  /** When the connection is closed unless it is given another one, without the leeway; null with `jwt.closeOnExpiry: false`. */
  expiresAt: Date | null;
}

/** Which tokens {@link RustWSEServer.revoke} means: at least one of `sub` and `jti`; with both, those that fit both. */
export interface TokenRevocation {
  /** Those of this user. */
  sub?: string;
  /** The one with this id. */
  jti?: string;
  /**
   * Only those issued (`iat`) up to this time, as a Date or in seconds since 1970. A token without `iat` is always meant.
   * @default now; with `jti` no limit
   */
  before?: Date | number;
}

/** The calls of one facade about tokens. What each promises is said at the methods of `RustWSEServer`. */
export class TokenCalls {
  readonly #engine: EngineHandle;

  constructor(engine: EngineHandle) {
    this.#engine = engine;
  }

  async refresh(conn: number, token: string): Promise<TokenRefreshed | false> {
    toConn(conn);
    toText(token, 'token');
    const refreshed = await this.#engine.commandAsync((engine) => engine.refreshToken(conn, token));
    if (refreshed === null) return false;
    const at = refreshed.expiresAt ?? null;
    return { expiresAt: at === null ? null : new Date(at * 1000) };
  }

  revoke(revocation: TokenRevocation): number {
    const { sub, jti, before } = toOptions(revocation, 'revocation');
    const [user, id] = [toName(sub, 'sub'), toName(jti, 'jti')];
    if (user === null && id === null) throw new TypeError('revocation must have a sub or a jti');
    // A token has one id, whenever it was issued; a user has some that were issued a moment ago, and will have others.
    const until = before === undefined ? (id === null ? seconds(Date.now()) : null) : toSeconds(before);
    return this.#engine.command((engine) => engine.revoke(user, id, until));
  }
}

function toName(value: unknown, name: string): string | null {
  if (value === undefined || value === null) return null;
  const text = toText(value, `revocation.${name}`);
  if (text === '' || text.length > MAX_NAME) {
    throw new TypeError(`revocation.${name} must have 1 to ${MAX_NAME} characters, not ${text.length}`);
  }
  return text;
}

/** A time of issue as seconds; a fraction is the next second's, so that no token is missed. */
function toSeconds(value: unknown): number {
  const time = value instanceof Date ? value.getTime() / 1000 : value;
  if (typeof time === 'number' && time >= 0 && time <= MAX_SECONDS) return Math.ceil(time);
  const hint = typeof time === 'number' && time > MAX_SECONDS ? '; milliseconds are a Date' : '';
  throw new TypeError(`revocation.before must be a Date or seconds from 0 to ${MAX_SECONDS}, not ${shown(value)}${hint}`);
}

function shown(value: unknown): string {
  return typeof value === 'number' || value instanceof Date ? String(value) : describe(value);
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}
