/**
 * Values of unexpected types and names with a meaning in JavaScript: CVE-2022-2421 GHSA-qm95-pgcg-qqfq,
 * CVE-2023-32695 GHSA-cqmj-92xf-r6r9 (socket.io-parser), CVE-2023-30591 (NodeBB), prototype pollution.
 */

import { describe, expect, it } from 'vitest';
import { decodeJwt, encodeJwt, type JsonObject, type JsonValue } from '../../src/index.js';
import { Opcode, RawPeer } from '../support/raw-peer.js';
import { waitUntil } from '../support/server.js';
import { attacked, unharmed } from './witness.js';

const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__', 'prototype', 'length'];
const SECRET = 's'.repeat(32);

/** Nothing a peer said may have reached what all objects share. */
function clean(): void {
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  expect(([] as unknown as Record<string, unknown>)['polluted']).toBeUndefined();
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect({}.toString()).toBe('[object Object]');
}

/** An object whose own members are `entries`, whatever their names mean. */
function own(...entries: [string, JsonValue][]): JsonObject {
  const text = entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',');
  return JSON.parse(`{${text}}`) as JsonObject;
}

describe('event types that are no text: CVE-2023-30591, CVE-2023-32695, CVE-2022-2421', () => {
  const types: JsonValue[] = [
    ['a', 'b'],
    [],
    {},
    { toString: 'x' },
    1,
    -0.5,
    1e308,
    true,
    null,
    '',
    '__proto__',
    '\u0000',
    '\ud800',
  ];
  it.each(types.map((type) => [JSON.stringify(type), type] as const))('t: %s arrives as it is', async (text, type) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    peer.text(`{"t":${text},"p":${text},"c":${text},"id":${text},"seq":${text}}`);
    const event = await target.waitForEvent(([kind, conn]) => kind === 'msg' && conn !== witness.conn);
    expect(event[2]).toEqual({ t: type, p: type, c: type, id: type, seq: type });
    // And the engine's own messages take nothing for granted either.
    for (const own of ['ping', 'client_hello', 'subscription_update', 'pong']) peer.text(`{"t":"${own}","p":${text}}`);
    peer.text(`{"t":"client_hello","p":{"protocol_version":${text},"features":${text},"encryption_public_key":${text}}}`);
    peer.text(`{"t":"ping","p":{"timestamp":${text}}}`);
    expect(await peer.nextText((reply) => reply.includes('"PONG"'))).toMatch(/"client_timestamp":(0|1|-?\d+),/);
    await unharmed(target, witness);
    clean();
  });

  const updates: JsonValue[] = [
    null,
    [],
    'subscribe',
    { action: 'subscribe' },
    { action: 'subscribe', topics: 'a' },
    { action: 'subscribe', topics: { length: 1e9 } },
    { action: 'subscribe', topics: [['a']] },
    { action: 'subscribe', topics: [1, null] },
    { action: ['subscribe'], topics: ['a'] },
    { action: '__proto__', topics: ['a'] },
    { action: 'subscribe', topics: Array.from({ length: 10_001 }, () => 'a') },
    { action: 'subscribe', topics: [''] },
    { action: 'unsubscribe', topics: ['', ''] },
  ];
  it('subscription_update of the wrong shape subscribes to nothing and is answered', async () => {
    const { target, witness } = await attacked({ subscriptions: 'acl' });
    const peer = await RawPeer.open(target.port);
    for (const update of updates) {
      peer.text(JSON.stringify({ t: 'subscription_update', p: update }));
      const reply = JSON.parse(await peer.nextText((text) => text.includes('"subscription_update"'))) as { p: JsonObject };
      expect(reply.p).toMatchObject({ success: false, success_topics: [] });
    }
    expect(target.gauge('topics')).toBe(0);
    await unharmed(target, witness);
  });
});

