import { defineConfig, type UserConfig } from 'tsdown';

const config: UserConfig = defineConfig({
  entry: { index: 'src/index.ts', 'outbox/index': 'src/outbox/index.ts', 'outbox/file': 'src/outbox/file.ts' },
  outDir: 'dist',
  format: ['esm', 'cjs'],
  platform: 'neutral',
  target: 'es2022',
  fixedExtension: false,
  dts: true,
  clean: true,
  deps: { neverBundle: [/^#ws$/, /^node:/] },
});

export default config;
