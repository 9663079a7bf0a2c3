/** The programs of the README run as printed, and print what their comments say. */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Program } from '../../../ts/test/docs/run.js';

const text = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const programs = [...text.matchAll(/```js run\n([\s\S]*?)```/g)].map(([, code]) => code as string);

test('there are two', () => expect(programs).toHaveLength(2));

test.each(programs)('the program', async (code) => {
  const program = new Program(['--input-type=module', '-e', code]);
  expect(await program.end()).toEqual({ code: 0, errors: '' });
  const printed = [...code.matchAll(/\/\/ prints: (.*)$/gm)].map(([, line]) => line);
  expect(program.lines().sort()).toEqual(printed.sort());
});
