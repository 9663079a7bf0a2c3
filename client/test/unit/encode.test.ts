import { describe, expect, test } from 'vitest';
import { closeClass } from '../../src/protocol/close.js';
import { category, encode } from '../../src/protocol/encode.js';

describe('encode', () => {
  test('in the published key order', () => {
    const text = encode({
      signature: 's',
      correlationId: 'q',
      priority: 8,
      timestamp: '2026-01-01T00:00:00.000Z',
      sequence: 3,
      id: 'i',
      payload: { qty: 3 },
      type: 'order',
    });
    expect(text).toBe(
      '{"c":"U","t":"order","p":{"qty":3},"id":"i","seq":3,"ts":"2026-01-01T00:00:00.000Z","v":1,"pri":8,"cid":"q","sig":"s"}',
    );
  });

  test('what is absent is left out', () => {
    expect(encode({ type: 'x' })).toBe('{"c":"U","t":"x","p":{},"v":1}');
    expect(encode({ type: 'ping', payload: { timestamp: 5 } })).toBe('{"c":"WSE","t":"ping","p":{"timestamp":5},"v":1}');
  });

  test.each([0, '', null, false, []])('a payload of %j stays it', (payload) => {
    expect(encode({ type: 'x', payload })).toBe(`{"c":"U","t":"x","p":${JSON.stringify(payload)},"v":1}`);
  });

  test('an outbox message begins exactly as the server looks for it', () => {
    expect(encode({ type: 'x', outbox: ['stream_1', 12], id: 'i' })).toBe(
      '{"ob":["stream_1",12],"c":"U","t":"x","p":{},"id":"i","v":1}',
    );
  });

  test('requests, replies, failures', () => {
    expect(encode({ type: 'quote', payload: 1, correlationId: 'a', request: 5_000 })).toBe(
      '{"c":"U","t":"quote","p":1,"v":1,"cid":"a","rq":5000}',
    );
    expect(encode({ type: 'reply', payload: null, correlationId: 'a' })).toBe('{"c":"U","t":"reply","p":null,"v":1,"cid":"a"}');
    expect(encode({ type: 'reply', category: 'WSE', correlationId: 'a', error: { code: 'failed', message: 'no' } })).toBe(
      '{"c":"WSE","t":"reply","v":1,"cid":"a","err":{"code":"failed","message":"no"}}',
    );
  });

  test('what JSON cannot say is thrown', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => encode({ type: 'x', payload: cycle })).toThrow(TypeError);
    expect(() => encode({ type: 'x', payload: 1n })).toThrow(TypeError);
  });

  test('the categories of published clients', () => {
    const wse = 'client_hello subscription_update PING PONG ping health_check_response sync_response metrics_response';
    const more = 'batch auth_refresh cancel';
    for (const type of `${wse} ${more}`.split(' ')) expect(category(type), type).toBe('WSE');
    for (const type of ['sync_request', 'request_snapshot', 'snapshot_request']) expect(category(type), type).toBe('S');
    for (const type of ['order', 'reply', '', 'pings', 'my_request', 'x_client_hello']) expect(category(type), type).toBe('U');
  });
});

test.each([
  ['retry-now', [4300, 1012]],
  ['refresh', [4401]],
  ['stop', [4403]],
  ['backoff', [4429, 1013]],
  ['retry', [1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1011, 1015, 3000, 4000, 4400, 4430, 4503, 4999, 0, Number.NaN]],
])('%s after %j', (advice, codes) => {
  for (const code of codes) expect(closeClass(code)).toBe(advice);
});
