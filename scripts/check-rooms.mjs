// npm run check:rooms: the law between the rooms: dependencies point one way. That each foreign library has one home is
// said in deny.toml and checked by cargo-deny, in the workflow: building it takes longer than all of this.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { ROOT, read } from './lib/run.mjs';

/** Which of our crates a crate may depend on. A crate that is not named here is a mistake, so that nobody forgets it. */
const MAY_USE = {
  'wse-protocol': [],
  'wse-crypto': ['wse-protocol'],
  'wse-engine': ['wse-protocol', 'wse-crypto'],
  'wse-napi': ['wse-protocol', 'wse-crypto', 'wse-engine'],
  'wse-testkit': ['wse-protocol', 'wse-crypto', 'wse-engine'],
  'wse-loadgen': [],
};

/** Where no line of unsafe code may be. */
const SAFE = ['wse-protocol'];

const problems = [];

function checkCrates() {
  const output = read('cargo', ['metadata', '--no-deps', '--format-version', '1', '--offline']);
  if (output === undefined) {
    problems.push('cargo metadata failed');
    return;
  }
  const { packages } = JSON.parse(output);
  const ours = new Set(packages.map(({ name }) => name));
  for (const { name, dependencies, targets } of packages) {
    const allowed = MAY_USE[name];
    if (allowed === undefined) {
      problems.push(`${name}: a crate without a room; name it in scripts/check-rooms.mjs`);
      continue;
    }
    // For tests a crate may use any other: wse-testkit is named nowhere above and so is for tests only.
    for (const { name: used, kind } of dependencies) {
      if (ours.has(used) && kind !== 'dev' && !allowed.includes(used)) problems.push(`${name} must not depend on ${used}`);
    }
    if (SAFE.includes(name)) {
      const library = targets.find(({ kind }) => kind.includes('lib'));
      if (!readFileSync(library.src_path, 'utf8').includes('#![forbid(unsafe_code)]')) {
        problems.push(`${name}: its lib.rs must say #![forbid(unsafe_code)]`);
      }
    }
  }
}

/** The facade reaches the addon through its loader only, and nothing outside of itself. */
function checkFacade() {
  for (const file of walk(join(ROOT, 'ts', 'src'))) {
    const name = relative(ROOT, file);
    const source = readFileSync(file, 'utf8');
    for (const [, from] of source.matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)'([^']+)'/g)) {
      if (from.startsWith('node:')) continue;
      if (!from.startsWith('.')) problems.push(`${name}: imports ${from}; the facade has no dependencies`);
      else if (!join(file, '..', from).startsWith(join(ROOT, 'ts', 'src')))
        problems.push(`${name}: ${from} is outside of ts/src`);
    }
    if (/\brequire\w*\(/.test(source) && !name.endsWith(join('native', 'loader.ts'))) {
      problems.push(`${name}: only native/loader.ts loads the addon`);
    }
  }
}

/** The client: each room may import from those before it; packages are named here, all of them optional. */
const CLIENT_ROOMS = ['protocol', 'core', '*'];
const CLIENT_PACKAGES = {
  protocol: ['@msgpack/msgpack'],
  core: ['#ws'],
  react: ['react'],
  store: ['react', 'zustand'],
  query: ['react', '@tanstack/react-query', '@tanstack/query-core'],
  testing: ['wse-server'],
};
/** What is for Node alone; everything else runs in browsers too. */
const CLIENT_FOR_NODE = ['outbox/file.ts', 'outbox/lock.ts', 'testing/'];

function checkClient() {
  const source = join(ROOT, 'client', 'src');
  const rank = (room) => (CLIENT_ROOMS.includes(room) ? CLIENT_ROOMS : CLIENT_ROOMS.concat(room)).indexOf(room);
  for (const file of walk(source)) {
    const [room, ...rest] = relative(source, file).split(sep);
    if (rest.length === 0) continue; // index.ts names everything
    const name = relative(ROOT, file);
    for (const [, from] of readFileSync(file, 'utf8').matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)'([^']+)'/g)) {
      if (!from.startsWith('.')) {
        const known = (CLIENT_PACKAGES[room] ?? []).some((other) => from === other || from.startsWith(`${other}/`));
        const path = [room, ...rest].join('/');
        const node = from.startsWith('node:') && CLIENT_FOR_NODE.some((place) => path.startsWith(place));
        if (!known && !node) problems.push(`${name}: ${room} must not import ${from}`);
        continue;
      }
      const [target, ...below] = relative(source, join(file, '..', from)).split(sep);
      if (target === '..') problems.push(`${name}: ${from} is outside of client/src`);
      else if (below.length > 0 && target !== room && rank(target) > rank(room)) {
        problems.push(`${name}: ${room} must not import ${target}`);
      }
    }
  }
}

function* walk(path) {
  if (!existsSync(path)) return;
  if (!statSync(path).isDirectory()) {
    yield path;
    return;
  }
  for (const name of readdirSync(path)) yield* walk(join(path, name));
}

checkCrates();
checkFacade();
checkClient();
for (const problem of problems) console.error(`rooms: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
