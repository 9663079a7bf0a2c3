/** Names the build makes short: this package's own, and nobody else's. */

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { INTERNAL } from '../../names.config.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SOURCE = `${ROOT}client/src`;

const files = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name.replaceAll('\\', '/')}`);

it('are of no published type', () => {
  const published = files(`${ROOT}client/dist`)
    .filter((file) => file.endsWith('.d.ts'))
    .map((file) => readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''))
    .join('\n');
  expect(published).toContain('connect');
  const words = new Set(published.match(/[\w$]+/g));
  expect(INTERNAL.filter((name) => words.has(name))).toEqual([]);
});

// A CommonJS module's exports are members of an object, which are named by texts where they are given.
it('are exported by no module', () => {
  const exported = files(SOURCE)
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [
      ...readFileSync(file, 'utf8').matchAll(/^export (?:declare |async )*(?:const|let|function|class) (\w+)/gm),
    ])
    .map(([, name]) => name as string);
  expect(exported).toContain('createWait');
  expect(INTERNAL.filter((name) => exported.includes(name))).toEqual([]);
});

it('are of no object of a platform, whatever this package calls its type', () => {
  const dom = readFileSync(`${ROOT}node_modules/typescript/lib/lib.dom.d.ts`, 'utf8');
  const used =
    /^interface (?:(?:Window|Document|Navigator|Global|WebSocket|IDB|Lock)\w*|Location|(?:PageTransition|Message|Close|)Event|EventTarget)\b[^{]*\{(.*?)^\}/gms;
  const members = [...dom.matchAll(used)].flatMap(([, body]) => [...(body as string).matchAll(/^ {4}(?:readonly )?(\w+)/gm)]);
  const names = new Set(members.map(([, name]) => name));
  for (const one of ['document', 'onLine', 'visibilityState', 'bufferedAmount', 'getAll', 'persisted'])
    expect(names).toContain(one);
  expect(INTERNAL.filter((name) => names.has(name))).toEqual([]);
});

it('are asked of nothing that is declared elsewhere, and nowhere as a text', () => {
  const { config } = ts.readConfigFile(`${ROOT}tsconfig.json`, ts.sys.readFile) as { config: unknown };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const names = files(SOURCE).filter((file) => /\.tsx?$/.test(file));
  const program = ts.createProgram(names, options);
  const checker = program.getTypeChecker();
  const used = new Set<string>();
  const wrong: string[] = [];
  const look = (node: ts.Node, name: string, symbol: ts.Symbol | undefined): void => {
    if (!INTERNAL.includes(name)) return;
    used.add(name);
    const places = symbol?.declarations?.map((declaration) => declaration.getSourceFile().fileName) ?? ['nowhere'];
    const away = places.filter((place) => !place.startsWith(SOURCE));
    if (away.length > 0) wrong.push(`${name} in ${node.getSourceFile().fileName.slice(SOURCE.length)}: ${away[0]}`);
  };
  const of = (object: ts.Type | undefined, name: string): ts.Symbol | undefined =>
    object && checker.getPropertyOfType(object.getNonNullableType(), name);
  /** What a text may be, as far as its type says. */
  const texts = (node: ts.Expression): string[] => {
    const type = checker.getTypeAtLocation(node);
    const base = checker.getBaseConstraintOfType(type) ?? type;
    return (base.isUnion() ? base.types : [base]).flatMap((one) => (one.isStringLiteral() ? [one.value] : []));
  };
  const refuse = (node: ts.Node, text: ts.Expression): void => {
    const names = texts(text).filter((name) => INTERNAL.includes(name));
    if (names.length > 0) wrong.push(`${names} in ${node.getSourceFile().fileName.slice(SOURCE.length)}: ${node.getText()}`);
  };
  const isName = (node: ts.Node): boolean =>
    (ts.isObjectLiteralElement(node.parent) && node.parent.name === node) ||
    (ts.isBindingElement(node.parent) && node.parent.propertyName === node);
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node)) look(node, node.name.text, checker.getSymbolAtLocation(node.name));
    else if (ts.isObjectLiteralElement(node) && node.name && ts.isIdentifier(node.name)) {
      const object = node.parent as ts.ObjectLiteralExpression;
      const { text } = node.name;
      look(node, text, of(checker.getContextualType(object), text) ?? of(checker.getTypeAtLocation(object), text));
    } else if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent)) {
      const name = node.propertyName ?? node.name;
      if (ts.isIdentifier(name)) look(node, name.text, of(checker.getTypeAtLocation(node.parent), name.text));
    } else if (ts.isElementAccessExpression(node)) refuse(node, node.argumentExpression);
    else if (ts.isComputedPropertyName(node)) refuse(node, node.expression);
    else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.InKeyword) refuse(node, node.left);
    else if (ts.isStringLiteral(node) && isName(node)) refuse(node.parent, node);
    ts.forEachChild(node, visit);
  };
  for (const file of program.getSourceFiles()) if (file.fileName.startsWith(SOURCE)) visit(file);
  expect(wrong).toEqual([]);
  expect(INTERNAL.filter((name) => !used.has(name))).toEqual([]);
});

it('of optional packages are imported where webpack forgives that they are missing: inside of a try', () => {
  // The test server is not bundled: it needs what it names.
  const found = files(SOURCE)
    .filter((file) => /\.tsx?$/.test(file) && !file.startsWith(`${SOURCE}/testing/`))
    .flatMap((file) => {
      const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
      const imports: string[] = [];
      const visit = (node: ts.Node, tried: boolean): void => {
        if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
          const name = (node.arguments[0] as ts.StringLiteral).text;
          if (!name.startsWith('.') && !name.startsWith('node:')) imports.push(`${name} ${tried}`);
        }
        ts.forEachChild(node, (child) => {
          const inTry = ts.isTryStatement(node) ? child === node.tryBlock : tried && !ts.isFunctionLike(node);
          visit(child, inTry);
        });
      };
      visit(source, false);
      return imports;
    });
  expect(found.sort()).toEqual(['#ws true', '@msgpack/msgpack true']);
});
