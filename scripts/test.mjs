// npm test [-- rust | ts]: installs what is missing, builds, runs every check and every test, and ends with the names of what
// failed and one line "N passed, N failed" over all of them. A check that fails counts as one failure; later parts still run.
// Tests that start an engine run twice: against its threads, and against the driver that has none.
//
// A test that fails is run once more when everything else is over, its file alone. What passes then is named as flaky: it is a
// fault of the test or of what it tests, but not of the change at hand. More than MAX_FLAKY of them fail the run.

import { existsSync, readdirSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { ensureBrowser, ensurePythonClient } from './lib/peers.mjs';
import { failWith, Problem, ROOT, run } from './lib/run.mjs';
import { checkNode, checkRust, ensureAddon, ensureClient, ensureFacade, ensurePackages, say } from './lib/steps.mjs';

const PARTS = ['rust', 'ts'];
const BROWSER_TESTS = [
  ...['chromium', 'dashboard', 'dashboard-cut', 'dashboard-flood', 'page', 'vite-react'].map(
    (name) => `ts/test/peers/${name}.test.ts`,
  ),
  ...['engine/browser', 'engine/chunks', 'engine/service-worker', 'outbox/indexeddb', 'proof/browser', 'react/page'].map(
    (name) => `client/test/${name}.test.ts`,
  ),
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
/** Tests that may pass only when they are run again. */
const MAX_FLAKY = 3;
const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
/** What failed and is run again: `count` tests that `again` answers for. */
const suspects = [];
const flaky = [];

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

/** One `cargo test`: its exit code, its counts, the names of the tests that failed and of the programs they are in. */
async function cargoOnce(args, env) {
  const result = { code: 0, passed: 0, failed: 0, skipped: 0, names: [], programs: [] };
  result.code = await run('cargo', ['test', ...args, '--locked', '--no-fail-fast'], {
    env,
    onLine(line) {
      const counts = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/.exec(line);
      if (counts !== null) {
        result.passed += Number(counts[1]);
        result.failed += Number(counts[2]);
        result.skipped += Number(counts[3]);
      }
      const name = /^test (\S+) .*\.\.\. FAILED$/.exec(line)?.[1];
      if (name !== undefined) result.names.push(name);
    },
    onErrorLine(line) {
      // "error: 2 targets failed:", then one of these for each.
      const program = /^ {4}`(-p .+)`$/.exec(line)?.[1];
      if (program !== undefined) result.programs.push(program);
    },
  });
  return result;
}

async function cargoTests(name, args, env) {
  say(name);
  const { code, passed, failed, skipped, names, programs } = await cargoOnce(args, env);
  total.passed += passed;
  total.skipped += skipped;
  if (code === 0) return;
  // A crate that does not compile, or a test that ends its process, has no line of its own.
  if (failed === 0 || programs.length === 0) {
    total.failed += Math.max(failed, 1);
    failures.push([name, ...names].join(' '));
    return;
  }
  const again = async () => {
    for (const program of programs) {
      const selected = [...args.filter((arg) => !arg.startsWith('--test=')), ...program.split(' ').slice(2)];
      const second = await cargoOnce(selected, env);
      if (second.code !== 0) return false;
    }
    return true;
  };
  suspects.push({ name, count: failed, names, again });
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

async function vitestOnce(selection, env) {
  const file = module('.cache', 'wse', 'vitest.json');
  rmSync(file, { force: true });
  const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...selection];
  const code = await run(...node(module('vitest', 'vitest.mjs'), ...args), { env });
  const report = await readFile(file, 'utf8').then(JSON.parse, () => ({}));
  return { code, report };
}

async function vitest(name, selection, env) {
  say(name);
  const { code, report } = await vitestOnce(selection, env);
  const { numPassedTests = 0, numFailedTests = 0, numPendingTests = 0, numTodoTests = 0, testResults = [] } = report;
  total.passed += numPassedTests;
  total.skipped += numPendingTests + numTodoTests;
  if (code === 0) return;
  // A file that does not load has no failed tests.
  const files = testResults.filter(({ status }) => status === 'failed').map((result) => relative(ROOT, result.name));
  if (files.length === 0) {
    total.failed += Math.max(numFailedTests, 1);
    failures.push(name);
    return;
  }
  const names = testResults.flatMap(({ name: path, status, message, assertionResults }) => {
    if (status !== 'failed') return [];
    const tests = assertionResults.filter((test) => test.status === 'failed');
    const file = relative(ROOT, path);
    if (tests.length === 0) return [`${file}: ${firstLine(message)}`];
    return tests.map((test) => `${file}: ${test.fullName}: ${firstLine(test.failureMessages[0])}`);
  });
  const again = async () =>
    (await vitestOnce([...selection.filter((arg) => !arg.startsWith('--exclude')), ...files], env)).code === 0;
  suspects.push({ name, count: names.length, names, again });
}

const firstLine = (text = '') => text.split('\n', 1)[0];

/** Runs again what failed, with nothing beside it. */
async function settle() {
  for (const { name, count, names, again } of suspects) {
    say(`${name}: again, alone`);
    const passes = count <= MAX_FLAKY && (await again());
    if (passes) {
      total.passed += count;
      flaky.push(...names.map((test) => `${name}: ${test}`));
    } else {
      total.failed += count;
      failures.push(...names.map((test) => `${name}: ${test}`));
    }
  }
  if (flaky.length > MAX_FLAKY) failed(`more than ${MAX_FLAKY} flaky tests`);
}

async function rust() {
  await check('cargo fmt --check', ['cargo', ['fmt', '--all', '--check']]);
  await check('cargo clippy', [
    'cargo',
    ['clippy', '--workspace', '--all-targets', '--locked', '--quiet', '--', '-D', 'warnings'],
  ]);
  await cargoTests('cargo test', ['--workspace']);
  // By their names within the workspace: `-p wse-engine` has other features, and would build everything again.
  const tests = join(ROOT, 'crates', 'engine', 'tests');
  const programs = readdirSync(tests).filter((name) => name.endsWith('.rs') || existsSync(join(tests, name, 'main.rs')));
  await cargoTests('cargo test, inline', ['--workspace', ...programs.map((name) => `--test=${basename(name, '.rs')}`)], INLINE);
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
} finally {
  // What failed before the run broke off is named, too.
  await settle();
}

if (flaky.length > 0) console.log(`\nflaky, passed when run alone:\n  ${flaky.join('\n  ')}`);
if (failures.length > 0) console.log(`\nfailed:\n  ${failures.join('\n  ')}`);
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exitCode = failures.length > 0 || total.passed === 0 ? 1 : 0;
