import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeJwt, encodeJwt, type JwtClaims, WSEConfigError, WSEError } from '../../src/index.js';
import { startServer, waitUntil } from '../support/server.js';
import { Client, heardSoFar, join, QUIET } from './client.js';

const GAUGES = ['wse_connections', 'wse_inbound_queue_depth', 'wse_uptime_seconds', 'wse_topics', 'wse_cluster_peers'];
const COUNTERS = [
  'wse_messages_received_total',
  'wse_messages_sent_total',
  'wse_connections_accepted_total',
  'wse_connections_rejected_total',
  'wse_bytes_received_total',
  'wse_bytes_sent_total',
  'wse_auth_failures_total',
  'wse_rate_limited_total',
  'wse_inbound_dropped_total',
  'wse_slow_consumer_drops_total',
  'wse_cluster_messages_sent_total',
  'wse_cluster_messages_delivered_total',
  'wse_cluster_messages_dropped_total',
  'wse_cluster_bytes_sent_total',
  'wse_cluster_bytes_received_total',
  'wse_cluster_reconnects_total',
  'wse_topic_messages_total',
];
const HISTOGRAMS = ['wse_handshake_seconds', 'wse_queue_wait_seconds', 'wse_fan_out_seconds'];
/** Only with a feature that is not built yet. */
const CONDITIONAL = ['wse_recovery_topics', 'wse_recovery_bytes', 'wse_presence_topics', 'wse_presence_users'];

