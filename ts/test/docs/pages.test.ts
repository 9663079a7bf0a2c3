// Every program of the pages runs as printed, and prints what its comments say.

import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Program } from './run.js';

const DOCS = new URL('../../../docs/', import.meta.url);
const programs = readdirSync(DOCS)
  .filter((name) => name.endsWith('.md'))
  .flatMap((page) => {
    const text = readFileSync(new URL(page, DOCS), 'utf8');
    return [...text.matchAll(/```js run\n([\s\S]*?)```/g)].map(([, code], i) => ({ page, i, code: code as string }));
  });

test('there are some', () => expect(programs.length).toBeGreaterThan(0));

test.each(programs)('$page, program $i', async ({ code }) => {
  const printed = [...code.matchAll(/\/\/ prints: (.*)$/gm)].map(([, line]) => line);
  const program = new Program(['--input-type=module', '-e', code]);
  expect(await program.end()).toEqual({ code: 0, errors: '' });
  expect(program.lines()).toEqual(printed);
});
