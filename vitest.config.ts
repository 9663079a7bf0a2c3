import { existsSync } from 'node:fs';
import { resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin, type ViteUserConfig } from 'vitest/config';

// Above what a test's own waits may take together (`ts/test/support/wait.ts`): those say what did not come.
const border = { pool: 'forks', testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 20_000 } } } as const;

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
// `wse-client/testing` starts the engine of this checkout.
const ours = { 'wse-server': at('ts/src/index.ts') };

/** The client as it is published, whose names the build has made short: what tests import of `client/src` is of `client/dist` instead. */
const published: Plugin = {
  name: 'wse-client as published',
  enforce: 'pre',
  resolveId(source, importer) {
    const from = at('client/src/');
    const path = importer === undefined ? source : resolve(importer, '..', source);
    if (!path.startsWith(from.replaceAll('/', sep))) return undefined;
    const built = at('client/dist/') + path.slice(from.length);
    // A part of the client beside the published one would be another client.
    if (!existsSync(built)) throw new Error(`${source} is not published, or not built: npm run build:client`);
    return built;
  },
};

const config: ViteUserConfig = defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['ts/test/unit/**/*.test.ts'],
          environment: 'node',
        },
      },
      {
        test: {
          name: 'types',
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ['{ts,client}/test/types/**/*.test-d.ts'],
            tsconfig: './tsconfig.json',
          },
        },
      },
      // Real processes: an addon and its threads are not shared with a test runner's other files.
      { test: { ...border, name: 'border', include: ['ts/test/border/**/*.test.ts'] } },
      { test: { ...border, name: 'process', include: ['ts/test/process/**/*.test.ts'] } },
      { test: { ...border, name: 'attack', include: ['ts/test/attack/**/*.test.ts'], testTimeout: 120_000 } },
      // Against engines of their own, like those: both drivers.
      {
        resolve: { alias: ours },
        test: { ...border, name: 'client', include: ['client/test/**/*.test.ts'] },
      },
      // What pages and programs do most, once more with what is published.
      {
        plugins: [published],
        resolve: { alias: ours },
        test: {
          ...border,
          name: 'client-built',
          include: [
            'engine/messages',
            'engine/requests',
            'outbox/engine',
            'react/provider',
            'react/use-wse',
            'react/entries',
          ].map((name) => `client/test/${name}.test.ts`),
        },
      },
      // What is drawn, once more with React 18.
      {
        resolve: {
          alias: {
            ...ours,
            react: at('ts/test/react-18/node_modules/react'),
            'react-dom': at('ts/test/react-18/node_modules/react-dom'),
          },
        },
        test: {
          ...border,
          name: 'react-18',
          include: ['provider', 'watch', 'use-wse', 'hydrate', 'entries'].map((name) => `client/test/react/${name}.test.ts`),
          env: { WSE_TEST_REACT: '18' },
          // What imports React by its name: not by Node, which knows no alias.
          server: { deps: { inline: ['zustand', '@tanstack/react-query'] } },
        },
      },
      { test: { ...border, name: 'docs', include: ['ts/test/docs/**/*.test.ts'] } },
      // Half a minute of it is waiting for the Python client's heartbeats: other files run meanwhile, on two cores too.
      {
        test: {
          ...border,
          name: 'peers',
          include: ['ts/test/peers/**/*.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});

export default config;
