import { deflateSync } from 'node:zlib';
import { encode as pack } from '@msgpack/msgpack';
import { describe, expect, test, vi } from 'vitest';
import { createDecoder, type DecodeHandlers } from '../../src/protocol/decode.js';
import { DecodeError } from '../../src/protocol/errors.js';
import { batched } from '../../src/protocol/event.js';
import { behind, bytesOf, lazily, loaded, recorder } from '../support/decoded.js';

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('text', () => {
  test('every member becomes a property, and the payload stays as sent', () => {
    const { decoder, told } = recorder();
    decoder.take(
      '{"tp":"prices","e":"0a1b2c3d","o":17,"c":"U","t":"tick","p":0,"id":"i","seq":4,"ts":"2026-01-01T00:00:00Z","v":1,"pri":8,"cid":"q","sig":"s","x":1}',
    );
    expect(told).toEqual([
      expect.objectContaining({
        event: {
          type: 'tick',
          payload: 0,
          id: 'i',
          sequence: 4,
          timestamp: '2026-01-01T00:00:00Z',
          version: 1,
          category: 'U',
          priority: 8,
          correlationId: 'q',
          signature: 's',
          topic: 'prices',
          epoch: '0a1b2c3d',
          offset: 17,
        },
        raw: expect.objectContaining({ x: 1 }),
      }),
    ]);
  });

  test.each([
    ['null', null],
    ['""', ''],
    ['[]', []],
    ['false', false],
  ])('a payload of %s stays it', (text, payload) => {
    const { decoder, told } = recorder();
    decoder.take(`{"t":"x","p":${text}}`);
    expect(told[0]).toMatchObject({ event: { type: 'x', payload } });
  });

  test('long names count where short ones are absent', () => {
    const { decoder, told } = recorder();
    decoder.take('{"type":"a","payload":1,"topic":"t"}');
    decoder.take('{"type":"a","t":"b","payload":1,"p":2}');
    expect(told).toMatchObject([{ event: { type: 'a', payload: 1, topic: 't' } }, { event: { type: 'b', payload: 2 } }]);
  });

  test('an object that is no envelope is the payload', () => {
    const { decoder, told } = recorder();
    decoder.take('{"tp":"prices","e":"00000001","o":2,"price":3}');
    expect(told[0]).toMatchObject({ event: { type: '', topic: 'prices', offset: 2, payload: { price: 3 } } });
  });

  test('an older prefix is the category', async () => {
    const { decoder, told } = await loaded();
    for (const prefix of ['WSE', 'S', 'U']) decoder.take(`${prefix}{"t":"x","c":"other"}`);
    expect(told.map((one) => 'event' in one && one.event.category)).toEqual(['WSE', 'S', 'U']);
  });

  test.each([
    ['PING:1700000000123', 'ping', { timestamp: 1_700_000_000_123 }],
    ['WSE:PING:5', 'ping', { timestamp: 5 }],
    ['ping', 'ping', {}],
    ['PONG:7', 'PONG', { timestamp: 7 }],
    ['PING:soon', 'ping', {}],
  ])('%s is a heartbeat of an older server', async (text, type, payload) => {
    const { decoder, told } = await loaded();
    decoder.take(text);
    expect(told).toMatchObject([{ event: { type, payload, category: 'WSE' } }]);
  });

  test.each([
    ['', 'not_a_message'],
    ['hello', 'not_a_message'],
    ['{"t":', 'not_a_message'],
    ['[{"t":"x"}]', 'not_a_message'],
    ['17', 'not_a_message'],
    ['null', 'not_a_message'],
    [`{"t":"x","p":${nested(64)}}`, 'too_deep'],
    [nested(200_000), 'too_deep'],
    [`{"t":"x","p":"${'y'.repeat(2_000_000)}"}`, 'too_large'],
    ['\ud800{}', 'not_a_message'],
  ])('rubbish is reported and the next is read (%#)', async (text, code) => {
    const { decoder, names } = await loaded();
    decoder.take(text);
    decoder.take('{"t":"next"}');
    expect(names()).toEqual([code, 'next']);
  });

  test('wrong types in every member are left out', () => {
    for (const wrong of ['null', 'true', '[]', '{}', '-1.5', '1e999', '"\\u0000"']) {
      const { decoder, told } = recorder();
      const members = ['t', 'c', 'id', 'seq', 'ts', 'v', 'pri', 'cid', 'sig', 'tp', 'e', 'o'].map((key) => `"${key}":${wrong}`);
      decoder.take(`{${members.join(',')},"p":1}`);
      expect(told, wrong).toHaveLength(1);
      const event = 'event' in (told[0] ?? {}) ? (told[0] as unknown as { event: Record<string, unknown> }).event : {};
      expect(event['payload']).toBe(1);
      expect(typeof event['type']).toBe('string');
      expect('offset' in event).toBe(false);
      for (const [key, value] of Object.entries(event)) {
        if (key === 'payload') continue;
        expect(typeof value, `${key} of ${wrong}`).toBe(['sequence', 'version', 'priority'].includes(key) ? 'number' : 'string');
      }
    }
  });

  test.each(['-1', '1.5', '9007199254740992', '"1"', 'null'])('%s is no offset, and the message has no stamp', (offset) => {
    const { decoder, told } = recorder();
    decoder.take(`{"tp":"a","e":"00000001","o":${offset},"t":"x"}`);
    expect(told[0]).toMatchObject({ event: { type: 'x', topic: 'a' } });
    expect(told[0] && 'event' in told[0] && 'epoch' in told[0].event).toBe(false);
  });

  test('__proto__ is data like any other', () => {
    const { decoder, told } = recorder();
    decoder.take(
      '{"__proto__":{"t":"bad","id":"bad","polluted":1},"constructor":{"prototype":{"polluted":1}},"p":{"__proto__":{"polluted":1}}}',
    );
    expect(told[0]).toMatchObject({ event: { type: '' } });
    expect(told[0] && 'event' in told[0] && told[0].event.id).toBe(undefined);
    expect(({} as Record<string, unknown>)['polluted']).toBe(undefined);
  });
});

