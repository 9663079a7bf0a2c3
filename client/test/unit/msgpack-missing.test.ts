import { expect, test, vi } from 'vitest';
import { recorder } from '../support/decoded.js';

// As where the optional package is not installed.
vi.mock('@msgpack/msgpack', () => {
  throw new Error('Cannot find package');
});

const PACKED = [0x81, 0xa1, 0x74, 0xa1, 0x78];

test('without the package M: frames are errors that say so, and bare bytes are bytes', async () => {
  const { decoder, told, names } = recorder();
  decoder.take(new Uint8Array([0x4d, 0x3a, ...PACKED]));
  decoder.take(new Uint8Array(PACKED));
  decoder.take('{"t":"next"}');
  await expect.poll(names).toEqual(['no_codec', 'binary', 'next']);
  expect(told[0]).toMatchObject({ error: { message: expect.stringContaining('@msgpack/msgpack') } });
});

test('another codec takes its place', async () => {
  const { decoder, names } = recorder({ codecs: { msgpack: () => ({ t: 'own' }) } });
  decoder.take(new Uint8Array([0x4d, 0x3a, ...PACKED]));
  await expect.poll(names).toEqual(['own']);
});
