/** Which prebuilt addon fits this process: `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc` … */

import { readFileSync } from 'node:fs';

/** The platforms a package is published for. The order is that of `npm/`. */
export const SUPPORTED_PLATFORMS: readonly string[] = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
];

/** The platform name of the running process, whether or not a package exists for it. */
export function platformName(): string {
  const { platform, arch } = process;
  if (platform === 'linux') return `${platform}-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  if (platform === 'win32') return `${platform}-${arch}-msvc`;
  return `${platform}-${arch}`;
}

function isMusl(): boolean {
  try {
    // A shell script on both kinds of system, and it names its C library. Far cheaper than a diagnostic report.
    return readFileSync('/usr/bin/ldd', 'latin1').includes('musl');
  } catch {
    // No ldd (a distroless image): ask the runtime.
  }
  const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined;
  if (report === undefined) return false;
  const before = report.excludeNetwork;
  report.excludeNetwork = true; // otherwise the report may wait for reverse DNS
  const { header } = report.getReport() as unknown as { header?: { glibcVersionRuntime?: string } };
  if (before !== undefined) report.excludeNetwork = before;
  return header?.glibcVersionRuntime === undefined;
}
