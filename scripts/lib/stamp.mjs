// "Has this changed since it was last built?" by content, so that a checkout or a touch rebuilds nothing.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { ROOT } from './run.mjs';

/** A hash over the names and contents of files and folders below the root; absent ones count as absent. */
export function fingerprint(paths, ...extra) {
  const hash = createHash('sha256');
  for (const path of paths) {
    for (const file of files(join(ROOT, path))) {
      const content = readFileSync(file);
      hash.update(`${relative(ROOT, file)}\0${content.length}\0`).update(content);
    }
  }
  return hash.update(JSON.stringify(extra)).digest('hex');
}

/** What the stamp file says, or undefined. */
export function readStamp(file) {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

export function writeStamp(file, value) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${value}\n`);
}

function* files(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isDirectory()) {
    yield path;
    return;
  }
  for (const name of readdirSync(path).sort()) {
    if (name !== 'target' && name !== 'node_modules') yield* files(join(path, name));
  }
}
