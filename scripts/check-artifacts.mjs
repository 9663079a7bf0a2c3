// The gate before publishing: every platform package holds one addon, for that platform, of this version, not bloated,
// and the glibc ones run on old systems. The publishing tool itself only warns when one is missing.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './lib/run.mjs';

const MAX_BYTES = 12 * 2 ** 20;
/** A platform package must run where this glibc does. */
const GLIBC_FLOOR = [2, 28];

const ELF = { x64: 62, arm64: 183 };
const MACH_O = { x64: 0x01000007, arm64: 0x0100000c };
const PE = { x64: 0x8664, arm64: 0xaa64 };

const { name: rootName, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const problems = [];

/** What a binary says it is: `linux-x64`, `darwin-arm64` … */
function kindOf(bytes) {
  if (bytes.readUInt32BE(0) === 0x7f454c46) return `linux-${archOf(ELF, bytes.readUInt16LE(18))}`;
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return `darwin-${archOf(MACH_O, bytes.readUInt32LE(4))}`;
  if (bytes.toString('latin1', 0, 2) === 'MZ') return `win32-${archOf(PE, bytes.readUInt16LE(bytes.readUInt32LE(0x3c) + 4))}`;
  return 'unknown';
}

function archOf(table, number) {
  return Object.keys(table).find((arch) => table[arch] === number) ?? `machine ${number}`;
}

/** The newest glibc a binary asks for. */
function glibcOf(bytes) {
  const versions = [...bytes.toString('latin1').matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [
    Number(major),
    Number(minor),
  ]);
  return versions.sort((a, b) => b[0] - a[0] || b[1] - a[1])[0];
}

function check(platform) {
  const folder = join(ROOT, 'npm', platform);
  const report = (text) => problems.push(`npm/${platform}: ${text}`);
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (manifest.name !== `${rootName}-${platform}`) report(`is named ${manifest.name}`);
  if (manifest.version !== version) report(`has version ${manifest.version}, not ${version}`);

  let bytes;
  try {
    bytes = readFileSync(join(folder, manifest.main));
  } catch {
    report(`${manifest.main} is missing`);
    return;
  }
  const kind = kindOf(bytes);
  if (!platform.startsWith(kind)) report(`${manifest.main} is for ${kind}`);
  if (bytes.length > MAX_BYTES) report(`${manifest.main} has ${bytes.length} bytes, more than ${MAX_BYTES}`);
  const glibc = glibcOf(bytes);
  if (platform.endsWith('-gnu') && (glibc === undefined || glibc[0] > GLIBC_FLOOR[0] || glibc[1] > GLIBC_FLOOR[1])) {
    report(`${manifest.main} needs glibc ${glibc?.join('.') ?? '(none)'}, newer than ${GLIBC_FLOOR.join('.')}`);
  }
  if (platform.endsWith('-musl') && glibc !== undefined) report(`${manifest.main} needs glibc`);
  console.log(`${platform}: ${kind}, ${bytes.length} bytes${glibc ? `, glibc ${glibc.join('.')}` : ''}`);
}

const platforms = readdirSync(join(ROOT, 'npm'));
if (platforms.length !== 8) problems.push(`npm/ has ${platforms.length} packages, not 8`);
for (const platform of process.argv.length > 2 ? process.argv.slice(2) : platforms) check(platform);
for (const problem of problems) console.error(`artifacts: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
