// npm run pack:check: packs the root package and the platform package of this machine, installs both into an empty
// project, and starts a server from ESM, from CommonJS, and type-checks a program against each entry.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
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

const TYPED = `
const server = new RustWSEServer({ port: 0 });
export async function run(): Promise<void> {
  for await (const batch of server.batches()) for (const [type, conn, payload] of batch) if (type === 'msg') server.send(conn, String(payload.t));
}
`;

const CONFIG = {
  compilerOptions: { module: 'NodeNext', target: 'ES2022', strict: true, noEmit: true, types: ['node'], typeRoots: ['types'] },
  files: ['esm.mts', 'cjs.cts'],
};

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
  const write = (name, text) => writeFileSync(join(project, name), text);
  write('package.json', '{ "private": true }\n');
  await npm(
    'npm install',
    ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs.map((name) => `./${name}`)],
    {
      cwd: project,
      quiet: true,
    },
  );

  write('esm.mjs', `import http from 'node:http';\nimport { RustWSEServer } from 'wse-server';\n${BODY}`);
  write('cjs.cjs', `const http = require('node:http');\nconst { RustWSEServer } = require('wse-server');\n${BODY}`);
  // Only what was installed counts: no override, no checkout.
  const env = { WSE_NATIVE_PATH: '' };
  await must('the ESM smoke test', process.execPath, ['esm.mjs'], { cwd: project, env });
  await must('the CommonJS smoke test', process.execPath, ['cjs.cjs'], { cwd: project, env });

  write('esm.mts', `import { RustWSEServer } from 'wse-server';\n${TYPED}`);
  write('cjs.cts', `import { RustWSEServer } from 'wse-server';\n${TYPED}`);
  write('tsconfig.json', JSON.stringify(CONFIG));
  mkdirSync(join(project, 'types'));
  symlinkSync(join(ROOT, 'node_modules', '@types', 'node'), join(project, 'types', 'node'), 'junction');
  await must('the type check', process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], {
    cwd: project,
  });
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
