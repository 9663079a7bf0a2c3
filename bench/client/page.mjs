/** What a library costs a page: its module in `libraries/`, bundled for browsers, minified and packed. Runs nothing of it. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Modules that are named but not shipped: optional peers of wse-client. */
const EXTERNAL = ['@msgpack/msgpack'];

/** Bytes a page loads at once, minified and also gzipped, and gzipped with everything that may be imported later. */
export async function weigh(library) {
  const { outputFiles, metafile } = await build({
    entryPoints: [fileURLToPath(new URL(`libraries/${library}.mjs`, import.meta.url))],
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    outdir: 'out',
    write: false,
    metafile: true,
    legalComments: 'none',
    logLevel: 'error',
    external: EXTERNAL,
  });
  const entry = Object.keys(metafile.outputs).find((name) =>
    metafile.outputs[name].entryPoint?.endsWith(`libraries/${library}.mjs`),
  );
  const wanted = new Set([entry]);
  for (const name of wanted) {
    for (const { kind, path: file } of metafile.outputs[name]?.imports ?? []) if (kind === 'import-statement') wanted.add(file);
  }
  const chunks = outputFiles.filter((file) => wanted.has(path.relative(process.cwd(), file.path)));
  const bytes = (each, files = chunks) => files.reduce((sum, { contents }) => sum + each(contents), 0);
  const packed = (contents) => gzipSync(contents, { level: 9 }).length;
  const hash = createHash('sha256');
  for (const { contents } of chunks) hash.update(contents);
  return {
    minified: bytes((contents) => contents.length),
    gzipped: bytes(packed),
    all_gzipped: bytes(packed, outputFiles),
    hash: hash.digest('hex').slice(0, 12),
  };
}
