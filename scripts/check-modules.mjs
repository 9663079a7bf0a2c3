// npm run check:modules [-- --print]: the law within our crates. Imports between the modules of the engine go one way,
// in the order of ENGINE, and no file of any crate is in a circle of imports. `--print` shows every edge.
//
// Read from the `use` lines: a name that a folder's mod.rs hands on counts as its file's. A path in the middle of an expression
// is not seen, so paths are imported, never written out.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { ROOT } from './lib/run.mjs';

/** A module may import those of the lines above its own, and of its own line only what its crate says. */
const ENGINE = [
  ['clock', 'config', 'error', 'id'],
  ['flow', 'frames', 'liveness', 'metrics', 'slab', 'wheel', 'admission', 'ready', 'reactor', 'alarm', 'outlet', 'turns'],
  ['presence', 'tokens'],
  ['topics'],
  ['recovery', 'asking'],
  ['mailbox', 'registry', 'inbound'],
  ['shared', 'outbox'],
  ['conn'],
  ['delivery'],
  ['shard'],
  ['net'],
  ['engine'],
];

const CRATES = ['protocol', 'crypto', 'engine', 'napi', 'testkit'];

const rank = new Map(ENGINE.flatMap((names, level) => names.map((name) => [name, level])));
const problems = [];
const edges = [];

for (const crate of CRATES) {
  const src = join(ROOT, 'crates', crate, 'src');
  if (existsSync(src)) checkCrate(crate, src);
}

if (process.argv.includes('--print')) for (const [from, to] of edges) console.log(`${from} -> ${to}`);
for (const problem of problems) console.error(`modules: ${problem}`);
if (problems.length === 0) console.log(`modules: ${edges.length} imports, all one way`);
process.exitCode = problems.length > 0 ? 1 : 0;

function checkCrate(crate, src) {
  const files = [...rustFiles(src)];
  const graph = new Map();
  for (const file of files) {
    const targets = new Set();
    for (const path of imports(readFileSync(file, 'utf8'))) {
      const target = resolve(src, file, path);
      if (target !== undefined && target !== file) targets.add(target);
    }
    graph.set(file, targets);
  }
  for (const [file, targets] of graph) {
    for (const target of targets) {
      edges.push([relative(ROOT, file), relative(ROOT, target)]);
      if (crate === 'engine') checkRank(src, file, target);
    }
  }
  for (const circle of circles(graph)) {
    problems.push(`a circle: ${[...circle, circle[0]].map((file) => relative(ROOT, file)).join(' -> ')}`);
  }
}

function checkRank(src, file, target) {
  const [from, to] = [file, target].map((path) => relative(src, path).split(/[/.]/)[0]);
  if (from === to || from === 'lib') return;
  const [higher, lower] = [rank.get(from), rank.get(to)];
  if (higher === undefined || lower === undefined) {
    problems.push(`${higher === undefined ? from : to}: a module without a room; name it in scripts/check-modules.mjs`);
  } else if (lower >= higher) {
    problems.push(`${relative(src, file)} imports ${to}, which does not lie below ${from}`);
  }
}

function* rustFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* rustFiles(path);
    else if (entry.name.endsWith('.rs') && !/(^|_)tests\.rs$/.test(entry.name) && entry.name !== 'vectors.rs') yield path;
  }
}

/** Every path of the `use` items that are not tests' and do not merely hand on, groups taken apart. */
function imports(text) {
  const source = text.replace(/#\[cfg\(test\)\]\s*mod \w+ \{[\s\S]*$/, '').replace(/\/\/.*$/gm, '');
  const found = [];
  for (const [, visible, tree] of source.matchAll(/^\s*(pub(?:\([a-z]+\))? )?use ([^;]+);/gm)) {
    if (visible === undefined) found.push(...expand(tree.replace(/\s+/g, ' ').trim()));
  }
  return found;
}

function expand(tree) {
  const open = tree.indexOf('{');
  if (open < 0) return [tree.replace(/ as .*/, '').trim()];
  const head = tree.slice(0, open);
  const parts = [];
  let depth = 0;
  let part = '';
  for (const character of tree.slice(open + 1, tree.lastIndexOf('}'))) {
    if (character === ',' && depth === 0) {
      parts.push(part);
      part = '';
      continue;
    }
    if (character === '{') depth += 1;
    if (character === '}') depth -= 1;
    part += character;
  }
  return [...parts, part]
    .map((each) => each.trim())
    .filter(Boolean)
    .flatMap((each) => expand(head + each));
}

/** The file in which the thing is that `path` names, seen from `file`; undefined for other crates. */
function resolve(src, file, path) {
  const [first, ...rest] = path.split('::');
  const isRoot = /(mod|lib)\.rs$/.test(file);
  const own = isRoot ? dirname(file) : file.replace(/\.rs$/, '');
  if (first === 'crate') return follow(src, rest);
  if (first === 'self') return follow(own, rest);
  if (first !== 'super') return isModule(own, first) ? follow(own, [first, ...rest]) : undefined;
  let folder = dirname(own);
  while (rest[0] === 'super') {
    rest.shift();
    folder = dirname(folder);
  }
  return follow(folder, rest);
}

function isModule(folder, name) {
  return existsSync(join(folder, `${name}.rs`)) || existsSync(join(folder, name, 'mod.rs'));
}

function follow(folder, names) {
  const [name, ...rest] = names;
  if (name !== undefined && isModule(folder, name)) {
    const file = join(folder, `${name}.rs`);
    if (rest.length === 0) return existsSync(file) ? file : join(folder, name, 'mod.rs');
    return existsSync(file) && !isModule(join(folder, name), rest[0]) ? file : follow(join(folder, name), rest);
  }
  const root = ['mod.rs', 'lib.rs'].map((file) => join(folder, file)).find(existsSync) ?? `${folder}.rs`;
  if (!existsSync(root) || name === undefined) return existsSync(root) ? root : undefined;
  // What a folder hands on is its file's.
  for (const [, tree] of readFileSync(root, 'utf8').matchAll(/^\s*pub(?:\([a-z]+\))? use ([^;]+);/gm)) {
    const handed = expand(tree.replace(/\s+/g, ' ').trim()).find((each) => each.split('::').at(-1) === name);
    const parts = handed?.replace(/^self::/, '').split('::');
    if (parts !== undefined && isModule(folder, parts[0])) return follow(folder, parts);
  }
  return root;
}

/** Groups of files that import each other, by Tarjan's algorithm. */
function circles(graph) {
  const found = [];
  const state = new Map();
  const stack = [];
  const visit = (file) => {
    const own = { index: state.size, low: state.size, open: true };
    state.set(file, own);
    stack.push(file);
    for (const target of graph.get(file) ?? []) {
      const seen = state.get(target);
      if (seen === undefined) own.low = Math.min(own.low, visit(target).low);
      else if (seen.open) own.low = Math.min(own.low, seen.index);
    }
    if (own.low === own.index) {
      const members = stack.splice(stack.indexOf(file));
      for (const member of members) state.get(member).open = false;
      if (members.length > 1) found.push(members);
    }
    return own;
  };
  for (const file of graph.keys()) if (!state.has(file)) visit(file);
  return found;
}
