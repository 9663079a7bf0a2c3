import { describe, expect, it } from 'vitest';
import { WSEConfigError } from '../../src/errors.js';
import { refuseForeign } from '../../src/options/foreign.js';
import { OptionReader } from '../../src/options/reader.js';
import { resolveOptions } from '../../src/options/resolve.js';
import type { WSEServerOptions } from '../../src/options/types.js';

const SECRET = 'x'.repeat(32);

/** One row per option: its path, what is accepted, what is not. */
const TABLE: [path: string, good: unknown[], bad: unknown[]][] = [
  ['host', ['::1', 'localhost'], ['', 1, null, {}]],
  ['port', [0, 65_535, null, undefined], [-1, 65_536, 1.5, '80', Number.NaN]],
  ['maxConnections', [1, 2 ** 21], [0, 2 ** 21 + 1, 1.5, '1', Infinity]],
  ['path', ['/ws', '/', null], ['ws', '/ws?x', '', 7, '/a b']],
  ['paths', [{ '/ws': {} }, { '/a': {}, '/b': { protocol: 'raw' } }, null], ['/ws', [], ['/ws'], {}, { '/ws': undefined }, 7]],
  ['protocol', ['wse', 'raw'], ['RAW', 'chat.v1', ['raw'], null, 1]],
  ['protocols', [['chat.v1', "a!#$%&'*+-.^_`|~Z9"], [], null], ['chat.v1', {}, 7]],
  ['protocols[0]', [], []],
  ['requireProtocol', [false], ['yes', 1, null, true]],
  ['allowedOrigins', [['https://a.example', 'http://localhost:3000', 'null'], [], null], ['https://a.example', [1], {}]],
  ['allowedOrigins[1]', [], []],
  ['trustProxy', [null], [true, 'loopback', 1, []]],
  ['trustProxy.addresses', [['127.0.0.1', '10.0.0.0/8', '::1']], [[], null, '127.0.0.1']],
  ['trustProxy.header', ['forwarded', 'x-forwarded-for', 'proxy-protocol'], ['x-real-ip', 1, null]],
  ['subscriptions', ['app', 'acl'], ['engine', 1, null]],
  ['serverReady', [true, false], ['yes', 1, null]],
  ['jwt', [null], ['secret', 1, []]],
  [
    'jwt.secret',
    [SECRET, new Uint8Array(32), new ArrayBuffer(40), new DataView(new ArrayBuffer(32))],
    ['short', '', 1, null, undefined, new Uint8Array(31)],
  ],
  ['jwt.algorithm', ['HS256', 'RS256', 'ES256'], ['none', 'hs256', 1, null]],
  ['jwt.issuer', ['me', null], ['', 1]],
  ['jwt.audience', ['you', null], ['', 1, ['a']]],
  ['jwt.from', [['query'], ['header', 'cookie'], null], [[], 'cookie', 1]],
  ['jwt.from[1]', [], []],
  ['jwt.queryName', ['token', 'a.b-c_~'], ['', 'a b', 'a&b', 'a=b', 1, null]],
  ['jwt.cookieName', ['token'], ['', 'a b', 'a;b', 1, null]],
  ['jwt.previousSecret', [SECRET, null], ['short', 1]],
  ['jwt.keyId', ['k1', null], ['', 1]],
  // Alone beside a secret, of which there is one here, neither has a meaning.
  ['jwt.keys', [null], ['url', {}]],
  ['jwt.keysTtl', [], [600, 0, '600']],
  ['jwt.privateKey', [], ['pem', new Uint8Array(3), null]],
  ['jwt.leeway', [0, 30, 3600], [-1, 0.5, '30', Infinity, null, 3601]],
  ['jwt.allowMissingClaims', [true], [1, null]],
  ['jwt.closeOnExpiry', [false], [0, null]],
  ['jwt.expiryWarning', [0, 60, 3600], [-1, 0.5, '60', null, 3601, 60_000]],
  ['jwt.maxLifetime', [null, 1, 3600, 31_536_000], [0, -1, 0.5, '3600', 31_536_001]],
  ['jwt.maxRevocations', [0, 10_000], [-1, 1.5, '1', 2 ** 24 + 1]],
  ['tls', [null], ['pem', 1, []]],
  ['tls.cert', ['pem', new Uint8Array(1)], ['', 1, null, undefined]],
  ['tls.key', ['pem', new Uint8Array(1)], ['', 1, null, undefined]],
  ['rateLimit', [{}], [1, null, []]],
  ['rateLimit.capacity', [1, 1e6], [0, -1, '1', null]],
  ['rateLimit.refill', [0, 0.5], [-1, '1', Number.NaN]],
  ['maxMessageSize', [1, 64 * 2 ** 20], [0, 2 ** 28 + 1, 2 ** 30, 1.5, '1']],
  ['maxInboundQueueSize', [1, 100], [0, 1.5, '1', null]],
  ['inboundOverflow', ['pause', 'drop'], ['close', 1]],
  ['inbound', ['read', 'discard'], ['drop', false]],
  ['readerTimeout', [0.5, 3600], [0, -1, '5', 3601]],
  ['inboundCodecs', [true, false], ['C', null]],
  ['maxJsonDepth', [1, 128], [0, 129, '64']],
  ['maxOutboundQueueBytes', [1024, 2 ** 32 - 1], [0, 1023, 1.5, '1', 2 ** 32]],
  ['maxInboundQueueBytes', [1024, 2 ** 32 - 1], [0, 1023, 1.5, '1', 2 ** 32]],
  ['maxReassemblyBytes', [2 ** 20, 2 ** 32 - 1], [0, 1023, 1.5, '1', 2 ** 32, 2 ** 20 - 1]],
  ['slowConsumer', ['drop', 'close'], ['pause', 1]],
  ['maxSubscriptionsPerConnection', [0, 10], [-1, 1.5, '1']],
  ['maxPatternsPerConnection', [0, 10], [-1, 1.5, '1']],
  ['maxSubscriptionBytes', [0, 1, 2 ** 32 - 1], [-1, 1.5, '1', 2 ** 32]],
  ['pingInterval', [0.1, 59], [0, -1, '25', 60, 61, 3601, Number.NaN]],
  ['idleTimeout', [26, 7200], [0, -1, '60', 7201, 25]],
  ['shards', [0, 1, 64, 'inline'], [-1, 65, 1.5, '2', 'outline']],
  ['reusePort', [true, false], [1, 'yes']],
  ['backlog', [1, 65_535], [0, 65_536, '1']],
  ['handshake', [{}], [1, null]],
  ['handshake.timeout', [0.5, 600], [0, -1, '10', 601]],
  ['handshake.maxPending', [1, 4096], [0, 1.5, '1']],
  ['handshake.maxPendingPerAddress', [1, 1024], [0, 1.5, '1']],
  ['handshake.upgradeTimeout', [0.5, 9.9], [0, -1, '5', 10]],
  ['handshake.maxWaiting', [1, 1024], [0, 1.5, '1']],
  ['onUpgrade', [null, () => undefined], ['f', {}, true]],
  // Without `subscriptions: 'acl'`, as here, neither has a meaning.
  ['authorize', [null], ['f', {}, true, () => true]],
  ['snapshots', [null], ['last', {}, true]],
  ['publisher', [{}], [1, null]],
  ['publisher.targetDelay', [0.001, 0.01, 1], [0, -1, '1', 10, Number.NaN]],
  ['publisher.highWaterMark', [1024, 64 * 2 ** 20], [0, 1023, '1', 64 * 2 ** 20 + 1]],
  ['publisher.hardLimit', [4 * 2 ** 20, 2 ** 31], [0, '1', 2 ** 31 + 1]],
  ['closeTimeout', [0, 600], [-1, '5', null, 601]],
];

