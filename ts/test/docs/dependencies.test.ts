// docs/dependencies.md gives a reason for every dependency of every manifest, and for nothing else.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const manifests = execFileSync('git', ['ls-files', '--', '*Cargo.toml'], { cwd: ROOT, encoding: 'utf8' }).trim().split('\n');
/** What ends up in the addon. */
const SHIPPED = ['protocol', 'crypto', 'engine', 'napi'].map((crate) => `crates/${crate}/Cargo.toml`);

/** The foreign crates that a manifest names in sections whose title matches. */
function crates(manifest: string, title: RegExp): string[] {
  const sections = read(manifest).split(/^\[/m).slice(1);
  const chosen = sections.filter((section) => title.test(section.slice(0, section.indexOf(']'))));
  const names = chosen.flatMap((section) =>
    [...section.matchAll(/^([\w-]+)(?:\.workspace)? *=/gm)].map(([, name]) => name as string),
  );
  return names.filter((name) => !name.startsWith('wse-'));
}

/** The names in the first column of the table below a heading. */
function named(heading: string): string[] {
  const [, section = ''] = read('docs/dependencies.md').split(`## ${heading}\n`);
  const rows = [...(section.split('\n## ')[0] ?? '').matchAll(/^\| (?!crate|package|tool|---)([^|]+) \|/gm)];
  return rows.flatMap(([, cell = '']) => cell.replace(/\(.*?\)/g, '').split(',')).map((name) => name.trim());
}

const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort();
const RUNTIME = /^(?:build-)?dependencies$|^target\..*\.dependencies$/;
const ANY = /^(?:build-|dev-)?dependencies$|^target\..*dependencies$/;

describe('docs/dependencies.md names', () => {
  const shipped = sorted(SHIPPED.flatMap((manifest) => crates(manifest, RUNTIME)));

  it('every crate that is shipped', () => {
    expect(shipped.length).toBeGreaterThan(20);
    expect(sorted(named('Rust, shipped'))).toEqual(shipped);
  });

  it('every crate that tests, benches and fuzz targets add, and no workspace dependency that nobody uses', () => {
    const all = sorted(manifests.flatMap((manifest) => crates(manifest, ANY)));
    const here = named('Rust, tests and benches only');
    expect(here).toEqual(expect.arrayContaining(all.filter((name) => !shipped.includes(name))));
    expect(all).toEqual(expect.arrayContaining(here));
    expect(all).toEqual(expect.arrayContaining(crates('Cargo.toml', /^workspace\.dependencies$/)));
  });

  it('every package of the manifests; the package itself has none', () => {
    const own = JSON.parse(read('package.json'));
    const others = ['bench', 'ts/test/runtimes'].map((folder) => JSON.parse(read(`${folder}/package.json`)));
    expect(own.dependencies).toBeUndefined();
    expect(sorted(named('JavaScript, development only'))).toEqual(
      sorted([own, ...others].flatMap(({ devDependencies }) => Object.keys(devDependencies))),
    );
  });
});
