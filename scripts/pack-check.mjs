// npm run pack:check: packs the root package, the platform package of this machine and the client, has publint and attw judge them,
// installs all into an empty project, and starts a server and a client from ESM and from CommonJS.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { failWith, must, npm, ROOT } from './lib/run.mjs';
import { ensureBuilt, ensureClient, say } from './lib/steps.mjs';

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

  const test = await startTestServer({ presence: false });
  const client = connect(test.url, { extensions: [createOutbox()] });
  await client.subscribe(['a']);
  test.server.publish('a', 'tick', { n: 1 });
  const event = await client.recv(5_000);
  if (event.payload.n !== 1) throw new Error('came as ' + JSON.stringify(event));
  await client.send('order', 2);
  if ((await test.message('order')) !== 2) throw new Error('the order is lost');
  await client.close();
  const whole = connect(test.url, { inbound });
  await whole.subscribe(['a']);
  await whole.close();
  await test.stop();
  // Optional peers of whoever names these.
  const entries = { fileStore, useTopic, useWSEStore, useTopicQuery };
  for (const [name, value] of Object.entries(entries)) if (typeof value !== 'function') throw new Error('no ' + name);
}
main().catch((error) => { console.error(error); process.exit(1); });
`;

/** What the smoke test takes of which entry. */
const IMPORTS = [
  ['RustWSEServer', 'wse-server'],
  ['connect', 'wse-client'],
  ['inbound', 'wse-client/inbound'],
  ['createOutbox', 'wse-client/outbox'],
  ['fileStore', 'wse-client/outbox/file'],
  ['useTopic', 'wse-client/react'],
  ['useWSEStore', 'wse-client/store'],
  ['useTopicQuery', 'wse-client/query'],
  ['startTestServer', 'wse-client/testing'],
];

/** Optional peers, as this checkout has them: nothing is fetched. */
const PEERS = ['ws', 'react', 'zustand', '@tanstack/react-query'];

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
  const judged = [await pack(ROOT, project), await pack(join(ROOT, 'client'), project)];
  const tarballs = [...judged, await pack(staged, project)];
  const module = (...path) => join(ROOT, 'node_modules', ...path);
  for (const tarball of judged) {
    const judge = (name, args) =>
      must(`${name} of ${tarball}`, process.execPath, [...args, tarball], { cwd: project, quiet: true });
    await judge('publint', [module('publint', 'src', 'cli.js'), 'run', '--strict']);
    // Node 10 knows no subpaths; nothing of ours runs there.
    await judge('attw', [module('@arethetypeswrong', 'cli', 'dist', 'index.js'), '--profile', 'node16']);
  }

  const write = (name, text) => writeFileSync(join(project, name), text);
  write('package.json', '{ "private": true }\n');
  const files = tarballs.map((name) => `./${name}`);
  const args = ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', ...files];
  await npm('npm install', args, { cwd: project, quiet: true });

  for (const name of PEERS) {
    const place = join(project, 'node_modules', name);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(module(name), place, 'junction');
  }

  const imports = [['http', 'node:http'], ...IMPORTS.map(([name, from]) => [`{ ${name} }`, from])];
  const esm = imports.map(([what, from]) => `import ${what} from '${from}';\n`);
  const cjs = imports.map(([what, from]) => `const ${what} = require('${from}');\n`);
  write('esm.mjs', esm.join('') + BODY);
  write('cjs.cjs', cjs.join('') + BODY);
  // Only what was installed counts: no override, no checkout.
  const env = { WSE_NATIVE_PATH: '' };
  await must('the ESM smoke test', process.execPath, ['esm.mjs'], { cwd: project, env });
  await must('the CommonJS smoke test', process.execPath, ['cjs.cjs'], { cwd: project, env });
}

const folder = mkdtempSync(join(tmpdir(), 'wse-pack-'));
try {
  const addon = await ensureBuilt({ write: false });
  await ensureClient();
  await check(folder, addon);
  say('packed, installed and started from ESM and CommonJS');
} catch (error) {
  rmSync(folder, { recursive: true, force: true });
  failWith(error);
}
rmSync(folder, { recursive: true, force: true });