/** Valid options with the value at `path` replaced. */
function withValue(path: string, value: unknown): WSEServerOptions {
  const options: Record<string, unknown> = { port: 0 };
  const [group, name] = path.split('.') as [string, string | undefined];
  if (name === undefined) options[group] = value;
  else {
    const base = { jwt: { secret: SECRET }, tls: { cert: 'c', key: 'k' }, trustProxy: { addresses: ['::1'] } }[group] ?? {};
    options[group] = { ...base, [name]: value };
  }
  return options as unknown as WSEServerOptions;
}

describe('without a port', () => {
  it.each([
    ['host', '0.0.0.0'],
    ['reusePort', true],
    ['tls', { cert: 'c', key: 'k' }],
    ['backlog', 10],
    ['http', { health: '/h' }],
  ])('%s says nothing and is refused', (path, value) => {
    for (const port of [null, undefined]) {
      const error = failure({ port, [path]: value });
      expect([error.code, error.path]).toEqual(['WSE_CONFIG_INVALID', path]);
      expect(error.message).toContain('port');
    }
    expect(resolveOptions({}).port).toBeNull();
  });

  it.each(['port', 'host', 'reusePort'])('a file is none, and stands alone: not with %s', (name) => {
    const value = { port: 0, host: '::1', reusePort: true }[name];
    expect(failure({ port: undefined, unix: '/tmp/x.sock', [name]: value })).toMatchObject({
      path: 'unix',
      message: `unix: is a file to listen in instead of a port: leave ${name} out`,
    });
    expect(resolveOptions({ unix: '/tmp/x.sock', port: null, host: undefined as never, http: { health: '/h' } })).toMatchObject({
      unix: '/tmp/x.sock',
      port: null,
    });
  });
});

