// npm test [-- rust | ts]: installs what is missing, builds, runs every check and every test, and ends with one line
// "N passed, N failed" over all of them. A check that fails counts as one failure; later parts still run. Tests that start an
// engine run twice: against its threads, and against the driver that has none.

import { readdirSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ensureBrowser, ensurePythonClient } from './lib/peers.mjs';
import { failWith, Problem, ROOT, run } from './lib/run.mjs';
import { checkNode, checkRust, ensureAddon, ensureClient, ensureFacade, ensurePackages, say } from './lib/steps.mjs';

const PARTS = ['rust', 'ts'];
const BROWSER_TESTS = [
  ...['chromium', 'dashboard', 'page'].map((name) => `ts/test/peers/${name}.test.ts`),
  'client/test/engine/browser.test.ts',
];
/** Programs that may be impossible to get here, and the files of tests that need each. */
const PEERS = [
  { name: 'Chromium', variable: 'WSE_TEST_CHROMIUM', ensure: ensureBrowser, tests: BROWSER_TESTS },
  { name: 'Python client', variable: 'WSE_TEST_PYTHON', ensure: ensurePythonClient, tests: ['ts/test/peers/python.test.ts'] },
];
/** What makes the tests' engines run on an event loop instead of threads (docs/design/drivers.md). */
const INLINE = { WSE_TEST_DRIVER: 'inline' };
/** Projects of vitest whose tests start engines; the one file of them that says itself which driver it has. */
const DRIVEN = [
  '--project=border',
  '--project=client',
  '--project=process',
  '--project=attack',
  '--exclude=ts/test/process/inline.test.ts',
];
const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];

const module = (...path) => join(ROOT, 'node_modules', ...path);
const node = (...args) => [process.execPath, args];

function failed(name) {
  total.failed += 1;
  failures.push(name);
}

/** Runs a check; its output is shown. */
async function check(name, [program, args]) {
  say(name);
  if ((await run(program, args)) !== 0) failed(name);
}

async function cargoTests(name, args, env) {
  say(name);
  const before = total.failed;
  const code = await run('cargo', ['test', ...args, '--locked', '--no-fail-fast'], {
    env,
    onLine(line) {
      const result = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/.exec(line);
      if (result === null) return;
      total.passed += Number(result[1]);
      total.failed += Number(result[2]);
      total.skipped += Number(result[3]);
    },
  });
  if (code === 0) return;
  // A crate that does not compile, or a test that ends its process, has no line of its own.
  if (total.failed === before) total.failed += 1;
  failures.push(name);
}

/** Finds or installs the peers. One that cannot be had is one failure, and the other tests run without it. */
async function findPeers() {
  const env = {};
  const without = [];
  for (const { name, variable, ensure, tests } of PEERS) {
    try {
      env[variable] = await ensure();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      console.error(`wse: ${error.message} Not run: ${tests.join(', ')}`);
      failed(name);
      without.push(...tests.map((file) => `--exclude=${file}`));
    }
  }
  return { env, without };
}

async function vitest(name, selection, env) {
  say(name);
  const file = module('.cache', 'wse', 'vitest.json');
  rmSync(file, { force: true });
  const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...selection];
  const code = await run(...node(module('vitest', 'vitest.mjs'), ...args), { env });
  const report = await readFile(file, 'utf8').then(JSON.parse, () => ({}));
  const { numPassedTests = 0, numFailedTests = 0, numPendingTests = 0, numTodoTests = 0 } = report;
  total.passed += numPassedTests;
  total.failed += numFailedTests;
  total.skipped += numPendingTests + numTodoTests;
  if (code === 0) return;
  if (numFailedTests === 0) total.failed += 1;
  failures.push(name);
}

async function rust() {
  await check('cargo fmt --check', ['cargo', ['fmt', '--all', '--check']]);
  await check('cargo clippy', [
    'cargo',
    ['clippy', '--workspace', '--all-targets', '--locked', '--quiet', '--', '-D', 'warnings'],
  ]);
  await cargoTests('cargo test', ['--workspace']);
  // By their names within the workspace: `-p wse-engine` has other features, and would build everything again.
  const programs = readdirSync(join(ROOT, 'crates', 'engine', 'tests')).filter((file) => file.endsWith('.rs'));
  await cargoTests('cargo test, inline', ['--workspace', ...programs.map((file) => `--test=${basename(file, '.rs')}`)], INLINE);
}

async function ts() {
  await check('biome', node(module('@biomejs', 'biome', 'bin', 'biome'), 'check', '--error-on-warnings'));
  await check('tsc', node(module('typescript', 'bin', 'tsc'), '-p', '.'));
  await ensureAddon({ write: false });
  await ensureFacade();
  await ensureClient();
  await check('pack:check', node('scripts/pack-check.mjs'));
  const { env, without } = await findPeers();
  await vitest('vitest', without, env);
  await vitest('vitest, inline', DRIVEN, INLINE);
}

try {
  const parts = process.argv.length > 2 ? process.argv.slice(2) : PARTS;
  const unknown = parts.find((part) => !PARTS.includes(part));
  if (unknown !== undefined) throw new Problem(`unknown part '${unknown}'; use: npm test [-- ${PARTS.join(' | ')}]`);
  checkNode();
  checkRust();
  await ensurePackages();
  await check('rooms', node('scripts/check-rooms.mjs'));
  await check('modules', node('scripts/check-modules.mjs'));
  if (parts.includes('rust')) await rust();
  if (parts.includes('ts')) await ts();
} catch (error) {
  if (!(error instanceof Problem)) failWith(error);
  console.error(`wse: ${error.message}`);
  failed('setup');
}

if (failures.length > 0) console.log(`\nfailed: ${failures.join(', ')}`);
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exitCode = failures.length > 0 || total.passed === 0 ? 1 : 0;
