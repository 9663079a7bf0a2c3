/** From the user's options to the engine's: the only place where defaults live and where options are checked. */

import type { NativeJwtOptions, NativeOptions } from '../native/index.js';
import { readEndpoints } from './endpoints.js';
import { refuseForeign } from './foreign.js';
import { type HttpPart, readHttp } from './http.js';
import { readOutbox } from './outbox.js';
import { readPresence } from './presence.js';
import { type NumberRule, OptionReader } from './reader.js';
import { readRecovery } from './recovery.js';
import type { SecondsRule } from './seconds.js';
import { type Answering, readSubscriptions } from './subscriptions.js';
import { suggestOption } from './suggest.js';
import type { JwtAlgorithm, WSEServerOptions } from './types.js';

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** An HS256 key shorter than its hash can be guessed from one token. */
export const MIN_HS256_SECRET_BYTES = 32;
export const JWT_ALGORITHMS: readonly JwtAlgorithm[] = ['HS256', 'RS256', 'ES256'];

/** In a connection id the shard has 6 bits and the slot 21; one shard may have to hold every connection. */
const CONNECTIONS: NumberRule = { min: 1, max: 2 ** 21, integer: true };
const SHARDS: NumberRule = { min: 0, max: 64, integer: true };
const PORT: NumberRule = { min: 0, max: 65_535, integer: true };
const BACKLOG: NumberRule = { min: 1, max: 65_535, integer: true };
/** Requests of one facade that may wait for their answers, where nothing says how many. */
export const MAX_PENDING_REQUESTS = 1024;

const COUNT: NumberRule = { min: 1, max: 2 ** 24, integer: true };
/** Half of what a string of V8 can hold: a longer text would end the loop that reads it. */
const MESSAGE_BYTES: NumberRule = { min: 1, max: 2 ** 28, integer: true, unit: 'bytes' };
const QUEUE_BYTES: NumberRule = { min: KIB, max: 2 ** 32 - 1, integer: true, unit: 'bytes' };
const PING_INTERVAL: SecondsRule = { max: 3600 };
/** Longer than any interval of the pings. */
const IDLE_TIMEOUT: SecondsRule = { max: 7200 };
const TARGET_DELAY: SecondsRule = { max: 1 };
const HANDSHAKE_TIMEOUT: SecondsRule = { max: 600 };
const CLOSE_TIMEOUT: SecondsRule = { max: 600, zero: true };
const READER_TIMEOUT: SecondsRule = { max: 3600 };
/** A key that is withdrawn is used for so long at most. */
const KEYS_TTL: SecondsRule = { max: 86_400 };
const LEEWAY: SecondsRule = { max: 3600, zero: true, whole: true };

const EXPIRY_WARNING: SecondsRule = { max: 3600, zero: true, whole: true };
/** A year: whoever signs for longer has no use for a limit. */
const MAX_LIFETIME: SecondsRule = { max: 31_536_000, whole: true };

/** Where clients subscribe themselves, how much of the server one may occupy is not left to them. */
const ACL_SUBSCRIPTIONS = 1024;
const ACL_PATTERNS = 128;
const ACL_SUBSCRIPTION_BYTES = 256 * MIB;

const TOKEN_SOURCES = ['cookie', 'header', 'query', 'subprotocol'] as const;

/**
 * The engine's complete options.
 *
 * @throws WSEConfigError with the `path` of the first option that is wrong, unknown or not available yet.
 */
export function resolveOptions(options: WSEServerOptions): NativeOptions {
  return resolveAll(options).native;
}

/** What the engine is told, and what of the options stays in JavaScript. */
export interface Resolved {
  native: NativeOptions;
  /** Gets the requests that are no upgrades. */
  httpServer: HttpPart['server'];
  answering: Answering;
  /** Requests of the facade that may wait for their answers. */
  maxPendingRequests: number;
}

/**
 * As {@link resolveOptions}, with what the engine never sees.
 *
 * @throws as `resolveOptions`
 */