describe('batch', () => {
  test('is taken apart in order, stamped messages, batches and rubbish in it too', async () => {
    const { decoder, told, names } = await loaded();
    decoder.take(
      'WSE{"t":"batch","p":{"count":9,"messages":[{"t":"a"},{"tp":"x","e":"00000001","o":1,"t":"b"},7,{"t":"batch","p":{"messages":[{"t":"c"}]}},{"type":"d"}]}}',
    );
    expect(names()).toEqual(['a', 'b', 'not_a_message', 'c', 'd']);
    expect(told[1]).toMatchObject({ event: { topic: 'x', epoch: '00000001', offset: 1, category: 'WSE' } });
  });

  test('that has a stamp stays whole until its turn', () => {
    const { decoder, told } = recorder();
    decoder.take('{"tp":"x","e":"00000001","o":1,"t":"batch","p":{"messages":[{"t":"a"}]}}');
    expect(told).toMatchObject([{ event: { type: 'batch', offset: 1 } }]);
    expect(told[0] && 'event' in told[0] && batched(told[0].event)).toEqual([{ t: 'a' }]);
  });

  test.each(['null', '7', '{}', '{"messages":{}}', '{"messages":null}'])('of %s is an event', (payload) => {
    const { decoder, names } = recorder();
    decoder.take(`{"t":"batch","p":${payload}}`);
    expect(names()).toEqual(['batch']);
  });

  test('a handler that throws is told, and loses nothing of the rest', async () => {
    const seen: string[] = [];
    const handlers: DecodeHandlers = {
      event({ type }) {
        seen.push(type);
        if (type.startsWith('bad')) throw new Error(`thrown at ${type}`);
      },
      binary() {},
      error: ({ message }) => seen.push(message),
    };
    const decoder = createDecoder(handlers, { lazily, Problem: DecodeError });
    decoder.take('{"t":"batch","p":{"messages":[{"t":"bad 1"},{"t":"a"}]}}');
    decoder.take(behind('C:', deflateSync('{"t":"bad 2"}')));
    decoder.take('{"t":"bad 3"}');
    decoder.take('{"t":"b"}');
    await expect
      .poll(() => seen)
      .toEqual(['bad 1', 'thrown at bad 1', 'a', 'bad 2', 'thrown at bad 2', 'bad 3', 'thrown at bad 3', 'b']);
  });
});