function failure(options: unknown): WSEConfigError {
  try {
    resolveOptions(options as WSEServerOptions);
  } catch (error) {
    if (error instanceof WSEConfigError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(options)}`);
}

describe.each(TABLE)('%s', (path, good, bad) => {
  it('accepts what is right', () => {
    for (const value of good) {
      const options = withValue(path, value);
      if (path === 'jwt.algorithm') expect(() => resolveOptions(options), String(value)).not.toThrow();
      else resolveOptions(options);
    }
  });

  it('refuses what is wrong, naming the path', () => {
    for (const value of bad) {
      const error = failure(withValue(path, value));
      expect(error.path.replace(/\[\d+\]$/, ''), `${path} = ${String(value)}`).toBe(path);
      expect(error.code).toBe('WSE_CONFIG_INVALID');
      expect(error.message).toContain(path);
    }
  });
});

describe('resolveOptions', () => {
  it('has a row in the table for every option', () => {
    const resolved = resolveOptions({ port: 0, jwt: { secret: SECRET }, tls: { cert: 'c', key: 'k' } });
    const paths = Object.entries(resolved).flatMap(([name, value]) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? [name, ...Object.keys(value).map((inner) => `${name}.${inner}`)]
        : [name],
    );
    const rows = TABLE.map(([path]) => path);
    // What becomes the endpoints: path, paths, protocol, protocols, requireProtocol; a file stands instead of a port; http, presence
    // and recovery have tests of their own; onUpgrade does not cross.
    expect(paths.filter((path) => !rows.includes(path))).toEqual([
      'unix',
      'endpoints',
      'http',
      'recovery',
      'presence',
      'outbox',
      'outbox.maxStreams',
      'outbox.ttl',
      'driver',
      'askUpgrade',
    ]);
  });

  it('sets every field, with null for none', () => {
    expect(resolveOptions({ port: 5007 })).toEqual({
      authorize: null,
      snapshots: null,
      host: '127.0.0.1',
      port: 5007,
      unix: null,
      backlog: 4096,
      maxConnections: 1000,
      endpoints: [{ path: null, protocol: 'wse', protocols: [], requireProtocol: false }],
      allowedOrigins: null,
      trustProxy: null,
      subscriptions: 'app',
      serverReady: true,
      jwt: null,
      tls: null,
      http: null,
      presence: null,
      outbox: { maxStreams: 65_536, ttl: 86_400 },
      rateLimit: { capacity: 100_000, refill: 10_000 },
      recovery: null,
      maxMessageSize: 1_048_576,
      maxInboundQueueSize: 131_072,
      maxInboundQueueBytes: 4_194_304,
      inboundOverflow: 'pause',
      inbound: 'read',
      readerTimeout: 5,
      inboundCodecs: true,
      maxJsonDepth: 64,
      maxOutboundQueueBytes: 16_777_216,
      slowConsumer: 'drop',
      maxReassemblyBytes: 67_108_864,
      maxSubscriptionsPerConnection: 0,
      maxPatternsPerConnection: 0,
      maxSubscriptionBytes: 0,
      pingInterval: 25,
      idleTimeout: 60,
      driver: 'auto',
      shards: 0,
      reusePort: false,
      handshake: { timeout: 10, maxPending: 4096, maxPendingPerAddress: 1024, upgradeTimeout: 5, maxWaiting: 1024 },
      askUpgrade: false,
      publisher: { targetDelay: 0.01, highWaterMark: 4_194_304, hardLimit: 67_108_864 },
      closeTimeout: 5,
    });
  });

  it('makes an endpoint of each path, which inherits what it does not say', () => {
    const endpoints = (options: Partial<WSEServerOptions>) => resolveOptions({ port: 0, ...options }).endpoints;
    const wse = { protocol: 'wse', protocols: [], requireProtocol: false };
    expect(endpoints({ path: '/ws', protocol: 'raw' })).toEqual([{ ...wse, path: '/ws', protocol: 'raw' }]);
    expect(
      endpoints({
        protocols: ['a', 'b'],
        requireProtocol: true,
        paths: {
          '/ws': {},
          '/feed': { protocol: 'raw', protocols: ['c'] },
          '/open': { protocols: null, requireProtocol: false },
        },
      }),
    ).toEqual([
      { path: '/ws', protocol: 'wse', protocols: ['a', 'b'], requireProtocol: true },
      { path: '/feed', protocol: 'raw', protocols: ['c'], requireProtocol: true },
      { path: '/open', protocol: 'wse', protocols: [], requireProtocol: false },
    ]);
  });

  it.each<[object, string, string]>([
    [{ path: '/a', paths: { '/b': {} } }, 'paths', 'stands instead of path'],
    [{ paths: {} }, 'paths', 'at least one path'],
    [{ paths: { feed: {} } }, 'paths.feed', "must start with / and have no query, not 'feed'"],
    [{ paths: { '/a?b': {} } }, 'paths./a?b', 'no query'],
    [{ paths: { '/a': null } }, 'paths./a', 'must be an object'],
    [{ paths: { '/a': 'raw' } }, 'paths./a', 'must be an object'],
    [{ paths: { '/a': { protocol: 'ws' } } }, 'paths./a.protocol', "must be 'wse' or 'raw', not 'ws'"],
    [{ paths: { '/a': { protocols: ['x', 'x'] } } }, 'paths./a.protocols[1]', "'x' is there already"],
    [{ paths: { '/a': { requireProtocol: true } } }, 'paths./a.requireProtocol', 'needs protocols'],
    [{ requireProtocol: true }, 'requireProtocol', 'needs protocols'],
    [{ requireProtocol: true, protocols: ['x'], paths: { '/a': { protocols: [] } } }, 'paths./a.requireProtocol', 'needs'],
    [{ protocols: ['a b'] }, 'protocols[0]', "must be a token such as chat.v1, not 'a b'"],
    [{ protocols: ['a', 'b,c'] }, 'protocols[1]', 'must be a token'],
    [{ protocols: ['a\r\nX: y'] }, 'protocols[0]', 'must be a token'],
    [{ protocols: ['a\n'] }, 'protocols[0]', 'must be a token'],
    [{ protocols: ['é'] }, 'protocols[0]', 'must be a token'],
    [{ protocols: [''] }, 'protocols[0]', 'must be a non-empty string'],
    [{ protocols: ['a', 'b', 'a'] }, 'protocols[2]', "'a' is there already"],
  ])('refuses %j', (options, path, message) => {
    const error = failure({ port: 0, ...options });
    expect([error.code, error.path]).toEqual(['WSE_CONFIG_INVALID', path]);
    expect(error.message).toContain(message);
  });

  it('knows the names within a path', () => {
    const error = failure({ port: 0, paths: { '/a': { protocl: 'raw' } } });
    expect([error.code, error.path]).toEqual(['WSE_CONFIG_UNKNOWN', 'paths./a.protocl']);
    expect(error.message).toContain('did you mean protocol?');
  });

  it('bounds what clients subscribe where they do so themselves', () => {
    expect(resolveOptions({ port: 0, subscriptions: 'acl' })).toMatchObject({
      maxSubscriptionsPerConnection: 1024,
      maxPatternsPerConnection: 128,
      maxSubscriptionBytes: 268_435_456,
    });
    expect(resolveOptions({ port: 0, subscriptions: 'acl', maxPatternsPerConnection: 0 }).maxPatternsPerConnection).toBe(0);
  });

  it('fills in the token options', () => {
    expect(resolveOptions({ port: 0, jwt: { secret: SECRET } }).jwt).toEqual({
      secret: new TextEncoder().encode(SECRET),
      keysTtl: null,
      algorithm: 'HS256',
      issuer: null,
      audience: null,
      from: ['cookie', 'header'],
      cookieName: 'access_token',
      queryName: 'access_token',
      previousSecret: null,
      keyId: null,
      leeway: 30,
      allowMissingClaims: false,
      closeOnExpiry: true,
      expiryWarning: 60,
      maxLifetime: null,
      maxRevocations: 10_000,
    });
  });

  it('takes only the bytes a view covers, and a copy of them', () => {
    const whole = new Uint8Array(64).fill(1);
    const secret = whole.subarray(8, 40);
    const { jwt } = resolveOptions({ port: 0, jwt: { secret } });
    whole.fill(9);
    expect(jwt?.secret).toEqual(new Uint8Array(32).fill(1));
  });

  it('lets other algorithms have a short key', () => {
    expect(resolveOptions({ port: 0, jwt: { secret: 'pem', algorithm: 'ES256' } }).jwt?.algorithm).toBe('ES256');
  });

  it.each([
    [{ pingInterval: 25_000 }, 'pingInterval', 25],
    [{ pingInterval: 1000, idleTimeout: 60_000 }, 'idleTimeout', 60],
    [{ idleTimeout: 90_500 }, 'idleTimeout', 90.5],
    [{ closeTimeout: 1000 }, 'closeTimeout', 1],
    [{ handshake: { timeout: 5000 } }, 'handshake.timeout', 5],
    [{ jwt: { secret: SECRET, leeway: 30_000 } }, 'jwt.leeway', 30],
  ])('takes %o for milliseconds and says what was meant', (options, path, seconds) => {
    const error = failure({ port: 0, ...options });
    expect([error.code, error.path]).toEqual(['WSE_CONFIG_INVALID', path]);
    expect(error.message).toBe(`${path}: ${seconds * 1000} looks like milliseconds; times are in seconds: ${seconds}`);
  });

  it.each([
    [
      { jwt: { secret: SECRET, leeway: 30_500 } },
      'jwt.leeway: must be a whole number of seconds from 0 to 3600, not the number 30500',
    ],
    [{ pingInterval: 1e9 }, 'pingInterval: must be a number of seconds above 0 and at most 3600, not the number 1000000000'],
    [{ idleTimeout: Infinity }, 'idleTimeout: must be a number of seconds above 0 and at most 7200, not the number Infinity'],
  ])('guesses nothing about %o', (options, message) => {
    expect(failure({ port: 0, ...options }).message).toBe(message);
  });

  it('says who signs, when given a private key', () => {
    const error = failure({ port: 0, jwt: { secret: 'pem', algorithm: 'ES256', privateKey: 'pem' } });
    expect([error.code, error.path]).toEqual(['WSE_CONFIG_INVALID', 'jwt.privateKey']);
    expect(error.message).toContain('this server only verifies; sign with encodeJwt(claims, privateKey');
  });

  it('treats undefined as absent', () => {
    const options = { port: 0, host: undefined, jwt: undefined, rateLimit: undefined, recovery: undefined };
    expect(resolveOptions(options as unknown as WSEServerOptions).host).toBe('127.0.0.1');
  });

  it.each([undefined, null, 1, 'x', [], new Uint8Array(1)])('refuses %s instead of options', (value) => {
    expect(failure(value).path).toBe('');
  });

  it('reads what is to be recovered', () => {
    for (const off of [null, false]) expect(resolveOptions({ port: 0, recovery: off }).recovery).toBeNull();
    const whole = { bufferSize: 128, ttl: 300, maxMessages: 500, memoryBudget: 256 * 2 ** 20, rules: [] };
    for (const on of [true, {}]) expect(resolveOptions({ port: 0, recovery: on }).recovery).toMatchObject(whole);
    const topics = { 'orders:*': { bufferSize: 1000 }, 'cursor:*': false, 'last:*': { ttl: 0 } } as const;
    const given = resolveOptions({ port: 0, recovery: { bufferSize: 16, ttl: 5, topics } }).recovery;
    expect(given?.rules).toEqual([
      { topics: 'orders:*', bufferSize: 1000, ttl: 5 },
      { topics: 'cursor:*', bufferSize: null, ttl: null },
      { topics: 'last:*', bufferSize: 16, ttl: null },
    ]);
    for (const [recovery, path] of [
      [1, 'recovery'],
      [[], 'recovery'],
      [{ bufferSize: 0 }, 'recovery.bufferSize'],
      [{ bufferSize: 1.5 }, 'recovery.bufferSize'],
      [{ ttl: -1 }, 'recovery.ttl'],
      [{ ttl: 300_000 }, 'recovery.ttl'],
      [{ size: 1 }, 'recovery.size'],
      [{ memoryBudget: 1 }, 'recovery.memoryBudget'],
      [{ topics: ['a'] }, 'recovery.topics'],
      [{ topics: { a: true } }, 'recovery.topics.a'],
      [{ topics: { a: { ttl: 'x' } } }, 'recovery.topics.a.ttl'],
      [{ topics: { ['x'.repeat(1025)]: false } }, `recovery.topics.${'x'.repeat(1025)}`],
    ] as const) {
      expect(failure({ port: 0, recovery }).path).toBe(path);
    }
  });

  it('reads outbox as a switch or as limits', () => {
    const read = (outbox: unknown) => resolveOptions({ port: 0, outbox } as WSEServerOptions).outbox;
    expect(read(false)).toBeNull();
    for (const on of [undefined, null, true, {}]) expect(read(on)).toEqual({ maxStreams: 65_536, ttl: 86_400 });
    expect(read({ maxStreams: 10, ttl: 0.5 })).toEqual({ maxStreams: 10, ttl: 0.5 });
    for (const [outbox, path] of [
      [{ maxStreams: 0 }, 'outbox.maxStreams'],
      [{ ttl: 0 }, 'outbox.ttl'],
      [{ ttl: 86_400_000 }, 'outbox.ttl'],
      [{ maxSize: 1 }, 'outbox.maxSize'],
      ['on', 'outbox'],
    ] as const) {
      expect(failure({ port: 0, outbox }).path).toBe(path);
    }
  });

  it('reads presence as a switch or as limits', () => {
    const jwt = { secret: SECRET };
    const read = (presence: unknown) => resolveOptions({ port: 0, jwt, presence } as WSEServerOptions).presence;
    expect([read(undefined), read(null), read(false)]).toEqual([null, null, null]);
    expect(read(true)).toEqual({ maxDataSize: 4096, maxMembers: 0, grace: 0 });
    expect(read({ maxDataSize: 100, maxMembers: 5, grace: 1.5 })).toEqual({ maxDataSize: 100, maxMembers: 5, grace: 1.5 });
    expect(resolveOptions({ port: 0, presence: true, onUpgrade: () => {} }).presence).not.toBeNull();
    for (const [presence, path] of [
      [{ maxDataSize: 1 }, 'presence.maxDataSize'],
      [{ maxDataSize: 2 ** 20 + 1 }, 'presence.maxDataSize'],
      [{ maxMembers: -1 }, 'presence.maxMembers'],
      [{ grace: 3601 }, 'presence.grace'],
      [{ graze: 1 }, 'presence.graze'],
      [1, 'presence'],
      ['on', 'presence'],
    ] as const) {
      expect(failure({ port: 0, jwt, presence }).path).toBe(path);
    }
    expect(failure({ port: 0, presence: true }).message).toBe('presence: needs users: give jwt, or onUpgrade that names them');
    expect(failure({ port: 0, jwt, presence_max_members: 1 }).message).toContain('did you mean presence.maxMembers?');
  });

  it.each([
    [{ port: 0, prot: 1 }, 'prot', 'port'],
    [{ port: 0, maxConections: 1 }, 'maxConections', 'maxConnections'],
    [{ port: 0, max_connections: 1 }, 'max_connections', 'maxConnections'],
    [{ port: 0, jwt_secret: 'x' }, 'jwt_secret', 'jwt.secret'],
    [{ port: 0, jwt_cookie_name: 'x' }, 'jwt_cookie_name', 'jwt.cookieName'],
    [{ port: 0, rate_limit_capacity: 1 }, 'rate_limit_capacity', 'rateLimit.capacity'],
    [{ port: 0, jwt: { secret: SECRET, algoritm: 'HS256' } }, 'jwt.algoritm', 'algorithm'],
    [{ port: 0, publisher: { hardlimit: 1 } }, 'publisher.hardlimit', 'hardLimit'],
  ])('suggests a name for %o', (options, path, suggestion) => {
    const error = failure(options);
    expect([error.code, error.path]).toEqual(['WSE_CONFIG_UNKNOWN', path]);
    expect(error.message).toContain(`did you mean ${suggestion}?`);
  });

  it.each([
    ['maxPayload', 'maxMessageSize'],
    ['maxPayloadLength', 'maxMessageSize'],
    ['maxHttpBufferSize', 'maxMessageSize'],
    ['perMessageDeflate', 'permessage-deflate is never negotiated'],
    ['compression', 'permessage-deflate is never negotiated'],
    ['server', 'attachTo(httpServer)'],
    ['noServer', 'handleUpgrade(request, socket, head)'],
    ['verifyClient', 'allowedOrigins and jwt'],
    ['cors', 'allowedOrigins'],
    ['pingTimeout', 'idleTimeout'],
    ['transports', 'one transport'],
    ['maxBackpressure', 'maxOutboundQueueBytes'],
    ['backpressureLimit', 'maxOutboundQueueBytes'],
    ['closeOnBackpressureLimit', 'slowConsumer'],
    ['sendPingsAutomatically', 'pingInterval'],
    ['cert_file_name', 'tls: { cert, key }'],
    ['publishToSelf', 'except'],
    ['hostname', 'host'],
  ])('says what stands here for %s of another server, whatever else is missing', (name, ours) => {
    for (const options of [{ [name]: 1 }, { port: 0, [name]: {} }, { port: 'x', [name]: null }]) {
      const error = failure(options);
      expect([error.code, error.path]).toEqual(['WSE_CONFIG_UNKNOWN', name]);
      expect(error.message).toContain(ours);
    }
    const within = failure({ port: 0, paths: { '/a': { [name]: true } } });
    expect([within.code, within.path]).toEqual(['WSE_CONFIG_UNKNOWN', `paths./a.${name}`]);
  });

  it('says so of options of TLS', () => {
    const error = failure({ port: 0, tls: { passphrase: 'x' } });
    expect([error.code, error.path]).toEqual(['WSE_CONFIG_UNKNOWN', 'tls.passphrase']);
    expect(error.message).toContain('must not be encrypted');
  });

  it('knows no name that is ours as another one', () => {
    const options = Object.fromEntries(TABLE.map(([path]) => [path.split('.')[0], undefined]));
    for (const name of Object.keys(options)) {
      expect(() => refuseForeign(new OptionReader({ [name]: 1 }, ''), 'server')).not.toThrow();
      expect(() => refuseForeign(new OptionReader({ cert: 'x', key: 'x' }, 'tls'), 'tls')).not.toThrow();
    }
  });

  it.each([
    [{ idleTimeout: 0 }, 'idleTimeout', 'never off'],
    [{ idleTimeout: 10 }, 'idleTimeout', 'must be more than pingInterval (25)'],
    [{ allowedOrigins: ['https://*.example.com'] }, 'allowedOrigins[0]', 'list each origin'],
    [{ allowedOrigins: ['https://a.example', 'https://b.example:*'] }, 'allowedOrigins[1]', 'list each origin'],
    [{ allowedOrigins: ['*'] }, 'allowedOrigins[0]', 'left out'],
    [{ jwt: { secret: SECRET, from: ['cookie', 'body'] } }, 'jwt.from[1]', "not 'body'"],
    [{ jwt: { secret: SECRET, from: ['query', 'query'] } }, 'jwt.from[1]', 'there already'],
    [{ jwt: { secret: SECRET, from: ['subprotocol'] } }, 'jwt.from', 'needs protocols'],
    [
      { jwt: { secret: SECRET, from: ['subprotocol'] }, protocols: ['a'], paths: { '/a': {}, '/b': { protocols: [] } } },
      'jwt.from',
      'needs protocols',
    ],
    [{ path: '/ws/*' }, 'path', '* stands for nothing'],
    [{ paths: { '/a': {}, '/b/*': {} } }, 'paths./b/*', '* stands for nothing'],
  ])('%j would not do what it says', (options, path, message) => {
    const error = failure({ port: 0, ...options });
    expect([error.code, error.path]).toEqual(['WSE_CONFIG_INVALID', path]);
    expect(error.message).toContain(message);
  });

  it('lists the names when none is near', () => {
    expect(failure({ port: 0, zzz: 1 }).message).toContain('known here: subscriptions, host, port');
  });

  it.each(['https://a.example/', 'https://a.example/path', 'a.example', '', '*'])('refuses the origin "%s"', (origin) => {
    expect(failure({ port: 0, allowedOrigins: ['https://ok.example', origin] }).path).toBe('allowedOrigins[1]');
  });

  it('never puts a secret into an error', () => {
    expect(failure({ port: 0, jwt: { secret: 'hunter2' } }).message).not.toContain('hunter2');
  });
});
