/** HS256 for the peers that have no token check of their own: what an application beside them would do. */
import { createHmac, timingSafeEqual } from 'node:crypto';

const sign = (secret, text) => createHmac('sha256', secret).update(text).digest();

export function encodeToken(secret, claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${text}.${sign(secret, text).toString('base64url')}`;
}

/** The claims of the token in a Cookie header, or undefined when it is absent, forged or expired. */
export function authenticate(secret, cookies) {
  const token = /(?:^|;\s*)access_token=([^;]+)/.exec(cookies ?? '')?.[1];
  const dot = token?.lastIndexOf('.') ?? -1;
  if (dot < 0) return undefined;
  const given = Buffer.from(token.slice(dot + 1), 'base64url');
  const right = sign(secret, token.slice(0, dot));
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  const claims = JSON.parse(Buffer.from(token.slice(token.indexOf('.') + 1, dot), 'base64url').toString());
  return claims.exp > Date.now() / 1000 && typeof claims.sub === 'string' ? claims : undefined;
}
