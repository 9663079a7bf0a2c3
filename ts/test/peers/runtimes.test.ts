/**
 * The package in other runtimes. Bun and Deno are found on the PATH, in WSE_TEST_BUN and WSE_TEST_DENO, or where
 * `npm install --prefix ts/test/runtimes` puts them; a runtime that is missing is skipped with one line.
 */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const FOLDER = fileURLToPath(new URL('../runtimes/', import.meta.url));
const EXE = process.platform === 'win32' ? '.exe' : '';
const RUNTIMES = [
  { name: 'node', program: process.execPath, args: [] },
  { name: 'bun', program: find('bun', '@oven', 'bin'), args: [] },
  { name: 'deno', program: find('deno', '@deno', ''), args: ['run', '--allow-all'] },
] as const;

/** The platform's own package is looked for: the one that has the command fetches its binary by an install script. */
function find(name: string, scope: string, folder: string): string | undefined {
  const packages = join(FOLDER, 'node_modules', scope);
  const installed = existsSync(packages) ? readdirSync(packages).map((entry) => join(packages, entry, folder, name + EXE)) : [];
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map((entry) => join(entry, name + EXE));
  return [process.env[`WSE_TEST_${name.toUpperCase()}`], ...installed, ...onPath].find((file) => file && existsSync(file));
}

for (const { name, program, args } of RUNTIMES) {
  if (program === undefined) console.error(`wse: ${name} is missing, not tested: npm install --prefix ts/test/runtimes`);
  test.skipIf(program === undefined)(`${name}: clients, a worker that drains, an end by itself`, async () => {
    const child = spawn(program ?? '', [...args, join(FOLDER, 'smoke.mjs')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 25_000,
    });
    let [out, errors] = ['', ''];
    child.stdout.on('data', (chunk) => (out += String(chunk)));
    child.stderr.on('data', (chunk) => (errors += String(chunk)));
    const code = await new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
    expect({ code, errors }).toEqual({ code: 0, errors: '' });
    expect(JSON.parse(out)).toEqual({
      heard: ['gr\u{fc}\u{df}', 'gr\u{fc}\u{df}', 'gr\u{fc}\u{df}'],
      echo: { n: 2 ** 31, list: [1, 'two', null] },
      drained: true,
      codes: [4300, 4300, 4300],
    });
  });
}
