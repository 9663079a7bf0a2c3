// npm run pack:check: packs the root package and the platform package of this machine, has publint judge the first,
// installs both into an empty project, and starts a server from ESM and from CommonJS. Whether each entry finds its types is
// attw's question, in the workflow.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failWith, must, npm, ROOT } from './lib/run.mjs';
import { ensureBuilt, say } from './lib/steps.mjs';

const BODY = `
async function main() {
  const server = new RustWSEServer({ port: 0 });
  const { host, port } = await server.start();
  const status = await new Promise((resolve, reject) => {
    const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
    const request = http.request({ host, port, headers });
    request.on('upgrade', (response, socket) => { socket.destroy(); resolve(response.statusCode); });
    request.on('response', (response) => resolve(response.statusCode));
    request.on('error', reject).end();
  });
  if (status !== 101) throw new Error('the upgrade was answered ' + status);
  await server.stop();
}
main().catch((error) => { console.error(error); process.exit(1); });
`;

/** The name of the tarball that appeared in `folder`. */
async function pack(source, folder) {
  const before = new Set(readdirSync(folder));
  await npm('npm pack', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], { cwd: source, quiet: true });
  return readdirSync(folder).find((name) => !before.has(name));
}

async function check(folder, { file, platform }) {
  const staged = join(folder, 'platform');
  cpSync(join(ROOT, 'npm', platform), staged, { recursive: true });
  cpSync(file, join(staged, `wse-server.${platform}.node`));

  const project = join(folder, 'project');
  mkdirSync(project);
  const tarballs = [await pack(ROOT, project), await pack(staged, project)];
  const publint = join(ROOT, 'node_modules', 'publint', 'src', 'cli.js');
  await must('publint', process.execPath, [publint, 'run', '--strict', tarballs[0]], { cwd: project, quiet: true });

  const write = (name, text) => writeFileSync(join(project, name), text);
  write('package.json', '{ "private": true }\n');
  const files = tarballs.map((name) => `./${name}`);
  const args = ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', ...files];
  await npm('npm install', args, { cwd: project, quiet: true });

  write('esm.mjs', `import http from 'node:http';\nimport { RustWSEServer } from 'wse-server';\n${BODY}`);
  write('cjs.cjs', `const http = require('node:http');\nconst { RustWSEServer } = require('wse-server');\n${BODY}`);
  // Only what was installed counts: no override, no checkout.
  const env = { WSE_NATIVE_PATH: '' };
  await must('the ESM smoke test', process.execPath, ['esm.mjs'], { cwd: project, env });
  await must('the CommonJS smoke test', process.execPath, ['cjs.cjs'], { cwd: project, env });
}

const folder = mkdtempSync(join(tmpdir(), 'wse-pack-'));
try {
  await check(folder, await ensureBuilt({ write: false }));
  say('packed, installed and started from ESM and CommonJS');
} catch (error) {
  rmSync(folder, { recursive: true, force: true });
  failWith(error);
}
rmSync(folder, { recursive: true, force: true });