export function resolveAll(options: WSEServerOptions): Resolved {
  const reader = new OptionReader(options, '');
  refuseForeign(reader, 'server');

  if ((options as { idleTimeout?: unknown }).idleTimeout === 0) {
    reader.fail(
      'idleTimeout',
      'is never off, as 0 makes it elsewhere: a peer that is gone without a word is found by nothing else',
    );
  }
  const subscriptions = reader.oneOf('subscriptions', ['app', 'acl'], 'app');
  const resolved: NativeOptions = {
    host: reader.text('host', '127.0.0.1'),
    ...readPlace(reader),
    maxConnections: reader.number('maxConnections', CONNECTIONS, 1000),
    endpoints: readEndpoints(reader),
    allowedOrigins: readOrigins(reader),
    trustProxy: readTrustProxy(reader.groupOrNull('trustProxy')),
    subscriptions,
    authorize: null,
    snapshots: null,
    serverReady: reader.boolean('serverReady', true),
    jwt: readJwt(reader.groupOrNull('jwt')),
    tls: readTlsOrNull(reader.groupOrNull('tls')),
    http: null,
    recovery: readRecovery(reader),
    presence: readPresence(reader),
    outbox: readOutbox(reader),
    rateLimit: readRateLimit(reader.group('rateLimit')),
    maxMessageSize: reader.number('maxMessageSize', MESSAGE_BYTES, MIB),
    maxInboundQueueSize: reader.number('maxInboundQueueSize', COUNT, 131_072),
    maxInboundQueueBytes: reader.number('maxInboundQueueBytes', QUEUE_BYTES, 4 * MIB),
    inboundOverflow: reader.oneOf('inboundOverflow', ['pause', 'drop'], 'pause'),
    inbound: reader.oneOf('inbound', ['read', 'discard'], 'read'),
    readerTimeout: reader.seconds('readerTimeout', READER_TIMEOUT, 5),
    inboundCodecs: reader.boolean('inboundCodecs', true),
    maxJsonDepth: reader.number('maxJsonDepth', { min: 1, max: 128, integer: true }, 64),
    maxOutboundQueueBytes: reader.number('maxOutboundQueueBytes', QUEUE_BYTES, 16 * MIB),
    slowConsumer: reader.oneOf('slowConsumer', ['drop', 'close'], 'drop'),
    maxReassemblyBytes: reader.number('maxReassemblyBytes', QUEUE_BYTES, 64 * MIB),
    maxSubscriptionsPerConnection: reader.number(
      'maxSubscriptionsPerConnection',
      { ...COUNT, min: 0 },
      subscriptions === 'acl' ? ACL_SUBSCRIPTIONS : 0,
    ),
    maxPatternsPerConnection: reader.number(
      'maxPatternsPerConnection',
      { ...COUNT, min: 0 },
      subscriptions === 'acl' ? ACL_PATTERNS : 0,
    ),
    maxSubscriptionBytes: reader.number(
      'maxSubscriptionBytes',
      { ...QUEUE_BYTES, min: 0 },
      subscriptions === 'acl' ? ACL_SUBSCRIPTION_BYTES : 0,
    ),
    pingInterval: reader.seconds('pingInterval', PING_INTERVAL, 25),
    idleTimeout: reader.seconds('idleTimeout', IDLE_TIMEOUT, 60),
    ...readShards(reader),
    reusePort: reader.boolean('reusePort', false),
    handshake: readHandshake(reader.group('handshake')),
    askUpgrade: reader.hasFunction('onUpgrade'),
    publisher: readPublisher(reader.group('publisher')),
    closeTimeout: reader.seconds('closeTimeout', CLOSE_TIMEOUT, 5),
  };
  const { native: asked, answering } = readSubscriptions(reader, subscriptions === 'acl', resolved.idleTimeout);
  if (asked.snapshots?.provider === null) {
    const { recovery } = resolved;
    if (recovery === null) return reader.fail('snapshots', "'last' needs recovery, which keeps what is published");
    recovery.lastValues = ['*'];
  }
  Object.assign(resolved, asked);
  const maxPendingRequests = reader.number('maxPendingRequests', COUNT, MAX_PENDING_REQUESTS);
  const http = readHttp(reader);
  resolved.http = http.native;
  reader.done(suggestOption);

  if (resolved.pingInterval >= resolved.idleTimeout) {
    // Whoever gave the other one alone did not know that they belong together.
    if (!reader.has('pingInterval')) {
      reader.fail(
        'idleTimeout',
        `must be more than pingInterval (${resolved.pingInterval}): set that as well, not ${resolved.idleTimeout} alone`,
      );
    }
    reader.fail('pingInterval', `must be less than idleTimeout (${resolved.idleTimeout}), not ${resolved.pingInterval}`);
  }
  if (resolved.presence !== null && resolved.jwt === null && !resolved.askUpgrade) {
    reader.fail('presence', 'needs users: give jwt, or onUpgrade that names them');
  }
  if (resolved.jwt?.from.includes('subprotocol') && resolved.endpoints.some(({ protocols }) => protocols.length === 0)) {
    reader.fail('jwt.from', "'subprotocol' needs protocols: the token is never agreed on, and browsers give up where nothing is");
  }
  if (resolved.maxReassemblyBytes < resolved.maxMessageSize) {
    reader.fail('maxReassemblyBytes', `must hold one message (maxMessageSize, ${resolved.maxMessageSize})`);
  }
  if (http.server !== null && resolved.tls !== null) {
    reader.fail(
      'tls',
      'cannot be given with an HTTP server, which gets what it can read: let a proxy end TLS, or use attachTo()',
    );
  }
  return { native: resolved, httpServer: http.server, answering, maxPendingRequests };
}

