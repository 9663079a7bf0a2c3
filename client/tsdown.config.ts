import { transform } from 'esbuild';
import { defineConfig, type UserConfig } from 'tsdown';
import { mangling } from './names.config.js';

const common: UserConfig = {
  outDir: 'dist',
  format: ['esm', 'cjs'],
  platform: 'neutral',
  target: 'es2022',
  fixedExtension: false,
  dts: true,
  deps: { neverBundle: [/^#ws$/, /^node:/] },
  plugins: [
    {
      name: 'short names',
      async renderChunk(code, { fileName }) {
        return /\.c?js$/.test(fileName) ? { code: (await transform(code, { charset: 'utf8', ...mangling })).code } : undefined;
      },
    },
  ],
};

const config: UserConfig[] = defineConfig([
  {
    ...common,
    clean: true,
    entry: {
      index: 'src/index.ts',
      'outbox/index': 'src/outbox/index.ts',
      'outbox/file': 'src/outbox/file.ts',
      'react/index': 'src/react/index.ts',
      'store/index': 'src/store/index.ts',
      'query/index': 'src/query/index.ts',
      'testing/index': 'src/testing/index.ts',
    },
  },
  // By itself: what others load later is all there, and what it shares with them is handed to it (`core/shared.ts`).
  { ...common, clean: false, entry: { 'inbound/index': 'src/inbound/index.ts' } },
]) as UserConfig[];

export default config;
