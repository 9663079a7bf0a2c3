// Builds the addon with `napi build`, here and in the release alike, and keeps what is generated from its border: the
// declaration TypeScript uses, and the hash of it by which the loader knows an addon of these sources.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Problem, ROOT, run } from './run.mjs';

/** How cargo builds the addon: tested and measured is what is shipped. */
export const PROFILE = 'release';

/** Where the addons are. */
const NATIVE = join(ROOT, 'ts', 'native');
const CLI = join(ROOT, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js');
const HEADER = '// Generated from crates/napi by `npm run build`. Not for editing.\n\n';
const DECLARATION = 'ts/src/native/index.d.ts';
const ABI = 'ts/src/native/abi.ts';

/** The hash of a declaration: FNV-1a in 64 bits without carriage returns, as `crates/napi/src/lib.rs` takes it. */
export function abiVersion(declaration) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(declaration.replaceAll('\r', ''))) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, '0');
}

/**
 * Builds the addon; cargo decides what there is to do.
 *
 * @param {{ profile?: string, flags?: string[], write?: boolean }} [options] `flags` go to `napi build`; without `write` a
 *   border that is not the declared one is a problem, with it the declaration is written anew
 * @returns the file, and the platform it is for as in `npm/`
 */
export async function buildAddon({ profile = PROFILE, flags = [], write = true } = {}) {
  mkdirSync(NATIVE, { recursive: true });
  const fresh = mkdtempSync(join(NATIVE, '.build-'));
  try {
    await napiBuild(fresh, profile, flags);
    const declaration = readFileSync(join(fresh, 'index.d.ts'), 'utf8');
    const stale = staleFiles(declaration);
    if (stale.length > 0 && !write) {
      throw new Problem(`${DECLARATION} or ${ABI} is not what crates/napi generates: run "npm run build" and commit both.`);
    }
    for (const [path, text] of stale) writeFileSync(join(ROOT, path), text);
    if (stale.length > 0) console.log(`wse: the border has changed: commit ${stale.map(([path]) => path).join(' and ')}`);
    // The addon holds the hash of its declaration.
    if (stale.some(([path]) => path === DECLARATION)) await napiBuild(fresh, profile, flags);
    const name = readdirSync(fresh).find((file) => file.endsWith('.node'));
    put(join(fresh, name), join(NATIVE, name));
    return { file: join(NATIVE, name), platform: name.split('.')[1] };
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Whether any addon was built here before. */
export function isBuilt() {
  return existsSync(NATIVE) && readdirSync(NATIVE).some((file) => file.endsWith('.node'));
}

async function napiBuild(folder, profile, flags) {
  const code = await run(process.execPath, [
    CLI,
    'build',
    ...['--manifest-path', 'crates/napi/Cargo.toml', '--package-json-path', 'package.json', '--output-dir', folder],
    ...['--platform', '--profile', profile, '--no-js', '--dts', 'index.d.ts', '--dts-header', HEADER],
    ...flags,
    ...['--', '--locked'],
  ]);
  if (code !== 0) throw new Problem('the addon could not be built; the reason is above.');
}

const abiSource = (declaration) =>
  `${HEADER.trimEnd()}\n/** The hash of \`index.d.ts\`; an addon built with another border is refused when it is loaded. */\nexport const ABI_VERSION = '${abiVersion(declaration)}';\n`;

/** The committed files that do not say what was generated, each with what it should say. */
function staleFiles(declaration) {
  const files = [
    [DECLARATION, declaration],
    [ABI, abiSource(declaration)],
  ];
  const is = (path, text) => existsSync(join(ROOT, path)) && readFileSync(join(ROOT, path), 'utf8').replaceAll('\r', '') === text;
  return files.filter(([path, text]) => !is(path, text));
}

/**
 * Puts a file in place by renaming: a process that has the old image mapped keeps it. The same image stays where it is,
 * because a worker that loads another file than its main thread shares no engine with it.
 */
function put(fresh, place) {
  if (existsSync(place) && readFileSync(place).equals(readFileSync(fresh))) return;
  renameSync(fresh, place);
}
