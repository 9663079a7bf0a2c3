// A JWKS decides which tokens are good: the key a token names is fetched from its issuer, and a new one needs no restart.

import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { encodeJwt, RustWSEServer } from 'wse-server';

// An issuer, in place of yours: two keys, and their public halves at an address (RFC 7517).
const pairs = ['spring', 'autumn'].map((kid) => ({ kid, ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) }));
const published = pairs.map(({ kid, publicKey }) => ({ kid, alg: 'ES256', use: 'sig', ...publicKey.export({ format: 'jwk' }) }));
const issuer = createServer((_, response) => response.end(JSON.stringify({ keys: published })));
await new Promise((resolve) => issuer.listen(0, '127.0.0.1', resolve));
const jwks = `http://127.0.0.1:${issuer.address().port}/.well-known/jwks.json`;

// All there is to it: the engine asks for a key it does not know, keeps it for keysTtl, and lets no flood of names through.
async function keys(kid) {
  const { keys } = await (await fetch(jwks, { signal: AbortSignal.timeout(4000) })).json();
  const jwk = keys.find((key) => key.kid === kid);
  return jwk ? createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) : null;
}

const server = new RustWSEServer({
  port: Number(process.env.PORT ?? 0),
  jwt: { algorithm: 'ES256', issuer: 'example', keys },
  allowedOrigins: ['http://localhost:8080'],
});
const { host, port } = await server.start();
const tokens = pairs.map(({ kid, privateKey }) => {
  const claims = { sub: `user of ${kid}`, iss: 'example', exp: Math.floor(Date.now() / 1000) + 3600 };
  return encodeJwt(claims, privateKey.export({ type: 'pkcs8', format: 'pem' }), { algorithm: 'ES256', keyId: kid });
});
console.log(JSON.stringify({ url: `ws://${host}:${port}`, tokens }));

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    issuer.close();
    issuer.closeAllConnections();
    server.stop();
  });
}

for await (const batch of server.batches()) {
  if (!server.isRunning()) break;
  for (const [type, conn, user] of batch) {
    if (type === 'auth_connect') server.sendEvent(conn, { t: 'welcome', p: { user } });
  }
}
