/** Sizes are a promise: what `import { connect } from 'wse-client'` pulls in, bundled, minified and packed as a page loads it. */

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Bytes that a page loads at once; chunks that are imported when they are needed do not count, and neither do optional peers. */
async function weigh(code: string, { ignoreAnnotations = false } = {}): Promise<number> {
  const { outputFiles } = await build({
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
  });
  return outputFiles
    .filter(({ path }) => /stdin/.test(path))
    .reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
}

// 9 kB is what was promised; this is what is held, so that it can only become less.
it('the core', async () => {
  expect(await weigh("export { connect } from './src/index.ts'")).toBeLessThanOrEqual(14_050);
});

it('the outbox beside the core', async () => {
  const core = await weigh("export { connect } from './src/index.ts'");
  const both = await weigh("export { connect } from './src/index.ts'; export * from './src/outbox/index.ts'");
  expect(both - core).toBeLessThanOrEqual(5_000);
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
  it('useWSE', async () => expect(await beside('react')).toBeLessThanOrEqual(5_000));
  it('the stores', async () => expect(await beside('store')).toBeLessThanOrEqual(2_600));
  it('the query cache', async () => expect(await beside('query')).toBeLessThanOrEqual(2_900));
  it('the test server', async () => expect(await beside('testing')).toBeLessThanOrEqual(800));
});

it('nothing happens at import', async () => {
  // By what the code does, whatever the manifest says of it: an import of nothing leaves nothing.
  const left = await weigh("import './src/index.ts'; import './src/react/index.ts'", { ignoreAnnotations: true });
  expect(left).toBeLessThanOrEqual(200);
});