/** Options that say something about the port of the engine's own, or its file. */
const OF_A_PLACE = ['host', 'reusePort', 'tls', 'backlog', 'http'] as const;
/** Those that say something about a port only. */
const OF_A_PORT = ['port', 'host', 'reusePort'] as const;

/** Where to listen, all null: nowhere, and then what is said about a place was not meant so. */
function readPlace(reader: OptionReader): Pick<NativeOptions, 'port' | 'unix' | 'backlog'> {
  const port = reader.numberOrNull('port', PORT);
  const unix = reader.textOrNull('unix');
  const isGiven = (name: string): boolean => (reader.any(name) ?? null) !== null;
  const other = OF_A_PORT.find((name) => unix !== null && isGiven(name));
  if (other !== undefined) reader.fail('unix', `is a file to listen in instead of a port: leave ${other} out`);
  if (unix !== null && process.platform === 'win32') reader.fail('unix', 'needs a system that has such sockets, not Windows');
  const idle = OF_A_PLACE.find((name) => port === null && unix === null && isGiven(name));
  if (idle !== undefined) {
    reader.fail(idle, 'says nothing without port: give that as well, or leave both to the HTTP server of attachTo()');
  }
  return { port, unix, backlog: reader.number('backlog', BACKLOG, 4096) };
}

function readOrigins(reader: OptionReader): string[] | null {
  const origins = reader.textsOrNull('allowedOrigins');
  origins?.forEach((origin, index) => {
    if (origin === '*') reader.fail(`allowedOrigins[${index}]`, 'any origin is let in when allowedOrigins is left out');
    if (origin.includes('*')) {
      reader.fail(
        `allowedOrigins[${index}]`,
        `is compared as it is written, and * stands for nothing: list each origin, not '${origin}'`,
      );
    }
    // With a path it would match no browser's header, ever.
    if (origin === 'null' || /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/i.test(origin)) return;
    reader.fail(`allowedOrigins[${index}]`, `must be an origin such as https://app.example.com, not '${origin}'`);
  });
  return origins;
}

function readJwt(reader: OptionReader | null): NativeJwtOptions | null {
  if (reader === null) return null;
  if (reader.has('privateKey')) {
    reader.fail('privateKey', 'this server only verifies; sign with encodeJwt(claims, privateKey, { algorithm })');
  }
  const asks = reader.hasFunction('keys');
  if (asks) refuseBesideKeys(reader);
  else if (reader.has('keysTtl')) reader.fail('keysTtl', 'is about keys, which is not there');
  const keysTtl = reader.seconds('keysTtl', KEYS_TTL, 600);
  const jwt: NativeJwtOptions = {
    secret: asks ? null : reader.key('secret'),
    keysTtl: asks ? keysTtl : null,
    algorithm: reader.oneOf('algorithm', JWT_ALGORITHMS, 'HS256'),
    issuer: reader.textOrNull('issuer'),
    audience: reader.textOrNull('audience'),
    from: readSources(reader),
    cookieName: reader.text('cookieName', 'access_token'),
    queryName: reader.text('queryName', 'access_token'),
    previousSecret: reader.keyOrNull('previousSecret'),
    keyId: reader.textOrNull('keyId'),
    leeway: reader.seconds('leeway', LEEWAY, 30),
    allowMissingClaims: reader.boolean('allowMissingClaims', false),
    closeOnExpiry: reader.boolean('closeOnExpiry', true),
    expiryWarning: reader.seconds('expiryWarning', EXPIRY_WARNING, 60),
    maxLifetime: (reader.any('maxLifetime') ?? null) === null ? null : reader.seconds('maxLifetime', MAX_LIFETIME, 0),
    maxRevocations: reader.number('maxRevocations', { ...COUNT, min: 0 }, 10_000),
  };
  reader.done(suggestOption);
  if (/[\s;=,]/.test(jwt.cookieName)) reader.fail('cookieName', `'${jwt.cookieName}' cannot be the name of a cookie`);
  // RFC 3986 §2.3: what needs no encoding in a query.
  if (!/^[\w.~-]+$/.test(jwt.queryName)) reader.fail('queryName', `'${jwt.queryName}' cannot be the name of a parameter`);
  for (const name of ['secret', 'previousSecret'] as const) {
    const bytes = jwt[name]?.byteLength ?? MIN_HS256_SECRET_BYTES;
    if (jwt.algorithm === 'HS256' && bytes < MIN_HS256_SECRET_BYTES) {
      reader.fail(name, `HS256 needs at least ${MIN_HS256_SECRET_BYTES} bytes, not ${bytes}`);
    }
  }
  return jwt;
}

