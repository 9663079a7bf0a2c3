// The real peers the tests talk to: a browser, and the published Python client in an environment of its own.

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { must, Problem, ROOT, read, run, which } from './run.mjs';
import { say } from './steps.mjs';

const PYTHON_CLIENT = 'wse-client[msgpack]==2.5.1';
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
/** Where installers put them on systems that do not put programs on the PATH. */
const BROWSER_FILES = {
  darwin: ['Google Chrome', 'Chromium', 'Microsoft Edge'].flatMap((name) =>
    ['/Applications', join(homedir(), 'Applications')].map((folder) => join(folder, `${name}.app`, 'Contents', 'MacOS', name)),
  ),
  win32: [
    ['Google', 'Chrome', 'Application', 'chrome.exe'],
    ['Chromium', 'Application', 'chrome.exe'],
    ['Microsoft', 'Edge', 'Application', 'msedge.exe'],
  ].flatMap((path) =>
    ['ProgramFiles', 'ProgramFiles(x86)', 'LOCALAPPDATA']
      .filter((folder) => process.env[folder])
      .map((folder) => join(process.env[folder], ...path)),
  ),
};
const MIN_PYTHON = [3, 11];

let updated = false;

/** Installs Debian packages where that is possible; false where it is not. */
export async function aptInstall(...packages) {
  if (which('apt-get') === undefined || process.getuid?.() !== 0) return false;
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  say(`installing ${packages.join(', ')} (apt) …`);
  if (!updated) await run('apt-get', ['update', '-q'], { quiet: true, env });
  updated = true;
  return (await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], { quiet: true, env })) === 0;
}

/** The path of a Chromium. */
export async function ensureBrowser() {
  const find = () => BROWSERS.map(which).find(Boolean) ?? BROWSER_FILES[process.platform]?.find((file) => existsSync(file));
  const found = (process.env.WSE_TEST_CHROMIUM || find()) ?? ((await aptInstall('chromium')) ? find() : undefined);
  if (found === undefined) throw new Problem('the browser tests need Chromium: install it, or name one in WSE_TEST_CHROMIUM.');
  return found;
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
    if (!(await aptInstall('python3-venv'))) throw new Problem('Python cannot make virtual environments: install python3-venv.');
    await must('python3 -m venv', base, ['-m', 'venv', '--clear', home], { quiet: true });
  }
  await must('pip install', python, ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', PYTHON_CLIENT], {
    quiet: true,
  });
  return python;
}

function findPython() {
  const code = `import sys; sys.exit(0 if sys.version_info >= (${MIN_PYTHON.join(', ')}) else 1)`;
  return ['python3', 'python3.13', 'python3.12', 'python3.11', 'python'].find(
    (name) => which(name) && read(name, ['-c', code]) !== undefined,
  );
}
