// npm run bench:instructions [-- --check]: instructions of the hottest paths, counted by callgrind, so that a
// regression shows on a machine too noisy for times. Writes bench/instructions.json; --check compares with it
// instead and fails above 5 %.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FILE = path.join(ROOT, 'bench', 'instructions.json');
const TOLERANCE = 1.05;

/** `units`: messages (or deliveries) per repetition. */
const PATHS = [
  {
    name: 'inbound',
    what: 'unmask and check one 128 B message of a known shape',
    crate: 'wse-protocol',
    target: 'hot_paths',
    test: 'inbound',
    units: 100,
  },
  {
    name: 'scan',
    what: 'check one 128 B message of unknown shape, unmasked',
    crate: 'wse-protocol',
    target: 'hot_paths',
    test: 'scan',
    units: 100,
  },
  {
    name: 'crossing',
    what: 'queue one 128 B message of a known shape and write it into columns',
    crate: 'wse-engine',
    target: 'wse_engine',
    test: 'inbound::flatten::tests::crossing',
    units: 1024,
  },
  { name: 'publish', what: 'frame one 128 B message', crate: 'wse-protocol', target: 'hot_paths', test: 'publish', units: 100 },
  {
    name: 'stage',
    what: 'stage and sort one short delivery',
    crate: 'wse-engine',
    target: 'wse_engine',
    test: 'delivery::staging::tests::stage',
    units: 6400,
  },
  {
    name: 'fan-out',
    what: 'queue and take one delivery, 64 joined',
    crate: 'wse-engine',
    target: 'wse_engine',
    test: 'conn::outbound::tests::fan_out',
    units: 6400,
  },
  {
    name: 'inline',
    what: 'echo one 128 B message through an inline shard: poller, socket, event, answer, socket',
    crate: 'wse-engine',
    target: 'inline',
    test: 'echo',
    units: 10,
  },
];

/** Programs of their own among them; the others are the unit tests of their crate. */
const TEST_TARGETS = ['hot_paths', 'inline'];

/** The test program of a crate, built as shipped. */
function build(crate, target) {
  const which = TEST_TARGETS.includes(target) ? ['--test', target] : ['--lib'];
  const args = ['test', '--release', '--no-run', '--locked', '-p', crate, ...which, '--message-format=json'];
  const lines = execFileSync('cargo', args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  });
  const artifacts = lines
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return artifacts.find((artifact) => artifact.executable && artifact.target.name === target).executable;
}

/** Instructions of one run. */
function count(program, test, repeat) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'wse-count-'));
  try {
    const out = path.join(folder, 'callgrind.out');
    const args = ['--tool=callgrind', `--callgrind-out-file=${out}`, program, '--ignored', '--exact', test, '--test-threads=1'];
    execFileSync('valgrind', args, { env: { ...process.env, REPEAT: String(repeat) }, stdio: 'ignore' });
    return Number(/^(?:totals|summary): (\d+)/m.exec(readFileSync(out, 'utf8'))[1]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const result = {};
for (const { name, what, crate, target, test, units } of PATHS) {
  const program = build(crate, target);
  const perUnit = (count(program, test, 300) - count(program, test, 100)) / (200 * units);
  result[name] = { what, instructions: Number(perUnit.toFixed(2)) };
  console.log(`${name}: ${result[name].instructions} instructions to ${what}`);
}
if (!process.argv.includes('--check')) {
  writeFileSync(FILE, `${JSON.stringify(result, null, 2)}\n`);
} else if (existsSync(FILE)) {
  const known = JSON.parse(readFileSync(FILE, 'utf8'));
  const worse = Object.keys(result).filter((name) => result[name].instructions > known[name].instructions * TOLERANCE);
  for (const name of worse) console.error(`${name}: ${known[name].instructions} before`);
  process.exitCode = worse.length > 0 ? 1 : 0;
}
