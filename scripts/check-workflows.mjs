// Lints .github/workflows: they cannot run here, so at least they parse, pin what they use, ask for no more rights
// than they need, and name scripts that exist.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { ROOT } from './lib/run.mjs';

const FOLDER = join(ROOT, '.github', 'workflows');
const PINNED = /^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/;
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const problems = [];

for (const name of readdirSync(FOLDER)) {
  const source = readFileSync(join(FOLDER, name), 'utf8');
  const document = parseDocument(source, { lineCounter: new LineCounter(), uniqueKeys: true });
  const report = (text) => problems.push(`${name}: ${text}`);
  for (const { message } of [...document.errors, ...document.warnings]) report(message);
  if (document.errors.length > 0) continue;

  const workflow = document.toJS();
  if (workflow.permissions === undefined || Object.keys(workflow.permissions ?? {}).length > 0) {
    report('the top level must say "permissions: {}"; jobs ask for what they need');
  }
  for (const [id, job] of Object.entries(workflow.jobs ?? {})) checkJob(id, job, workflow.jobs, report);

  // The comment is how a person knows what the number is, and how an update tool finds it.
  for (const [line, uses] of source.matchAll(/^.*\buses:\s*(\S+).*$/gm)) {
    if (!uses.startsWith('./') && !/#\s*v\d/.test(line)) report(`${uses} needs its version as a comment`);
  }
}

function checkJob(id, job, jobs, report) {
  if (job.permissions === undefined) report(`job ${id}: no permissions`);
  if (job['runs-on'] === undefined) report(`job ${id}: no runs-on`);
  if (job['timeout-minutes'] === undefined) report(`job ${id}: no timeout-minutes`);
  for (const needed of [job.needs ?? []].flat()) {
    if (jobs[needed] === undefined) report(`job ${id}: needs the unknown job ${needed}`);
  }
  for (const step of job.steps ?? []) {
    if ((step.uses === undefined) === (step.run === undefined)) report(`job ${id}: a step must have either uses or run`);
    if (step.uses !== undefined && !step.uses.startsWith('./') && !PINNED.test(step.uses)) {
      report(`job ${id}: ${step.uses} is not pinned to a full commit hash`);
    }
    if (step.uses?.startsWith('actions/checkout@') && step.with?.['persist-credentials'] !== false) {
      report(`job ${id}: checkout must say persist-credentials: false`);
    }
    if (step.run !== undefined) checkRun(id, step.run, report);
  }
}

function checkRun(id, command, report) {
  if (/\$\{\{\s*github\.(event|head_ref|ref_name)/.test(command)) report(`job ${id}: text from outside inside a command`);
  if (/\brustup\b.*\b(stable|beta|nightly)\b/.test(command)) report(`job ${id}: the Rust toolchain is not pinned to a version`);
  for (const [, script] of command.matchAll(/\bnpm run ([\w:-]+)/g)) {
    if (scripts[script] === undefined) report(`job ${id}: there is no script ${script}`);
  }
  for (const [, file] of command.matchAll(/\bnode (scripts\/\S+)/g)) {
    if (!existsSync(join(ROOT, file))) report(`job ${id}: there is no ${file}`);
  }
}

for (const problem of problems) console.error(`workflows: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