/** What would be looked at by nobody, or what a name a token gives cannot be held to. */
function refuseBesideKeys(reader: OptionReader): void {
  for (const name of ['secret', 'previousSecret', 'keyId']) {
    if (reader.has(name)) reader.fail(name, 'has no meaning beside keys, which finds each key by its name');
  }
}

function readTrustProxy(reader: OptionReader | null): NativeOptions['trustProxy'] {
  if (reader === null) return null;
  const addresses = reader.textsOrNull('addresses') ?? [];
  if (addresses.length === 0) reader.fail('addresses', 'must name at least one proxy');
  const header = reader.oneOf('header', ['x-forwarded-for', 'forwarded', 'proxy-protocol'], 'x-forwarded-for');
  reader.done(suggestOption);
  return { addresses, header };
}

function readSources(reader: OptionReader): NativeJwtOptions['from'] {
  const from = reader.textsOrNull('from') ?? ['cookie', 'header'];
  if (from.length === 0) reader.fail('from', 'must name at least one place for a token');
  return from.map((given, index) => {
    if (from.indexOf(given) !== index) reader.fail(`from[${index}]`, `'${given}' is there already`);
    const source = TOKEN_SOURCES.find((known) => known === given);
    return (
      source ?? reader.fail(`from[${index}]`, `must be ${TOKEN_SOURCES.map((one) => `'${one}'`).join(' or ')}, not '${given}'`)
    );
  });
}

/**
 * A certificate chain and its key.
 *
 * @throws WSEConfigError naming the member that is wrong.
 */
export function readTls(reader: OptionReader): NonNullable<NativeOptions['tls']> {
  refuseForeign(reader, 'tls');
  const tls = { cert: reader.key('cert'), key: reader.key('key') };
  reader.done(suggestOption);
  return tls;
}

function readTlsOrNull(reader: OptionReader | null): NativeOptions['tls'] {
  return reader === null ? null : readTls(reader);
}

/** Which loop runs the engine, and how many shards it has. */
function readShards(reader: OptionReader): Pick<NativeOptions, 'driver' | 'shards'> {
  // Bun and Deno have functions of libuv's names that do not work.
  const possible = !('bun' in process.versions || 'deno' in process.versions);
  const shards = reader.numberOr('shards', SHARDS, ['inline'], 0);
  if (shards === 'inline') {
    if (!possible) reader.fail('shards', "'inline' needs Node: Bun and Deno have no event loop the engine could run on");
    return { driver: 'inline', shards: 1 };
  }
  return { driver: shards === 0 && possible ? 'auto' : 'threads', shards };
}

function readRateLimit(reader: OptionReader): NativeOptions['rateLimit'] {
  const rule: NumberRule = { min: 1, max: 2 ** 32 - 1 };
  const rateLimit = {
    capacity: reader.number('capacity', rule, 100_000),
    refill: reader.number('refill', { ...rule, min: 0 }, 10_000),
  };
  reader.done(suggestOption);
  return rateLimit;
}

function readHandshake(reader: OptionReader): NativeOptions['handshake'] {
  const timeout = reader.seconds('timeout', HANDSHAKE_TIMEOUT, 10);
  const handshake = {
    timeout,
    maxPending: reader.number('maxPending', COUNT, 4096),
    maxPendingPerAddress: reader.number('maxPendingPerAddress', COUNT, 1024),
    upgradeTimeout: reader.seconds('upgradeTimeout', HANDSHAKE_TIMEOUT, Math.min(5, timeout / 2)),
    maxWaiting: reader.number('maxWaiting', COUNT, 1024),
  };
  reader.done(suggestOption);
  if (handshake.upgradeTimeout >= timeout) {
    reader.fail('upgradeTimeout', `must be less than timeout (${timeout}), which ends the whole handshake`);
  }
  return handshake;
}

function readPublisher(reader: OptionReader): NativeOptions['publisher'] {
  const publisher = {
    targetDelay: reader.seconds('targetDelay', TARGET_DELAY, 0.01),
    highWaterMark: reader.number('highWaterMark', QUEUE_BYTES, 4 * MIB),
    hardLimit: reader.number('hardLimit', { ...QUEUE_BYTES, max: 2 * 1024 * MIB }, 64 * MIB),
  };
  reader.done(suggestOption);
  if (publisher.highWaterMark > publisher.hardLimit) {
    reader.fail('highWaterMark', `must not exceed hardLimit (${publisher.hardLimit}), not ${publisher.highWaterMark}`);
  }
  return publisher;
}