describe('prototype pollution', () => {
  it.each(NAMES)('%s as a member is a member', async (name) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const members = own([name, { polluted: true }], ['t', name], ['p', own([name, { polluted: true }])]);
    peer.text(JSON.stringify(members));
    const [, , payload] = await target.waitForEvent(([kind, conn]) => kind === 'msg' && conn !== witness.conn);
    expect(payload).toEqual(members);
    expect(Object.hasOwn(payload as object, name)).toBe(true);
    expect(Object.getPrototypeOf(payload)).toBe(Object.prototype);
    clean();
    await unharmed(target, witness);
  });

  it.each(NAMES)('%s behind an alias, in msgpack and in C:', async (name) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const next = (): Promise<readonly unknown[]> =>
      target.waitForEvent(([kind, conn]) => kind === 'msg' && conn !== witness.conn);
    peer.text(`{"type":"x","payload":{"${name}":{"polluted":true}}}`);
    expect((await next())[2]).toEqual({ t: 'x', p: own([name, { polluted: true }]) });
    const key = Buffer.from(name);
    const packed = Buffer.concat([
      Buffer.from([0x81, 0xa0 | key.length]),
      key,
      Buffer.from([0x81, 0xa8]),
      Buffer.from('polluted'),
    ]);
    peer.binary(Buffer.concat([Buffer.from('M:'), packed, Buffer.from([0xc3])]));
    expect((await next())[2]).toEqual(own([name, { polluted: true }]));
    clean();
    await unharmed(target, witness);
  });

  it('such names are topics like any other', async () => {
    const { target, witness } = await attacked();
    const { server } = target;
    const peer = await RawPeer.open(target.port);
    const [conn = 0] = server.getConnections().filter((id) => id !== witness.conn);
    for (const name of NAMES) expect(server.getTopicSubscriberCount(name)).toBe(0);
    expect(server.subscribeConnection(conn, NAMES)).toBe(NAMES.length);
    for (const name of NAMES) {
      await waitUntil(() => server.getTopicSubscriberCount(name) === 1, `subscriber of ${name}`);
      expect(server.publish(name, name, own([name, { polluted: true }]))).toBe(true);
      const expected = `{"c":"U","t":"${name}","p":{"${name}":{"polluted":true}},"v":1}`;
      expect(await peer.nextText((text) => text.includes('polluted'))).toBe(expected);
    }
    expect(server.setTopicAcl(conn, { deny: ['__proto__'] })).toBe(true);
    server.broadcast('__proto__', 'denied');
    server.broadcast('constructor', 'allowed');
    expect(await peer.nextText((text) => text.endsWith('ed'))).toBe('allowed');
    expect(server.unsubscribeConnection(conn, NAMES)).toBe(true);
    await waitUntil(() => target.gauge('topics') === 0, 'end of the topics');
    clean();
    await unharmed(target, witness);
  });

  it('such names are members of events like any other', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.open(target.port);
    const packed = await RawPeer.open(target.port, { path: '/?format=msgpack' });
    const conns = target.server.getConnections().filter((id) => id !== witness.conn);
    for (const name of NAMES) {
      const event = own(['t', 'x'], ['p', own([name, { polluted: true }])], [name, 'top']);
      for (const conn of conns) expect(target.server.sendEvent(conn, event)).toBeGreaterThan(0);
      const sent = JSON.parse(await peer.nextText((text) => text.includes('polluted'))) as JsonObject;
      expect(Object.hasOwn(sent, name)).toBe(true);
      expect(sent['p']).toEqual(own([name, { polluted: true }]));
      expect((await packed.next(({ opcode }) => opcode === Opcode.binary)).payload.includes(name)).toBe(true);
    }
    clean();
    await unharmed(target, witness);
  });

  it('such names are claims and patterns like any other', () => {
    const exp = Math.floor(Date.now() / 1000) + 60;
    for (const name of NAMES) {
      const claims = own(['sub', name], ['exp', exp], [name, { polluted: true }], ['wse_topics', { allow: NAMES }]);
      const decoded = decodeJwt(encodeJwt(claims, SECRET), SECRET);
      expect(decoded).toEqual(claims);
      clean();
    }
  });

  it('names from peers stay inside their labels in the metrics', async () => {
    const { target, witness } = await attacked({ subscriptions: 'acl' });
    const topic = 'a"} 1e9 # \\" {x="';
    witness.peer.text(
      JSON.stringify({ t: 'subscription_update', p: { action: 'subscribe', topics: [topic, 'a\nwse_connections 7'] } }),
    );
    const reply = await witness.peer.nextText((text) => text.includes('"subscription_update"'));
    expect((JSON.parse(reply) as { p: JsonObject }).p).toMatchObject({
      success_topics: [topic],
      failed_topics: ['a\nwse_connections 7'],
    });
    target.server.broadcast(topic, 'x');
    await null; // what a turn publishes crosses at its end, and reading the metrics hands nothing over
    const lines = target.server.prometheusMetrics().split('\n');
    expect(lines.filter((line) => line.startsWith('wse_connections '))).toEqual(['wse_connections 1']);
    expect(lines).toContain('wse_topic_messages_total{topic="a\\"} 1e9 # \\\\\\" {x=\\""} 1');
    await unharmed(target, witness);
  });
});
