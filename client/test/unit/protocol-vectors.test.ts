import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../src/protocol/errors.js';
import { inflate } from '../../src/protocol/inflate.js';
import { loadUnpack } from '../../src/protocol/msgpack.js';
import { loaded, recorder } from '../support/decoded.js';
import { vectors } from '../support/vectors.js';

const hex = (text: unknown): Uint8Array => Uint8Array.from(Buffer.from(text as string, 'hex'));

const texts = [
  ...vectors('tokens', 'auth_refreshed').map(({ output }) => output),
  ...vectors('tokens', 'auth_expiring').map(({ output }) => output),
  ...vectors('tokens', 'refresh_error').map(({ output }) => output),
  ...vectors('tokens', 'topics_ended').map(({ output }) => output),
  ...vectors('presence', 'frame').map(({ output }) => output),
  ...vectors('answers', 'answers').flatMap(({ replies }) => replies),
  ...vectors('envelope', 'server_ready').map(({ output }) => output),
  ...vectors('envelope', 'server_hello').map(({ output }) => output),
  ...vectors('envelope', 'event').map(({ output }) => output),
  ...vectors('pong', 'pong').map(({ output }) => output),
  ...vectors('pong', 'ping').map(({ output }) => output),
].filter((text) => typeof text === 'string');

test('there are vectors', () => expect(texts.length).toBeGreaterThan(40));

test.each(texts)('the server says %s', (text) => {
  const { decoder, told } = recorder();
  decoder.take(text);
  const raw = JSON.parse(text);
  expect(told).toHaveLength(1);
  expect(told[0]).toMatchObject({ raw, event: { type: raw.t ?? '', category: raw.c, payload: raw.p } });
});

test.each(vectors('recovery', 'stamp').filter(({ output }) => output !== null))(
  'stamp: $name',
  ({ output, topic, epoch, offset }) => {
    const { decoder, told } = recorder();
    decoder.take(output as string);
    expect(told[0]).toMatchObject({ event: { topic, epoch: (epoch as number).toString(16).padStart(8, '0'), offset } });
  },
);

test.each(vectors('recovery', 'skipped').filter(({ output }) => output !== null))(
  'skipped: $name',
  ({ output, topic, offset }) => {
    const { decoder, told } = recorder();
    decoder.take(output as string);
    expect(told[0]).toMatchObject({ event: { type: 'heartbeat', topic, offset } });
  },
);

test.each(vectors('envelope', 'prefix'))('prefix: $name', async ({ input, output, category }) => {
  const { decoder, told, names } = await loaded();
  decoder.take(input as string);
  if (category === null && input !== '{}') expect(names()).toEqual(['not_a_message']);
  else expect(told[0]).toMatchObject({ raw: JSON.parse(output as string), event: category === null ? {} : { category } });
});

test.each(vectors('envelope', 'aliases'))('aliases: $name', ({ input, output }) => {
  const { decoder, told } = recorder();
  decoder.take(input as string);
  const { t, p } = JSON.parse(output as string);
  expect(told[0]).toMatchObject({ event: { type: t, payload: p } });
});

describe('zlib', () => {
  // The ratio is the server's own limit; what is behind the stream is ignored by some platforms and refused by others.
  const cases = vectors('codec', 'zlib').filter(({ error }) => error !== 'trailing_data');
  test.each(cases)('$name', async ({ base64, max_out, output, error }) => {
    const body = Uint8Array.from(Buffer.from(base64 as string, 'base64')).subarray(2);
    const result = await inflate(body, max_out as number, DecodeError).catch((thrown: DecodeError) => thrown);
    if (error === undefined) expect(result).toBe(output);
    else if (result instanceof DecodeError) expect(result.code).toBe(error === 'truncated' ? 'corrupt' : error);
    // More than the server's ratio, and within the cap.
    else expect(error).toBe('too_large');
  });
});

describe('msgpack', () => {
  test.each(vectors('codec', 'to_msgpack'))('what the server packs: $name', async ({ hex: bytes, input }) => {
    const unpack = await loadUnpack(DecodeError);
    expect(unpack(hex(bytes).subarray(2))).toEqual(input);
  });

  test.each(vectors('codec', 'msgpack').filter(({ error }) => error !== undefined))('refused: $name', async ({ hex: bytes }) => {
    const { decoder, names } = recorder();
    decoder.take(hex(bytes));
    decoder.take('{"t":"next"}');
    await expect.poll(() => names().at(-1)).toBe('next');
    expect(['corrupt', 'too_deep', 'not_a_message']).toContain(names()[0]);
  });
});
