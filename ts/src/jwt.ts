/** Signing and checking tokens, with the engine's own rules. */

import { toText } from './arguments.js';
import { describe } from './describe.js';
import { native } from './errors.js';
import type { JsonObject } from './events.js';
import { objectToJson } from './json.js';
import { loadNative } from './native/loader.js';
import { OptionReader } from './options/reader.js';
import { JWT_ALGORITHMS } from './options/resolve.js';
import { suggestOption } from './options/suggest.js';
import type { JwtAlgorithm, KeyMaterial } from './options/types.js';

/** The claims of a token; `exp` and a string `sub` are what a server asks for. */
export interface JwtClaims extends JsonObject {
  sub?: string;
  exp?: number;
  iat?: number;
  nbf?: number;
  iss?: string;
  aud?: string | string[];
}

/** How {@link encodeJwt} signs. */
export interface EncodeJwtOptions {
  /** @default 'HS256' */
  algorithm?: JwtAlgorithm;
  /** The `kid` of the header. @default none */
  keyId?: string | null;
}

/** What {@link decodeJwt} asks of a token. */
export interface DecodeJwtOptions {
  /** @default 'HS256' */
  algorithm?: JwtAlgorithm;
  /** @default not checked */
  issuer?: string | null;
  /** @default not checked */
  audience?: string | null;
  /** Tried when `secret` does not fit. @default none */
  previousSecret?: KeyMaterial | null;
  /** Required `kid`. @default not checked */
  keyId?: string | null;
}

/**
 * A signed token.
 *
 * @param secret HS256: at least 32 bytes; RS256, ES256: the private key as PEM
 * @throws TypeError when `claims` is not an object; WSEConfigError when an option or the key is wrong.
 */
export function encodeJwt(claims: JwtClaims, secret: KeyMaterial, options: EncodeJwtOptions = {}): string {
  const json = objectToJson(claims, 'claims');
  const reader = new OptionReader({ ...options, secret }, '');
  const key = reader.key('secret');
  const algorithm = reader.oneOf('algorithm', JWT_ALGORITHMS, 'HS256');
  const keyId = reader.textOrNull('keyId');
  reader.done(suggestOption);
  return native(() => loadNative().encodeJwt(json, key, algorithm, keyId));
}

/**
 * The claims of a token, or null when it is not valid: wrong signature, expired, another issuer, a key it does not fit …
 *
 * @param secret HS256: the shared secret; RS256, ES256: the public key as PEM
 * @throws TypeError when `token` is not text; WSEConfigError when an option is wrong.
 */
export function decodeJwt(token: string, secret: KeyMaterial, options: DecodeJwtOptions = {}): JwtClaims | null {
  toText(token, 'token');
  if (typeof options !== 'object' || options === null) throw new TypeError(`options must be an object, not ${describe(options)}`);
  const reader = new OptionReader({ ...options, secret }, '');
  const checked = {
    secret: reader.key('secret'),
    algorithm: reader.oneOf('algorithm', JWT_ALGORITHMS, 'HS256'),
    issuer: reader.textOrNull('issuer'),
    audience: reader.textOrNull('audience'),
    previousSecret: reader.keyOrNull('previousSecret'),
    keyId: reader.textOrNull('keyId'),
  };
  reader.done(suggestOption);
  const claims = native(() => loadNative().decodeJwt(token, checked));
  return claims === null ? null : (JSON.parse(claims) as JwtClaims);
}