describe('prometheusMetrics', () => {
  it('has every published name with HELP and TYPE, and counts', async () => {
    const on = await startServer({ ...QUIET });
    const { client, conn } = await join(on);
    const topic = 'a"b\\c';
    on.server.subscribeConnection(conn, [topic]);
    on.server.broadcast(topic, 'x');
    on.server.broadcast(topic, 'y');
    client.send('hello');
    await on.take('raw');
    await heardSoFar(on, client, conn);
    // Counted once they are written.
    await waitUntil(() => on.metric('wse_messages_sent_total') === 3, 'count of what was sent');
    const text = on.server.prometheusMetrics();
    const lines = text.split('\n');
    for (const [type, names] of [
      ['gauge', GAUGES],
      ['counter', COUNTERS],
      ['histogram', HISTOGRAMS],
    ] as const) {
      for (const name of names) {
        expect(lines.filter((line) => line.startsWith(`# HELP ${name} `))).toHaveLength(1);
        expect(lines.filter((line) => line === `# TYPE ${name} ${type}`)).toHaveLength(1);
      }
    }
    for (const name of CONDITIONAL) expect(text).not.toContain(name);
    for (const name of HISTOGRAMS) {
      const count = new RegExp(`^${name}_count (\\d+)$`, 'm').exec(text)?.[1];
      expect(new RegExp(`^${name}_bucket\\{le="\\+Inf"\\} (\\d+)$`, 'm').exec(text)?.[1]).toBe(count);
      expect(new RegExp(`^${name}_sum \\S+$`, 'm').test(text)).toBe(true);
      expect(Number(count)).toBeGreaterThan(0);
    }
    for (const line of lines)
      expect(line).toMatch(/^$|^# (HELP|TYPE) wse_\w+ .+$|^wse_\w+(\{\w+="([^"\\]|\\.)*"\})? [-+.\deInf]+$/);
    expect(text).toMatch(/^wse_uptime_seconds \d+\.\d$/m);
    expect(text).toContain('wse_topic_messages_total{topic="a\\"b\\\\c"} 2\n');
    expect(text).toContain('\nwse_slow_consumer_drops_total 0\n');
    expect(on.metric('wse_connections')).toBe(1);
    expect(on.metric('wse_topics')).toBe(1);
    expect(on.metric('wse_messages_received_total')).toBe(1);
    expect(on.metric('wse_connections_accepted_total')).toBe(1);
    expect(on.metric('wse_bytes_received_total')).toBeGreaterThanOrEqual(11);
    expect(on.metric('wse_bytes_sent_total')).toBeGreaterThan(10);
  });
});

describe('healthSnapshot', () => {
  it('has every published key, in snake_case, as a plain value', async () => {
    const on = await startServer(QUIET);
    await join(on);
    const health = on.health();
    const { uptime_secs, ...rest } = health;
    expect(uptime_secs).toBeGreaterThan(0);
    expect(Number.isInteger(uptime_secs), 'a float').toBe(false);
    expect(rest).toMatchObject({
      connections: 1,
      inbound_queue_depth: 0,
      inbound_dropped: 0,
      cluster_connected: false,
      cluster_peer_count: 0,
      cluster_messages_sent: 0,
      cluster_messages_delivered: 0,
      cluster_messages_dropped: 0,
      cluster_bytes_sent: 0,
      cluster_bytes_received: 0,
      cluster_reconnect_count: 0,
      cluster_unknown_message_types: 0,
      cluster_dlq_size: 0,
      recovery_enabled: false,
      recovery_topic_count: 0,
      recovery_total_bytes: 0,
      presence_enabled: false,
    });
    expect(Object.keys(health).filter((name) => !/^[a-z0-9_]+$/.test(name))).toEqual([]);
    expect(Object.keys(health)).not.toContain('presence_topics');
    for (const value of Object.values(health)) expect(['number', 'boolean', 'string']).toContain(typeof value);
  });

  it('follows what happens', async () => {
    const on = await startServer({ ...QUIET, maxInboundQueueSize: 1, inboundOverflow: 'drop', keep: false });
    const client = await Client.open(on.port);
    // What is told of it fills the queue; until then what it sends is part of the same batch.
    await waitUntil(() => on.gauge('inbound_queue_depth') === 1, 'its connect');
    for (let i = 0; i < 10; i += 1) client.send('x');
    // All of them: each number is looked at by itself.
    await waitUntil(
      () => on.gauge('inbound_dropped') === 10,
      () => `ten drops (${on.gauge('inbound_dropped')})`,
    );
    expect(on.server.inboundDroppedCount()).toBe(on.gauge('inbound_dropped'));
    expect(on.server.inboundQueueDepth()).toBe(on.gauge('inbound_queue_depth'));
    client.socket.terminate();
    await waitUntil(() => on.gauge('connections') === 0, 'leaving');
  });
});

describe('encodeJwt and decodeJwt', () => {
  const secret = 'a secret of at least 32 bytes!!!';
  const exp = Math.floor(Date.now() / 1000) + 60;
  const part = (token: string, index: number): unknown =>
    JSON.parse(Buffer.from(token.split('.')[index] as string, 'base64url').toString());

  it('round-trip, with strings and bytes as keys, and a key id', () => {
    const claims: JwtClaims = { sub: 'u', exp, wse_topics: { allow: ['a*'], deny: [] }, n: 1.5, ü: '🎈' };
    const token = encodeJwt(claims, secret, { keyId: 'k1' });
    expect(part(token, 0)).toEqual({ typ: 'JWT', alg: 'HS256', kid: 'k1' });
    expect(part(token, 1)).toEqual(claims);
    expect(decodeJwt(token, Buffer.from(secret))).toEqual(claims);
    expect(decodeJwt(token, secret, { keyId: 'k1' })).toEqual(claims);
    expect(decodeJwt(token, secret, { keyId: 'k2' })).toBeNull();
    expect(decodeJwt(token, 'x'.repeat(32), { previousSecret: secret })).toEqual(claims);
  });

  it.each([
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ] as const)('speak %s', (algorithm, { privateKey, publicKey }) => {
    const pem = {
      private: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      public: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    };
    const token = encodeJwt({ sub: 'u', exp }, pem.private, { algorithm });
    expect(decodeJwt(token, pem.public, { algorithm })).toEqual({ sub: 'u', exp });
    expect(decodeJwt(`${token.slice(0, -6)}AAAAAA`, pem.public, { algorithm })).toBeNull();
    expect(() => encodeJwt({ sub: 'u' }, secret, { algorithm })).toThrow(WSEConfigError);
  });

  it('say null to whatever is not valid', () => {
    const now = Math.floor(Date.now() / 1000);
    const good = { sub: 'u', exp, iss: 'me', aud: 'you' };
    const token = encodeJwt(good, secret);
    expect(decodeJwt(token, secret, { issuer: 'me', audience: 'you' })).toEqual(good);
    expect(decodeJwt(token, secret, { issuer: 'other' })).toBeNull();
    expect(decodeJwt(token, secret, { audience: 'other' })).toBeNull();
    expect(decodeJwt(token, 'y'.repeat(32))).toBeNull();
    expect(decodeJwt(encodeJwt({ sub: 'u', exp: now - 3600 }, secret), secret)).toBeNull();
    expect(decodeJwt(encodeJwt({ sub: 'u', exp, nbf: now + 3600 }, secret), secret)).toBeNull();
    for (const rubbish of ['', '.', '..', 'a.b.c', token.slice(1), `${token}.`, 'ü'.repeat(9000)]) {
      expect(decodeJwt(rubbish, secret)).toBeNull();
    }
    const [head, , signature] = token.split('.');
    const forged = Buffer.from(JSON.stringify({ ...good, sub: 'root' })).toString('base64url');
    expect(decodeJwt(`${head}.${forged}.${signature}`, secret)).toBeNull();
    const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url');
    expect(decodeJwt(`${none}.${forged}.`, secret)).toBeNull();
  });

  it('name the argument that is wrong', () => {
    expect(() => encodeJwt('x' as never, secret)).toThrow(TypeError);
    expect(() => encodeJwt(null as never, secret)).toThrow(TypeError);
    expect(() => decodeJwt(5 as never, secret)).toThrow(TypeError);
    expect(() => decodeJwt('', secret, null as never)).toThrow(TypeError);
    const config = (path: string): unknown => expect.objectContaining({ constructor: WSEConfigError, path });
    expect(() => encodeJwt({}, 5 as never)).toThrow(config('secret'));
    expect(() => encodeJwt({}, 'short')).toThrow(config('secret'));
    expect(() => encodeJwt({}, secret, { algorithm: 'none' as never })).toThrow(config('algorithm'));
    expect(() => encodeJwt({}, secret, { kid: 'x' } as never)).toThrow(config('kid'));
    expect(() => decodeJwt('', secret, { algorithm: 'HS512' as never })).toThrow(config('algorithm'));
    expect(() => decodeJwt('', secret, { isuer: 'x' } as never)).toThrow(WSEError);
  });
});
