/** Runs a program of the documentation as its reader would: a process of its own in the repository's root. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

export class Program {
  readonly #child: ChildProcess;
  #out = '';
  #errors = '';

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.#child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.on('data', (chunk) => {
      this.#out += String(chunk);
    });
    this.#child.stderr?.on('data', (chunk) => {
      this.#errors += String(chunk);
    });
    onTestFinished(() => {
      this.#child.kill('SIGKILL');
    });
  }

  /** The first line it prints. */
  async firstLine(): Promise<string> {
    for (;;) {
      const end = this.#out.indexOf('\n');
      if (end >= 0) return this.#out.slice(0, end);
      if (this.#child.exitCode !== null) throw new Error(`it ended before it printed a line: ${this.#errors}`);
      await Promise.race([once(this.#child.stdout ?? this.#child, 'data'), once(this.#child, 'exit')]);
    }
  }

  /** What it has printed so far. */
  lines(): string[] {
    return this.#out.split('\n').slice(0, -1);
  }

  /** Waits for its end, after a signal if one is given; returns the exit code and what it wrote to stderr. */
  async end(signal?: NodeJS.Signals): Promise<{ code: number | null; errors: string }> {
    const exit = this.#child.exitCode === null ? once(this.#child, 'close') : undefined;
    if (signal !== undefined) this.#child.kill(signal);
    await exit;
    return { code: this.#child.exitCode, errors: this.#errors };
  }
}
