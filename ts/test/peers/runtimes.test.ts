/**
 * Both packages in other runtimes. Bun and Deno are found on the PATH, in WSE_TEST_BUN and WSE_TEST_DENO, or where
 * `npm install --prefix ts/test/runtimes` puts them; a runtime that is missing is skipped with one line.
 */

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

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

/** Runs a program of the folder to its end; what it prints is JSON. */
async function run(program: string, args: readonly string[]): Promise<unknown> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 25_000 });
  let [out, errors] = ['', ''];
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (errors += String(chunk)));
  const code = await new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
  expect({ code, errors }).toEqual({ code: 0, errors: '' });
  return JSON.parse(out);
}

for (const { name, program, args } of RUNTIMES) {
  if (program === undefined) console.error(`wse: ${name} is missing, not tested: npm install --prefix ts/test/runtimes`);
  test.skipIf(program === undefined)(`${name}: clients, a worker that drains, an end by itself`, async () => {
    expect(await run(program ?? '', [...args, join(FOLDER, 'smoke.mjs')])).toEqual({
      heard: ['gr\u{fc}\u{df}', 'gr\u{fc}\u{df}', 'gr\u{fc}\u{df}'],
      echo: { n: 2 ** 31, list: [1, 'two', null] },
      drained: true,
      codes: [4300, 4300, 4300],
    });
  });

  test.skipIf(program === undefined)(`${name}: wse-client reconnects, recovers, asks and is asked, keeps a file`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'wse-runtime-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    expect(await run(program ?? '', [...args, join(FOLDER, 'client.mjs'), join(folder, 'outbox')])).toEqual({
      heard: [1, 2],
      doubled: 42,
      orders: ['gr\u{fc}\u{df}', { qty: 3 }],
      durable: true,
      states: ['connecting', 'connected', 'reconnecting', 'connected', 'disconnected'],
    });
  });
}
