import { transform } from 'esbuild';
import { defineConfig, type UserConfig } from 'tsdown';
import { mangling } from './names.config.js';

const config: UserConfig = defineConfig({
  entry: {
    index: 'src/index.ts',
    'outbox/index': 'src/outbox/index.ts',
    'outbox/file': 'src/outbox/file.ts',
    'react/index': 'src/react/index.ts',
    'store/index': 'src/store/index.ts',
    'query/index': 'src/query/index.ts',
    'testing/index': 'src/testing/index.ts',
  },
  outDir: 'dist',
  format: ['esm', 'cjs'],
  platform: 'neutral',
  target: 'es2022',
  fixedExtension: false,
  dts: true,
  clean: true,
  deps: { neverBundle: [/^#ws$/, /^node:/] },
  plugins: [
    {
      name: 'short names',
      async renderChunk(code, { fileName }) {
        return /\.c?js$/.test(fileName) ? { code: (await transform(code, { charset: 'utf8', ...mangling })).code } : undefined;
      },
    },
  ],
});

export default config;
