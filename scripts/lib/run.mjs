// Runs other programs, and stops with one line a person can act on.

import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Something a person has to put right. Shown without a stack. */
export class Problem extends Error {}

/** Prints what went wrong in one line (or, for a mistake of ours, with its stack) and ends. */
export function failWith(error) {
  console.error(error instanceof Problem ? `wse: ${error.message}` : error);
  process.exit(1);
}

/** Where a program is on the PATH, or undefined. */
export function which(program) {
  const endings = process.platform === 'win32' ? ['.exe', '.cmd', ''] : [''];
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    for (const ending of endings) {
      const file = join(directory, program + ending);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // not here
      }
    }
  }
  return undefined;
}

/**
 * Runs a program and shows what it says.
 *
 * @param {{
 *   onLine?: (line: string) => void, onErrorLine?: (line: string) => void, silentStdout?: boolean, quiet?: boolean, cwd?: string,
 *   env?: Record<string, string>,
 * }} [options] `onLine` sees each line of standard output, with `silentStdout` it alone, `onErrorLine` each of standard error;
 *   `quiet` shows output only of a failure
 * @returns its exit code
 */
export function run(program, args, { onLine, onErrorLine, silentStdout = false, quiet = false, cwd = ROOT, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: [
        'ignore',
        onLine !== undefined || quiet ? 'pipe' : 'inherit',
        onErrorLine !== undefined || quiet ? 'pipe' : 'inherit',
      ],
    });
    const kept = [];
    const out = byLine(onLine);
    const errors = byLine(onErrorLine);
    child.stdout?.on('data', (chunk) => {
      if (quiet) kept.push(chunk);
      else if (!silentStdout) process.stdout.write(chunk);
      out.push(chunk);
    });
    child.stderr?.on('data', (chunk) => {
      if (quiet) kept.push(chunk);
      else process.stderr.write(chunk);
      errors.push(chunk);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      out.end();
      errors.end();
      const result = code ?? (signal ? 1 : 0);
      if (quiet && result !== 0) process.stderr.write(Buffer.concat(kept));
      resolve(result);
    });
  });
}

/** Hands on what it is given line by line. */
function byLine(onLine) {
  let rest = '';
  return {
    push(chunk) {
      if (onLine === undefined) return;
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines) onLine(line);
    },
    end() {
      if (rest !== '') onLine?.(rest);
    },
  };
}

/** `run`, but a failure ends everything. */
export async function must(what, program, args, options) {
  const code = await run(program, args, options);
  if (code !== 0) throw new Problem(`${what} failed (exit code ${code})`);
}

/** What a program prints, or undefined when it fails. */
export function read(program, args, cwd = ROOT) {
  const result = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 26 });
  return result.status === 0 ? result.stdout : undefined;
}

/** Runs npm itself, the one that started us if there is one. */
export function npm(what, args, options) {
  const cli = process.env.npm_execpath;
  if (cli?.endsWith('npm-cli.js')) return must(what, process.execPath, [cli, ...args], options);
  if (process.platform === 'win32')
    return must(what, process.env.ComSpec ?? 'cmd.exe', ['/d', '/s', '/c', 'npm', ...args], options);
  return must(what, 'npm', args, options);
}
