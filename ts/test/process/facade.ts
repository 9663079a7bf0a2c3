/**
 * Runs TypeScript programs of `children/` on the facade's sources in processes and workers of their own, where no test
 * runner translates: everything is translated once, into a folder named after what is in it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { onTestFinished } from 'vitest';
import { platformName } from '../../src/native/platform.js';
import { DEADLINE_MS, waitUntil } from '../support/wait.js';

const TS = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const CACHE = resolve(TS, '../node_modules/.cache/wse-process-tests');

/** The addon as the loader finds it for this checkout. */
export const ADDON: string = resolve(process.env['WSE_NATIVE_PATH'] ?? join(TS, 'native', `wse-server.${platformName()}.node`));

/** The translated program `children/<name>.ts`. */
export function program(name: string): string {
  return join(translated(), 'test', 'process', 'children', `${name}.js`);
}

let folder: string | undefined;

function translated(): string {
  folder ??= translate();
  return folder;
}

function translate(): string {
  const files = [
    ...sources(join(TS, 'src')),
    ...sources(join(TS, 'test', 'process', 'children')),
    join(TS, 'test', 'support', 'driver.ts'),
    join(TS, 'test', 'support', 'frames.ts'),
  ];
  const texts = files.map((file) => readFileSync(file, 'utf8'));
  const name = createHash('sha256')
    .update(JSON.stringify([files, texts]))
    .digest('hex')
    .slice(0, 16);
  const target = join(CACHE, name);
  if (existsSync(target)) return target;
  mkdirSync(CACHE, { recursive: true });
  for (const old of readdirSync(CACHE).filter((entry) => !entry.includes('.'))) {
    rmSync(join(CACHE, old), { recursive: true, force: true });
  }
  const draft = `${target}.${process.pid}`;
  files.forEach((file, index) => {
    const { outputText } = ts.transpileModule(texts[index] as string, {
      fileName: file,
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    const out = join(draft, relative(TS, file)).replace(/\.ts$/, '.js');
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, outputText);
  });
  writeFileSync(join(draft, 'package.json'), '{"type":"module"}');
  try {
    renameSync(draft, target);
  } catch {
    rmSync(draft, { recursive: true, force: true }); // another test file was faster
  }
  return target;
}

function sources(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .sort()
    .map((file) => join(directory, file));
}

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Milliseconds since it started. */
  after: number;
}

/** A running program that reports by lines of JSON on its standard output. */
export class Child {
  readonly process: ChildProcess;
  readonly reports: Record<string, unknown>[] = [];
  stderr = '';
  exit: Exit | undefined;

  /** Starts `children/<name>.ts` with arguments; it is killed when the test ends. */
  constructor(name: string, ...args: (string | number)[]) {
    const began = performance.now();
    this.process = spawn(process.execPath, [program(name), ...args.map(String)], {
      env: { ...process.env, WSE_NATIVE_PATH: ADDON, NODE_OPTIONS: '' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let rest = '';
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.reports.push(JSON.parse(line) as Record<string, unknown>);
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.process.on('close', (code, signal) => {
      this.exit = { code, signal, after: performance.now() - began };
    });
    onTestFinished(() => void this.process.kill('SIGKILL'));
  }

  /** Waits for a line that has the member `name`, and returns that member. */
  async report<T = number>(name: string, deadlineMs: number = DEADLINE_MS): Promise<T> {
    const found = await waitUntil(
      () => {
        const report = this.reports.find((one) => name in one);
        if (report === undefined && this.exit !== undefined)
          throw new Error(`it ended (${JSON.stringify(this.exit)}): ${this.stderr}`);
        return report;
      },
      `report '${name}' (stderr: ${this.stderr.slice(-500)})`,
      deadlineMs,
    );
    return found[name] as T;
  }

  /** Lets the program go on: it waits for a line on its standard input. */
  tell(line = 'go'): void {
    this.process.stdin?.write(`${line}\n`);
  }

  /** Waits for its end. */
  async ended(deadlineMs: number = DEADLINE_MS): Promise<Exit> {
    return waitUntil(() => this.exit, `end of the process (stderr: ${this.stderr.slice(-500)})`, deadlineMs);
  }
}
