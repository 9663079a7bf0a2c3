import { deflateSync } from 'node:zlib';
import { encode as pack } from '@msgpack/msgpack';
import { expect, test } from 'vitest';
import { createResume } from '../../src/core/resume.js';
import { SHARED } from '../../src/core/shared.js';
import { createDecoder } from '../../src/protocol/decode.js';
import { DecodeError } from '../../src/protocol/errors.js';
import { behind, bytesOf, lazily } from '../support/decoded.js';
import { seeded, seeds } from '../support/random.js';
import { TestClock } from '../support/time.js';

const VALUES = [
  'null',
  'true',
  '-1',
  '0',
  '1.5',
  '9007199254740993',
  '1e400',
  '""',
  '"t"',
  '"00000001"',
  '[]',
  '[[]]',
  '{}',
  '{"messages":[{}]}',
];
const KEYS = [
  't',
  'p',
  'c',
  'e',
  'o',
  'tp',
  'id',
  'v',
  'type',
  'payload',
  'messages',
  'recovery',
  'epoch',
  'offset',
  'recovered',
  '__proto__',
];

test('whatever arrives, in whatever order: each frame is told or reported, and nothing is thrown', async () => {
  for (const seed of seeds(40)) {
    const random = seeded(seed);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
    const json = (depth: number): string =>
      depth === 0 || random() < 0.4
        ? pick(VALUES)
        : `{${Array.from({ length: Math.floor(random() * 6) }, () => `"${pick(KEYS)}":${json(depth - 1)}`).join(',')}}`;
    const spoil = (bytes: Uint8Array): Uint8Array => {
      const spoilt = bytes.slice(0, random() < 0.3 ? Math.floor(random() * bytes.length) : bytes.length);
      for (let n = Math.floor(random() * 3); n > 0 && spoilt.length > 0; n--)
        spoilt[Math.floor(random() * spoilt.length)] = random() * 256;
      return spoilt;
    };
    let told = 0;
    const thrown: unknown[] = [];
    const resume = createResume({
      shared: SHARED,
      deliver: () => {},
      recover: () => {},
      lost: () => {},
      clock: new TestClock(),
      maxHeld: 10,
      maxTopics: 10,
    });
    resume.connected();
    const decoder = createDecoder(
      {
        event: (event) => {
          told++;
          try {
            resume.accept(event, 1);
            resume.reply(event.payload);
            resume.seed((event.payload ?? {}) as Parameters<typeof resume.seed>[0]);
          } catch (error) {
            thrown.push(error);
          }
        },
        binary: () => told++,
        error: () => told++,
      },
      {
        lazily,
        Problem: DecodeError,
        maxBytes: 2_000,
        codecs: { sealed: (body) => (random() < 0.5 ? body : Promise.reject(new Error('key'))) },
      },
    );
    for (let n = 0; n < 300; n++) {
      const text = json(4);
      const kind = random();
      if (kind < 0.3) decoder.take(text);
      else if (kind < 0.4) decoder.take(new TextDecoder().decode(spoil(bytesOf(text))));
      else if (kind < 0.5) decoder.take(spoil(bytesOf(text, pick(['', 'E:', 'M:', 'C:', 'U', 'WSE']))));
      else if (kind < 0.65) decoder.take(spoil(behind(pick(['C:', 'E:C:', '']), deflateSync(text))));
      else if (kind < 0.85) decoder.take(spoil(behind(pick(['M:', 'E:M:', '']), pack({ t: 1, p: [text], o: 2 }))));
      else decoder.take(Uint8Array.from({ length: Math.floor(random() * 40) }, () => random() * 256));
    }
    decoder.take('{"t":"end"}');
    await expect.poll(() => told, { message: `WSE_SEED=${seed}`, interval: 5, timeout: 20_000 }).toBeGreaterThan(300);
    expect(thrown, `WSE_SEED=${seed}`).toEqual([]);
    expect(resume.stats().held, `WSE_SEED=${seed}`).toBeLessThanOrEqual(10);
    expect(resume.stats().topics, `WSE_SEED=${seed}`).toBeLessThanOrEqual(10);
    expect(({} as Record<string, unknown>)['t'], `WSE_SEED=${seed}`).toBe(undefined);
  }
}, 60_000);
