// Publishes the platform packages, then, when all of them are there, the root package that names them, and then the client. What is
// already published is skipped, so that a run that broke off can be repeated. Only the release workflow calls it.
//
// Why not `napi pre-publish`: it goes on when a platform is missing, stops at one that is there, and gives no provenance.
// Why not `changeset publish`: what lies in npm/ is no workspace, and the root must come last.
//
//   node scripts/publish.mjs [--dry-run]

import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { failWith, npm, Problem, ROOT, read } from './lib/run.mjs';
import { say } from './lib/steps.mjs';

const dryRun = process.argv.includes('--dry-run');
const manifestFile = join(ROOT, 'package.json');
const readManifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

/** The licence lies in the root only; npm packs it from the package's own folder. */
async function publishWithLicence(folder) {
  const licence = join(folder, 'LICENSE');
  copyFileSync(join(ROOT, 'LICENSE'), licence);
  try {
    await publish(folder);
  } finally {
    rmSync(licence);
  }
}

async function publish(folder) {
  const { name, version } = readManifest(folder);
  if (read('npm', ['view', `${name}@${version}`, 'version'])?.trim() === version) {
    say(`${name}@${version} is already published`);
    return;
  }
  say(`publishing ${name}@${version}`);
  // A plain `npm install` must not get a pre-release.
  const tag = /^\d+\.\d+\.\d+-/.test(version) ? 'next' : 'latest';
  const args = ['publish', '--access', 'public', '--tag', tag, '--ignore-scripts', dryRun ? '--dry-run' : '--provenance'];
  await npm(`npm publish ${name}`, args, { cwd: folder });
}

try {
  const manifest = readManifest(ROOT);
  const tag = process.env.GITHUB_REF_NAME;
  if (!dryRun && tag !== `v${manifest.version}`) throw new Problem(`the tag ${tag} is not v${manifest.version}`);

  const folders = readdirSync(join(ROOT, 'npm')).map((platform) => join(ROOT, 'npm', platform));
  for (const folder of folders) await publishWithLicence(folder);

  // Only the published manifest names them: in a checkout they would be looked for and not be there.
  const optionalDependencies = Object.fromEntries(folders.map((folder) => [readManifest(folder).name, manifest.version]));
  const before = readFileSync(manifestFile);
  writeFileSync(manifestFile, `${JSON.stringify({ ...manifest, optionalDependencies }, null, 2)}\n`);
  try {
    await publish(ROOT);
  } finally {
    writeFileSync(manifestFile, before);
  }

  const client = join(ROOT, 'client');
  if (!existsSync(join(client, 'dist', 'index.js'))) throw new Problem('client/dist is missing: npm run build:client');
  await publishWithLicence(client);
} catch (error) {
  failWith(error);
}
