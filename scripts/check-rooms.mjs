// The law between the rooms: dependencies point one way, and each foreign library has one home.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
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

/** Only for tests: nobody depends on it otherwise. */
const DEV_ONLY = ['wse-testkit'];

/** Libraries with one home. `dev` places may use them for tests only. */
const HOMES = [
  {
    libraries: /^(aws-lc-.*|ring|rustls(-.*)?|tokio-rustls|jsonwebtoken|hmac|sha1|sha2|aes-gcm|p256|rsa)$/,
    homes: ['wse-crypto', 'wse-testkit'],
    dev: true,
    why: 'crypto, JWT and TLS live in wse-crypto',
  },
  { libraries: /^(napi|napi-.*|mimalloc)$/, homes: ['wse-napi'], dev: false, why: 'Node vocabulary lives in wse-napi' },
  {
    libraries: /^(tokio|tokio-.*|socket2|mio|httparse|dashmap|parking_lot)$/,
    homes: ['wse-crypto', 'wse-engine', 'wse-napi', 'wse-testkit'],
    dev: false,
    why: 'wse-protocol has no sockets, threads or clock',
  },
];

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
    for (const { name: used, kind } of dependencies) {
      const dev = kind === 'dev';
      if (ours.has(used)) {
        if (DEV_ONLY.includes(used) ? !dev : !allowed.includes(used) && !dev) {
          problems.push(`${name} must not depend on ${used}`);
        }
        continue;
      }
      for (const { libraries, homes, dev: inTests, why } of HOMES) {
        if (libraries.test(used) && !homes.includes(name) && !(dev && inTests) && kind !== 'build') {
          problems.push(`${name} must not depend on ${used}: ${why}`);
        }
      }
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
    for (const [, from] of source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)) {
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
for (const problem of problems) console.error(`rooms: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