describe('binary', () => {
  const zlib = (text: string): Uint8Array => deflateSync(text);

  test('in the order of their prefixes', async () => {
    const sealed = vi.fn((body: Uint8Array) => Promise.resolve(body));
    const { decoder, names, told } = recorder({ codecs: { sealed } });
    decoder.take(bytesOf('{"t":"sealed"}', 'E:'));
    decoder.take(behind('E:M:', pack({ t: 'sealed packed' })));
    decoder.take(behind('E:C:', zlib('{"t":"sealed zlib"}')));
    decoder.take(behind('C:', zlib('U{"t":"zlib"}')));
    decoder.take(zlib('{"t":"bare zlib"}'));
    decoder.take(behind('M:', pack({ t: 'packed', p: { n: 1 } })));
    decoder.take(bytesOf('{"t":"json"}'));
    decoder.take(bytesOf(' S{"t":"no"}'));
    decoder.take(bytesOf('S{"t":"prefixed"}'));
    decoder.take(pack({ t: 'bare packed' }));
    decoder.take(pack({ other: 1 }));
    decoder.take(new Uint8Array([0x78, 0x9c, 1, 2, 3]));
    decoder.take(new Uint8Array());
    decoder.take('{"t":"end"}');
    await expect.poll(() => names().at(-1)).toBe('end');
    expect(names()).toEqual([
      ...['sealed', 'sealed packed', 'sealed zlib', 'zlib', 'bare zlib', 'packed', 'json', 'binary', 'prefixed', 'bare packed'],
      ...['binary', 'binary', 'binary', 'end'],
    ]);
    expect(sealed).toHaveBeenCalledTimes(3);
    expect(told[3]).toMatchObject({ event: { category: 'U' } });
  });

  test('a sealed frame within a sealed frame is bytes, not a loop', async () => {
    const { decoder, names } = recorder({ codecs: { sealed: (body) => body } });
    decoder.take(bytesOf('{"t":"x"}', 'E:E:'));
    await expect.poll(names).toEqual(['binary']);
  });

  test('without a key sealed frames are reported', async () => {
    const { decoder, names } = recorder();
    decoder.take(bytesOf('{"t":"x"}', 'E:'));
    decoder.take('{"t":"next"}');
    await expect.poll(names).toEqual(['no_codec', 'next']);
  });

  test('what cannot be unsealed is reported', async () => {
    const { decoder, names } = recorder({ codecs: { sealed: () => Promise.reject(new Error('bad tag')) } });
    decoder.take(bytesOf('x', 'E:'));
    decoder.take('{"t":"next"}');
    await expect.poll(names).toEqual(['bad tag', 'next']);
  });

  test('hostile frames are reported, and the next is read', async () => {
    const bomb = zlib('\0'.repeat(64 << 20));
    const { decoder, names } = recorder();
    decoder.take(behind('C:', bomb));
    decoder.take(bomb);
    decoder.take(bytesOf('not zlib', 'C:'));
    decoder.take(behind('C:', zlib('{"t":"cut"}').subarray(0, 12)));
    decoder.take(behind('C:', zlib('no message')));
    decoder.take(behind('C:', zlib(`{"p":${nested(100)}}`)));
    decoder.take(behind('C:', deflateSync(new Uint8Array([0x7b, 0xff]))));
    decoder.take(new Uint8Array([0x4d, 0x3a, 0xdd, 0xff, 0xff, 0xff, 0xff, 0]));
    decoder.take(new Uint8Array([0x4d, 0x3a, ...new Uint8Array(100_000).fill(0x91), 0xc0]));
    decoder.take(behind('M:', pack([1])));
    decoder.take(new Uint8Array([0x4d, 0x3a, 0x81, 0xa9, ...bytesOf('__proto__'), 0x80]));
    decoder.take(bytesOf(`{"p":${nested(100)}}`));
    decoder.take(new Uint8Array(2_000_000));
    decoder.take(bytesOf('{"broken'));
    decoder.take(new Uint8Array([0x7b, 0xff, 0xfe]));
    decoder.take('{"t":"next"}');
    await expect.poll(() => names().at(-1), { timeout: 20_000 }).toBe('next');
    expect(names()).toEqual([
      ...[
        'too_large',
        'too_large',
        'corrupt',
        'corrupt',
        'not_a_message',
        'too_deep',
        'corrupt',
        'corrupt',
        'too_deep',
        'not_a_message',
      ],
      ...['corrupt', 'too_deep', 'too_large', 'binary', 'binary', 'next'],
    ]);
  }, 30_000);
});
