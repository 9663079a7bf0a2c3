/** The one list of codes, against everything that could say otherwise. */

import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ERROR_CODES, isErrorCode } from '../../src/error-codes.js';

const root = new URL('../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

/** Every string `"WSE_…"` of the Rust sources below `folder`. */
function codesOf(folder: string): string[] {
  const files = readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.rs'));
  return files.flatMap((name) => [...read(`${folder}/${name}`).matchAll(/"(WSE_[A-Z_]+)"/g)].map(([, code]) => code as string));
}

it('is asked for its own members only', () => {
  expect(isErrorCode('WSE_STOPPED')).toBe(true);
  expect([isErrorCode('toString'), isErrorCode('WSE_DRAINING'), isErrorCode(undefined)]).toEqual([false, false, false]);
});

it('has every code the addon throws', () => {
  const thrown = new Set([...codesOf('crates/engine/src'), ...codesOf('crates/napi/src')]);
  expect(thrown.size).toBeGreaterThan(10);
  // Becomes a TypeError before anybody sees it.
  thrown.delete('WSE_INVALID_EVENT');
  for (const code of thrown) expect(ERROR_CODES).toHaveProperty(code);
});

it('is the table of docs/api.md', () => {
  const rows = read('docs/api.md').matchAll(/^\| `(WSE_\w+)` \| `(\w+)` \| (.*) \|$/gm);
  expect([...rows].map(([, code, name, meaning]) => [code, [name, meaning]])).toEqual(Object.entries(ERROR_CODES));
});
