/**
 * The public Autobahn suite against `examples/echo.mjs`: every case that needs no extension, strictly. It runs where there is a
 * Python 2.7 (WSE_TEST_PYTHON2); the same conversations run everywhere in `border/conformance.test.ts`.
 */

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { within } from '../support/wait.js';
import { Child, findAutobahn } from './harness.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SUITE_MS = 300_000;
/** Cases the suite judges by no rule: how a server behaves there is up to it. */
const INFORMATIONAL = ['7.1.6', '7.13.1', '7.13.2'];

const suite = await findAutobahn();

test.skipIf(suite === undefined)(
  'passes every case of the Autobahn suite that needs no extension',
  async () => {
    const { python, home } = suite as NonNullable<typeof suite>;
    await using echo = new Child(process.execPath, ['examples/echo.mjs'], { cwd: ROOT });
    const url = await echo.line((line) => line.startsWith('ws://'), 'address of the echo server');
    const work = mkdtempSync(join(tmpdir(), 'autobahn-'));
    const spec = {
      outdir: join(work, 'report'),
      servers: [{ agent: 'wse', url }],
      cases: ['*'],
      'exclude-cases': ['12.*', '13.*'],
      'exclude-agent-cases': {},
    };
    writeFileSync(join(work, 'spec.json'), JSON.stringify(spec));
    const run = 'from autobahntestsuite.wstest import run; run()';
    const args = ['-c', run, '-m', 'fuzzingclient', '-s', join(work, 'spec.json')];
    await using tester = new Child(python, args, { cwd: work, env: { ...process.env, PYTHONPATH: home } });
    expect(await within(tester.ended, 'end of the suite', SUITE_MS), tester.err.slice(-20).join('\n')).toBe(0);

    type Result = Record<'behavior' | 'behaviorClose', string>;
    const { wse } = JSON.parse(readFileSync(join(work, 'report', 'index.json'), 'utf8')) as { wse: Record<string, Result> };
    const others = Object.entries(wse).filter(([, { behavior, behaviorClose }]) => behavior !== 'OK' || behaviorClose !== 'OK');
    expect(Object.fromEntries(others)).toEqual(
      Object.fromEntries(
        INFORMATIONAL.map((id) => [id, expect.objectContaining({ behavior: 'INFORMATIONAL', behaviorClose: 'INFORMATIONAL' })]),
      ),
    );
    expect(Object.keys(wse)).toHaveLength(301);
  },
  SUITE_MS + 60_000,
);
