/**
 * Finds and loads the addon, or says what was tried and why each try failed.
 *
 * Order: `WSE_NATIVE_PATH`, the local build of a checkout, the platform package. Main thread and workers must
 * end at the same file: the engines of a process live in the statics of one loaded image.
 */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WSEError } from '../errors.js';
import { describeThrown } from '../thrown.js';
import { VERSION } from '../version.js';
import { ABI_VERSION } from './abi.js';
import type { NativeBinding } from './binding.js';
import { platformName, SUPPORTED_PLATFORMS } from './platform.js';

const PACKAGE = 'wse-server';

let loaded: NativeBinding | undefined;

/**
 * The addon, loaded on first use.
 *
 * @throws {@link WSEError} `WSE_NATIVE_NOT_FOUND` naming everything that was tried.
 */
export function loadNative(): NativeBinding {
  loaded ??= findNative();
  return loaded;
}

function findNative(): NativeBinding {
  const here = fileURLToPath(import.meta.url);
  const requireHere = createRequire(here);
  const platform = platformName();
  const tried: string[] = [];

  for (const candidate of candidates(here, platform)) {
    if (candidate.file && !existsSync(candidate.id)) {
      tried.push(`${candidate.label}: ${candidate.id} does not exist`);
      continue;
    }
    try {
      return checked(requireHere(candidate.id) as Partial<NativeBinding>);
    } catch (error) {
      const reason = describeThrown(error).text.split('\n', 1)[0] ?? '';
      tried.push(`${candidate.label}: ${candidate.file ? `${candidate.id}: ` : ''}${reason}`);
    }
  }
  const hint = SUPPORTED_PLATFORMS.includes(platform)
    ? `Install ${PACKAGE}-${platform}@${VERSION} (optional dependencies must not be omitted), or build the addon with Rust.`
    : `There is no prebuilt addon for ${platform}; there is one for ${SUPPORTED_PLATFORMS.join(', ')}.`;
  const list = tried.map((line) => `  - ${line}`).join('\n');
  throw new WSEError('WSE_NATIVE_NOT_FOUND', `no usable addon for ${platform}. Tried:\n${list}\n${hint}`);
}

interface Candidate {
  label: string;
  id: string;
  file: boolean;
}

function* candidates(here: string, platform: string): Generator<Candidate> {
  const override = process.env['WSE_NATIVE_PATH'];
  if (override) {
    // Someone who names a file wants that file: falling through to another one would hide a mistake.
    yield { label: 'WSE_NATIVE_PATH', id: resolve(override), file: true };
    return;
  }
  const root = packageRoot(here);
  if (root !== undefined) {
    yield { label: 'local build', id: join(root, 'ts', 'native', `${PACKAGE}.${platform}.node`), file: true };
  }
  yield { label: `package ${PACKAGE}-${platform}`, id: `${PACKAGE}-${platform}`, file: false };
}

/** The directory of our own package.json: the same for `dist/*.js` and for the sources under test. */
function packageRoot(from: string): string | undefined {
  let directory = dirname(from);
  for (let level = 0; level < 4; level += 1) {
    try {
      const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name?: string };
      return manifest.name === PACKAGE ? directory : undefined;
    } catch {
      directory = dirname(directory);
    }
  }
  return undefined;
}

function checked(binding: Partial<NativeBinding>): NativeBinding {
  const { NativeServer, encodeJwt, decodeJwt, version, abiVersion, turnCalls } = binding;
  if (!NativeServer || !encodeJwt || !decodeJwt || !version) throw new Error('not an addon of this package');
  const found = version();
  if (found !== VERSION) throw new Error(`version ${found}, but this package is ${VERSION}`);
  if (abiVersion?.() !== ABI_VERSION) throw new Error('built from other sources than this package: build it again');
  return Object.assign(binding, turnCalls?.()) as NativeBinding;
}
