// Makes the page's script: what is in public/, React, and `wse-client` out of this checkout.
//
// Owns: how it is bundled, once for each start and in memory: what is served is what is in the sources, and nothing is left behind.
// Never: serves it (page.mjs), loads esbuild before somebody wants the page.

import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The page cannot be made; the message is one line that says what to do. */
export class BundleError extends Error {
  name = 'BundleError';
}

/**
 * Resolves with the files by the path they are served at. What is loaded only when it is used is a file of its own.
 *
 * @throws BundleError without esbuild, or with the first mistake it found.
 */
export async function bundlePage(entry = at('public/app.jsx')) {
  const esbuild = await import('esbuild').catch(() => {
    throw new BundleError('the page cannot be made: esbuild is missing; run "npm ci" and this again');
  });
  try {
    const { outputFiles } = await esbuild.build({
      entryPoints: [entry],
      outdir: at('out'), // a name for the answer: nothing is written
      write: false,
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      jsx: 'automatic',
      minify: true,
      define: { 'process.env.NODE_ENV': '"production"' },
      alias: {
        'wse-client/react': at('../../client/src/react/index.ts'),
        'wse-client': at('../../client/src/index.ts'),
      },
      logLevel: 'silent',
    });
    return new Map(outputFiles.map(({ path, contents }) => [`/${basename(path)}`, contents]));
  } catch (error) {
    const [first] = error?.errors ?? [];
    const where = first?.location ? `${first.location.file}:${first.location.line}: ` : '';
    throw new BundleError(`the page cannot be made: ${where}${first?.text ?? String(error?.message ?? error).split('\n', 1)[0]}`);
  } finally {
    // It has a process of its own, which would outlive a Ctrl-C by a moment.
    await esbuild.stop();
  }
}
