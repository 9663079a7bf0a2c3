// What must be there before anything runs: packages, the addon, the compiled facade. Each step does nothing
// when nothing has changed. Only Node's own modules are used here: on a bare clone there is nothing else.

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { buildAddon, isBuilt } from './addon.mjs';
import { must, npm, Problem, ROOT, read, which } from './run.mjs';
import { fingerprint, readStamp, writeStamp } from './stamp.mjs';

const MIN_NODE = 20;
const MIN_RUST = [1, 89];
const STAMPS = join(ROOT, 'node_modules', '.cache', 'wse');

export function say(text) {
  console.log(`wse: ${text}`);
}

export function checkNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < MIN_NODE) throw new Problem(`Node ${process.versions.node} is too old: Node ${MIN_NODE} or newer is needed.`);
}

/** Finds cargo, also where rustup puts it when the shell has not been told yet. */
export function checkRust() {
  if (which('cargo') === undefined) {
    const rustup = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin');
    if (existsSync(join(rustup, process.platform === 'win32' ? 'cargo.exe' : 'cargo'))) {
      process.env.PATH = `${rustup}${delimiter}${process.env.PATH}`;
    }
  }
  const wanted = MIN_RUST.join('.');
  if (which('cargo') === undefined) {
    throw new Problem(
      `Rust is missing (no cargo on the PATH): install Rust ${wanted} or newer from https://rustup.rs and run this again.`,
    );
  }
  const version = /rustc (\d+)\.(\d+)/.exec(read('rustc', ['--version']) ?? '');
  if (version === null) {
    throw new Problem(
      'cargo is there, but "rustc --version" fails (rustup without a toolchain?): run "rustup default stable" and then this again.',
    );
  }
  const [major, minor] = [Number(version[1]), Number(version[2])];
  if (major < MIN_RUST[0] || (major === MIN_RUST[0] && minor < MIN_RUST[1])) {
    throw new Problem(`Rust ${major}.${minor} is too old: run "rustup update" to get ${wanted} or newer.`);
  }
  if (process.platform !== 'win32' && !['cc', 'gcc', 'clang'].some(which) && !process.env.CC) {
    throw new Problem(
      'a C compiler is missing (no cc on the PATH): install one (Debian: build-essential; macOS: xcode-select --install) and run this again.',
    );
  }
}

/** `npm ci` in a folder whose lockfile is not the one that was installed. The stamp goes where the packages go. */
export async function ensurePackages(folder = '') {
  const stamp = join(ROOT, folder, 'node_modules', '.cache', 'wse', 'packages');
  const wanted = fingerprint([join(folder, 'package-lock.json')]);
  if (readStamp(stamp) === wanted) return;
  say(`installing npm packages${folder && ` of ${folder}/`} …`);
  const args = ['ci', '--include=dev', '--no-fund', '--no-audit', '--loglevel=error'];
  await npm('npm ci', args, { cwd: join(ROOT, folder), quiet: true });
  writeStamp(stamp, wanted);
}

/** `buildAddon`, with a word to the one who has to wait. */
export async function ensureAddon(options) {
  if (!isBuilt()) say('building the Rust addon (the first time takes a few minutes) …');
  return buildAddon(options);
}

/** Compiles the facade when its sources have changed. */
export async function ensureFacade() {
  const stamp = join(STAMPS, 'facade');
  const wanted = fingerprint(['ts/src', 'tsdown.config.ts', 'tsconfig.json', 'package.json', 'package-lock.json']);
  if (existsSync(join(ROOT, 'dist', 'index.js')) && readStamp(stamp) === wanted) return;
  say('compiling the TypeScript facade …');
  await must('tsdown', process.execPath, [join(ROOT, 'node_modules', 'tsdown', 'dist', 'run.mjs')], { quiet: true });
  writeStamp(stamp, wanted);
}

/** Compiles `client/`, the package `wse-client`, when its sources have changed. */
export async function ensureClient() {
  const stamp = join(STAMPS, 'client');
  const files = ['src', 'package.json', 'tsdown.config.ts', 'names.config.ts'].map((name) => join('client', name));
  const wanted = fingerprint([...files, 'tsconfig.json', 'package-lock.json']);
  if (existsSync(join(ROOT, 'client', 'dist', 'index.js')) && readStamp(stamp) === wanted) return;
  say('compiling the client …');
  const tsdown = join(ROOT, 'node_modules', 'tsdown', 'dist', 'run.mjs');
  await must('tsdown', process.execPath, [tsdown], { quiet: true, cwd: join(ROOT, 'client') });
  writeStamp(stamp, wanted);
}

/** Everything a program needs that imports `wse-server` from this checkout; returns what `ensureAddon` does. */
export async function ensureBuilt(options) {
  checkNode();
  checkRust(); // before anything is installed
  await ensurePackages();
  const addon = await ensureAddon(options);
  await ensureFacade();
  return addon;
}
