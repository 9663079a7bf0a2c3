/** Sizes are a promise: what `import { connect } from 'wse-client'` pulls in, bundled, minified and packed as a page loads it. */

import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { mangling } from '../../names.config.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Bundle {
  /** What a page loads at once. */
  readonly files: string[];
  /** All of it, packed. */
  readonly bytes: number;
  /** What it loads when that is needed, by name. */
  readonly later: Record<string, number>;
}

/** What a page loads at once and what only when it is needed, with names as short as the build makes them; optional peers do not count. */
async function bundle(code: string, ignoreAnnotations = false): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: ROOT, loader: 'js' },
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    outdir: 'out',
    write: false,
    metafile: true,
    ignoreAnnotations,
    external: ['#ws', '@msgpack/msgpack', '@tanstack/react-query', 'react', 'wse-server', 'zustand'],
    ...mangling,
  });
  const { outputs } = metafile;
  const files = new Set(Object.keys(outputs).filter((name) => /stdin/.test(name)));
  for (const name of files) {
    for (const { path, kind } of outputs[name]?.imports ?? []) if (kind === 'import-statement' && outputs[path]) files.add(path);
  }
  const sizes = new Map(outputFiles.map(({ path, contents }) => [basename(path), gzipSync(contents, { level: 9 }).length]));
  const now = [...files].map((name) => basename(name));
  const bytes = now.reduce((sum, name) => sum + (sizes.get(name) as number), 0);
  const later = [...sizes].filter(([name]) => !now.includes(name)).map(([name, size]) => [name.replace(/-.*/, ''), size]);
  return { files: now, bytes, later: Object.fromEntries(later) };
}
const weigh = async (code: string): Promise<number> => (await bundle(code)).bytes;

it('what is loaded later shares nothing with the core: one file is loaded at once', async () => {
  expect((await bundle("export { connect } from './src/index.ts'")).files).toHaveLength(1);
});

it('the core', async () => {
  expect(await weigh("export { connect } from './src/index.ts'")).toBeLessThanOrEqual(9_000);
});

// `inbound.ts`: a page loads it when it connects, not before.
it('what is loaded with the first attempt', async () => {
  const { later } = await bundle("export { connect } from './src/index.ts'");
  expect(Object.keys(later).sort()).toEqual(['headers', 'inbound', 'packed']);
  expect(later['inbound']).toBeLessThanOrEqual(7_400);
});

it('the outbox beside the core', async () => {
  const core = await weigh("export { connect } from './src/index.ts'");
  const both = await weigh("export { connect } from './src/index.ts'; export * from './src/outbox/index.ts'");
  expect(both - core).toBeLessThanOrEqual(4_510);
});

describe('beside the core', async () => {
  const core = await weigh("export { connect } from './src/index.ts'");
  const beside = async (entry: string, names = '*'): Promise<number> =>
    (await weigh(`export { connect } from './src/index.ts'; export ${names} from './src/${entry}/index.ts'`)) - core;

  it('the provider and the hooks', async () => {
    const names = '{ WSEProvider, useClient, useConnection, usePresence, useTopic, useTopicEvents }';
    expect(await beside('react', names)).toBeLessThanOrEqual(2_500);
  });
  // With the window's events, batches and grades of quality, which are the published hook's.
  it('useWSE', async () => expect(await beside('react')).toBeLessThanOrEqual(5_200));
  it('the stores', async () => expect(await beside('store')).toBeLessThanOrEqual(1_860));
  it('the query cache', async () => expect(await beside('query')).toBeLessThanOrEqual(620));
  it('the test server', async () => expect(await beside('testing')).toBeLessThanOrEqual(480));
});

it('nothing happens at import', async () => {
  // By what the code does, whatever the manifest says of it: an import of nothing leaves nothing.
  const { bytes } = await bundle("import './src/index.ts'; import './src/react/index.ts'", true);
  expect(bytes).toBeLessThanOrEqual(200);
});
