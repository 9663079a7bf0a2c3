/** What a result says of the machine and of what was measured. Says nothing of whose disk it was. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = path.dirname(fileURLToPath(import.meta.url));

/** The machine, this checkout's commit (`-dirty` with local changes), and the versions of Node and of `packages` of `bench/`. */
export function machine(packages) {
  const git = (...args) => {
    try {
      return execFileSync('git', args, { cwd: path.dirname(HERE), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      return '';
    }
  };
  const version = (name) => JSON.parse(readFileSync(path.join(HERE, 'node_modules', name, 'package.json'), 'utf8')).version;
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    load: os.loadavg()[0],
    // Results are what a run adds, not what it measures.
    commit: `${git('rev-parse', '--short', 'HEAD') || 'unknown'}${git('status', '--porcelain', '--', '.', ':!bench/results') && '-dirty'}`,
    versions: { node: process.versions.node, ...Object.fromEntries(packages.map((name) => [name, version(name)])) },
  };
}
