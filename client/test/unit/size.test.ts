/** Sizes are a promise: what `import { connect } from 'wse-client'` pulls in, bundled, minified and packed as a page loads it. */

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Plugin } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { mangling } from '../../names.config.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What is imported when it is needed is no part of what is weighed, but for its name. */
const later: Plugin = {
  name: 'later',
  setup({ onResolve }) {
    onResolve({ filter: /^\./ }, ({ kind, path }) => (kind === 'dynamic-import' ? { path, external: true } : undefined));
  },
};

/** Bytes that a page loads at once, in one file and with names as short as the build makes them; optional peers do not count. */
async function weigh(code: string, { ignoreAnnotations = false } = {}): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: ROOT, loader: 'js' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    outdir: 'out',
    write: false,
    ignoreAnnotations,
    external: ['#ws', '@msgpack/msgpack', '@tanstack/react-query', 'react', 'wse-server', 'zustand'],
    plugins: [later],
    ...mangling,
  });
  return outputFiles.reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
}

// 9 kB is what was promised; this is what is held, so that it can only become less.
it('the core', async () => {
  expect(await weigh("export { connect } from './src/index.ts'")).toBeLessThanOrEqual(13_830);
});

it('the outbox beside the core', async () => {
  const core = await weigh("export { connect } from './src/index.ts'");
  const both = await weigh("export { connect } from './src/index.ts'; export * from './src/outbox/index.ts'");
  expect(both - core).toBeLessThanOrEqual(4_450);
});

describe('beside the core', async () => {
  const core = await weigh("export { connect } from './src/index.ts'");
  const beside = async (entry: string, names = '*'): Promise<number> =>
    (await weigh(`export { connect } from './src/index.ts'; export ${names} from './src/${entry}/index.ts'`)) - core;

  it('the provider and the hooks', async () => {
    const names = '{ WSEProvider, useClient, useConnection, usePresence, useTopic, useTopicEvents }';
    expect(await beside('react', names)).toBeLessThanOrEqual(2_590);
  });
  // With the window's events, batches and grades of quality, which are the published hook's.
  it('useWSE', async () => expect(await beside('react')).toBeLessThanOrEqual(5_120));
  it('the stores', async () => expect(await beside('store')).toBeLessThanOrEqual(1_760));
  it('the query cache', async () => expect(await beside('query')).toBeLessThanOrEqual(620));
  it('the test server', async () => expect(await beside('testing')).toBeLessThanOrEqual(480));
});

it('nothing happens at import', async () => {
  // By what the code does, whatever the manifest says of it: an import of nothing leaves nothing.
  const left = await weigh("import './src/index.ts'; import './src/react/index.ts'", { ignoreAnnotations: true });
  expect(left).toBeLessThanOrEqual(200);
});
