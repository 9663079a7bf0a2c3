// The real peers the tests talk to: a browser, the published Python client in an environment of its own, and the Autobahn suite
// where a Python 2.7 is at hand.

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, Problem, ROOT, read, run, which } from './run.mjs';
import { say } from './steps.mjs';

const PYTHON_CLIENT = 'wse-client[msgpack]==2.5.1';
const AUTOBAHN = 'autobahntestsuite==0.8.2';
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const MIN_PYTHON = [3, 11];

/** The path of a Chromium. */
export async function ensureBrowser() {
  const found = process.env.WSE_TEST_CHROMIUM || BROWSERS.map(which).find(Boolean);
  if (found) return found;
  throw new Problem('the browser tests need Chromium: install it, or give its path in WSE_TEST_CHROMIUM.');
}

/** The path of a Python that has the published client. */
export async function ensurePythonClient() {
  if (process.env.WSE_TEST_PYTHON) return process.env.WSE_TEST_PYTHON;
  const home = join(ROOT, 'node_modules', '.cache', 'wse', 'venv');
  const python = join(home, ...(process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python']));
  const [name, version] = PYTHON_CLIENT.split(/\[.*\]==/);
  const installed = () =>
    existsSync(python) &&
    read(python, ['-c', `from importlib.metadata import version; import msgpack; print(version('${name}'))`])?.trim();
  if (installed() === version) return python;

  const base = findPython();
  if (base === undefined)
    throw new Problem(`the peer tests need Python ${MIN_PYTHON.join('.')} or newer: install it and run this again.`);
  say(`installing ${PYTHON_CLIENT} (pip) …`);
  if ((await run(base, ['-m', 'venv', '--clear', home], { quiet: true })) !== 0) {
    throw new Problem('the peer tests need a Python that makes virtual environments (Debian: python3-venv): install it.');
  }
  await must('pip install', python, ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', PYTHON_CLIENT], {
    quiet: true,
  });
  return python;
}

/**
 * A Python 2.7 and the folder with the Autobahn suite for its PYTHONPATH, or undefined: the suite was never ported, and few
 * machines still have such a Python. WSE_TEST_PYTHON2 gives its path.
 */
export async function ensureAutobahn() {
  const candidates = [process.env.WSE_TEST_PYTHON2, ...['python2.7', 'python2', 'pypy2', 'pypy'].map(which)].filter(Boolean);
  const code = 'import sys, pip; print(sys.version_info[:2] == (2, 7))';
  const python = candidates.find((file) => read(file, ['-c', code])?.trim() === 'True');
  if (python === undefined) return undefined;
  const home = join(ROOT, 'node_modules', '.cache', 'wse', 'autobahn');
  const mark = join(home, 'zope', '__init__.py');
  if (!existsSync(mark)) {
    say(`installing ${AUTOBAHN} (pip) …`);
    await must('pip install', python, ['-m', 'pip', 'install', '-q', '--upgrade', '--target', home, AUTOBAHN], { quiet: true });
    // pip leaves out what makes `zope` a package when it installs beside others.
    writeFileSync(mark, '');
  }
  return { python, home };
}

function findPython() {
  const code = `import sys; sys.exit(0 if sys.version_info >= (${MIN_PYTHON.join(', ')}) else 1)`;
  return ['python3', 'python3.13', 'python3.12', 'python3.11', 'python'].find(
    (name) => which(name) && read(name, ['-c', code]) !== undefined,
  );
}
