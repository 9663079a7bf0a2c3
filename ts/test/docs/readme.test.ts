// Every program of the README, and of the pages that say so, runs as printed.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Client } from './client.js';
import { Program } from './run.js';

/** The programs of a page. */
function blocksOf(page: string): string[] {
  const text = readFileSync(new URL(`../../../${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/```js run\n([\s\S]*?)```/g)].map(([, code]) => code as string);
}

const BLOCKS = blocksOf('README.md');
const start = (code: string | undefined): Program => new Program(['--input-type=module', '-e', code ?? '']);
const program = (index: number): Program => start(BLOCKS[index]);

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

test('handlers.md: serving ends with the server', async () => {
  const [serving, ...others] = blocksOf('docs/handlers.md');
  expect(others).toEqual([]);
  expect(await start(serving).end()).toEqual({ code: 0, errors: '' });
});
