// Every program of the README runs as printed.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Client } from './client.js';
import { Program } from './run.js';

const README = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
const BLOCKS = [...README.matchAll(/```js run\n([\s\S]*?)```/g)].map(([, code]) => code as string);
const program = (index: number): Program => new Program(['--input-type=module', '-e', BLOCKS[index] as string]);

test('the README has the programs these tests know', () => {
  expect(BLOCKS).toHaveLength(4);
});

test('a server: subscribers hear what clients say', async () => {
  const url = await program(0).firstLine();
  const [ann, bob] = [await Client.open(url), await Client.open(url)];
  await bob.next('server_ready');
  ann.send('say', { text: 'hello' });
  for (const client of [ann, bob]) expect((await client.next('said')).p).toEqual({ text: 'hello' });
});

test('on the port of an application: its page, and an echo', async () => {
  const url = await program(1).firstLine();
  expect(await (await fetch(url)).text()).toBe('a page');
  const client = await Client.open(`${url}/ws`);
  client.send('say', { text: 'hello' });
  expect((await client.next('echo')).p).toEqual({ text: 'hello' });
});

test('tokens: one is made', async () => {
  expect(await program(2).firstLine()).toBe('3');
});

test('leaving: the process ends by itself', async () => {
  expect(await program(3).end()).toEqual({ code: 0, errors: '' });
});
