import { deflateSync } from 'node:zlib';
import { encode as pack } from '@msgpack/msgpack';
import { expect, test } from 'vitest';
import { behind, bytesOf, loaded, recorder } from '../support/decoded.js';
import { seeded, seeds } from '../support/random.js';

test('as long as nothing asynchronous is pending everything is told at once', async () => {
  const { decoder, names } = await loaded({ codecs: { sealed: (body) => body } });
  decoder.take('{"t":"a"}');
  decoder.take(bytesOf('{"t":"b"}'));
  expect(names()).toEqual(['a', 'b']);
  decoder.take(behind('M:', pack({ t: 'c' })));
  decoder.take('{"t":"d"}');
  expect(names()).toEqual(['a', 'b']);
  await expect.poll(names).toEqual(['a', 'b', 'c', 'd']);
  // The package is there now.
  decoder.take(behind('M:', pack({ t: 'e' })));
  decoder.take(bytesOf('{"t":"f"}', 'E:'));
  expect(names().slice(4)).toEqual(['e', 'f']);
});

test('frames of all kinds keep their order, whatever takes how long', async () => {
  for (const seed of seeds(20)) {
    const random = seeded(seed);
    const sealed = (body: Uint8Array): Uint8Array | Promise<Uint8Array> =>
      random() < 0.3 ? body : new Promise((done) => setTimeout(() => done(body), random() * 4));
    const { decoder, names } = recorder({ codecs: { sealed } });
    const sent: string[] = [];
    for (let n = 0; n < 60; n++) {
      const text = `{"t":"${n}"}`;
      const kind = random();
      if (kind < 0.4) decoder.take(text);
      else if (kind < 0.6) decoder.take(bytesOf(text, 'E:'));
      else if (kind < 0.75) decoder.take(behind('C:', deflateSync(text)));
      else if (kind < 0.85) decoder.take(behind('M:', pack({ t: `${n}` })));
      else if (kind < 0.9) decoder.take(new Uint8Array([n]));
      else decoder.take('rubbish');
      sent.push(kind < 0.85 ? `${n}` : kind < 0.9 ? 'binary' : 'not_a_message');
      if (random() < 0.1) await new Promise((done) => setTimeout(done, random() * 3));
    }
    await expect.poll(() => names().length, { message: `seed ${seed}`, interval: 2, timeout: 20_000 }).toBe(sent.length);
    expect(names(), `seed ${seed}`).toEqual(sent);
  }
}, 60_000);

test('what waits for the old connection is never told to the new one', async () => {
  const opened: (() => void)[] = [];
  const sealed = (body: Uint8Array): Promise<Uint8Array> => new Promise((done) => opened.push(() => done(body)));
  const { decoder, names } = recorder({ codecs: { sealed } });
  decoder.take(bytesOf('{"t":"old"}', 'E:'));
  decoder.take('{"t":"old behind"}');
  decoder.reset();
  decoder.take('{"t":"new"}');
  expect(names()).toEqual(['new']);
  decoder.take(bytesOf('{"t":"new sealed"}', 'E:'));
  decoder.take('{"t":"new behind"}');
  opened[0]?.();
  await new Promise((done) => setTimeout(done, 5));
  expect(names()).toEqual(['new']);
  opened[1]?.();
  await expect.poll(names).toEqual(['new', 'new sealed', 'new behind']);
});

test('a handler may reset in the middle of what waited', async () => {
  const { decoder, names, told } = recorder({ codecs: { sealed: (body) => Promise.resolve(body) } });
  const push = told.push.bind(told);
  told.push = (...items) => {
    const length = push(...items);
    if (items.some((item) => 'event' in item && item.event.type === 'end')) decoder.reset();
    return length;
  };
  decoder.take(bytesOf('{"t":"a"}', 'E:'));
  for (const t of ['b', 'end', 'never']) decoder.take(`{"t":"${t}"}`);
  await expect.poll(names).toEqual(['a', 'b', 'end']);
  decoder.take('{"t":"c"}');
  expect(names()).toEqual(['a', 'b', 'end', 'c']);
});

test('behind a codec that never answers a bounded amount waits', () => {
  const { decoder, names } = recorder({ maxPending: 100, codecs: { sealed: () => new Promise(() => {}) } });
  decoder.take(bytesOf('x', 'E:'));
  for (let n = 0; n < 20; n++) decoder.take(`{"t":"${n % 10}"}`);
  // Eleven of nine characters fit.
  expect(names()).toEqual(Array(9).fill('overflow'));
});

test('frames of no length are bounded, too, and the end of a connection is not one of them', async () => {
  const opened: (() => void)[] = [];
  const sealed = (body: Uint8Array): Promise<Uint8Array> => new Promise((done) => opened.push(() => done(body)));
  const { decoder, told } = await loaded({ codecs: { sealed } });
  decoder.take(bytesOf('{"t":"a"}', 'E:'));
  for (let n = 0; n < 100_100; n++) decoder.take('');
  expect(told.length).toBeGreaterThan(0);
  expect(told.length).toBeLessThanOrEqual(100);
  let closed = false;
  decoder.take(() => {
    closed = true;
  });
  opened[0]?.();
  await expect.poll(() => closed).toBe(true);
});
