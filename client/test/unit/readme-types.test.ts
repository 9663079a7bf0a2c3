/** The programs of the README are programs: the compiler takes them, against the sources. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const text = readFileSync(`${ROOT}client/README.md`, 'utf8');
const programs = [...text.matchAll(/```(?:tsx|js)\n([\s\S]*?)```/g)].map(([, code]) => code as string);

it('type-checks', () => {
  expect(programs).toHaveLength(text.match(/^```(?!js run$)\w/gm)?.length ?? 0);
  const files = new Map(programs.map((code, n) => [`${ROOT}client/readme-${n}.tsx`, code]));
  const { config } = ts.readConfigFile(`${ROOT}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(
    {
      compilerOptions: {
        ...config.compilerOptions,
        jsx: 'react-jsx',
        isolatedDeclarations: false,
        declaration: false,
        paths: {
          'wse-server': ['./ts/src/index.ts'],
          'wse-client': ['./client/src/index.ts'],
          'wse-client/*': ['./client/src/*/index.ts'],
        },
      },
      files: [],
    },
    ts.sys,
    ROOT,
  );
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, version, ...rest) => {
    const code = files.get(name);
    return code === undefined ? getSourceFile(name, version, ...rest) : ts.createSourceFile(name, code, version);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  const problems = [...files.keys()].flatMap((name) => {
    const source = program.getSourceFile(name);
    return ts.getPreEmitDiagnostics(program, source).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  });
  expect(problems).toEqual([]);
});
