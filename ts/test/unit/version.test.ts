import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ABI_VERSION } from '../../src/native/abi.js';
import { SUPPORTED_PLATFORMS } from '../../src/native/platform.js';
import { VERSION } from '../../src/version.js';

const root = new URL('../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

it('is the version of both manifests', () => {
  expect((JSON.parse(read('package.json')) as { version: string }).version).toBe(VERSION);
  expect(/^version = "(.+)"$/m.exec(read('Cargo.toml'))?.[1]).toBe(VERSION);
});

it('asks for the Rust that the manifest names', () => {
  const asked = /MIN_RUST = \[(\d+), (\d+)\]/.exec(read('scripts/lib/steps.mjs'))?.slice(1).join('.');
  expect(asked).toMatch(/^1\.\d+$/);
  expect(/^rust-version = "(.+)"$/m.exec(read('Cargo.toml'))?.[1]).toBe(asked);
});

it.each(SUPPORTED_PLATFORMS)('has a package for %s, of that version', (platform) => {
  const manifest = JSON.parse(read(`npm/${platform}/package.json`)) as { name: string; version: string; main: string };
  expect(manifest).toMatchObject({ name: `wse-server-${platform}`, version: VERSION, main: `wse-server.${platform}.node` });
});

it('knows an addon by the hash of the border that is committed', async () => {
  const script = (await import(new URL('scripts/lib/addon.mjs', root).href)) as { abiVersion(declaration: string): string };
  expect(script.abiVersion(read('ts/src/native/index.d.ts'))).toBe(ABI_VERSION);
  expect(script.abiVersion('')).toBe('cbf29ce484222325');
  expect(script.abiVersion('a\r')).toBe('af63dc4c8601ec8c'); // FNV-1a of "a", as published
});
