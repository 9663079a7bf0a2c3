// Links between the pages lead somewhere, and so do the sections of the protocol that the code cites.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** The repository's own files of these kinds, also those that are not committed yet. */
function files(...patterns: string[]): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...patterns];
  const listed = execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).split('\n');
  return listed.filter((file) => file !== '' && existsSync(join(ROOT, file)));
}

test('every link between pages leads to a file', () => {
  const pages = files('*.md');
  expect(pages).toContain('README.md');
  const broken = pages.flatMap((page) => {
    const targets = [...read(page).matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target as string);
    const local = targets.filter((target) => !/^[a-z]+:/.test(target));
    return local.filter((target) => !existsSync(join(ROOT, dirname(page), target))).map((target) => `${page}: ${target}`);
  });
  expect(broken).toEqual([]);
});

test('every page and section that the code cites is there', () => {
  const sections = new Set([...read('docs/protocol.md').matchAll(/^## (\d+)\./gm)].map(([, number]) => number));
  expect(sections.size).toBeGreaterThan(10);
  const missing = files('*.rs', '*.ts', '*.mjs').flatMap((file) => {
    const cited = [...read(file).matchAll(/\b((?:docs|bench)\/[\w/-]+\.md)(?: §(\d+))?/g)];
    const wrong = cited.filter(
      ([, page = '', section]) =>
        !existsSync(join(ROOT, page)) || (page === 'docs/protocol.md' && section !== undefined && !sections.has(section)),
    );
    return wrong.map(([text]) => `${file}: ${text}`);
  });
  expect(missing).toEqual([]);
});
