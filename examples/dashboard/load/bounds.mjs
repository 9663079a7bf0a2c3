// What a page may ask of the load, and how far.
//
// Owns: the bounds of connections, rate and size, what this machine's limit of open files makes of them, and the reading
// of a page's request.
// Never: trusts a field: whatever is no number in its bounds refuses the request.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export const SERVERS = ['wse', 'ws'];

/** Bytes that wait for one connection before it loses messages: the same for both servers. */
export const QUEUE_BYTES = 256 * 1024;

/** After the last word of a page. */
export const LIMIT_SECONDS = 600;

const MOST_CONNECTIONS = 10_000;
const SPARE_FILES = 100; // the process's own: libraries, pipes, epoll

/** The bounds on this machine; `note` says why there are fewer connections than there could be. */
export function loadBounds() {
  const files = openFiles();
  const most = Math.max(1, Math.min(MOST_CONNECTIONS, files - SPARE_FILES));
  return {
    connections: { min: 1, max: most },
    rate: { min: 1, max: 1000 },
    size: { min: 32, max: 16_384 },
    note: most < MOST_CONNECTIONS ? `This user may open ${files} files, so ${most} connections (ulimit -n).` : null,
  };
}

/** A page's request, or null for anything that is none. */
export function readSettings(p, bounds) {
  const server = SERVERS.includes(p.server) ? p.server : null;
  const [connections, rate, size] = ['connections', 'rate', 'size'].map((name) => whole(p[name], bounds[name]));
  if (server === null || connections === null || rate === null || size === null) return null;
  return { server, connections, rate, size };
}

const whole = (value, { min, max }) => (Number.isInteger(value) && value >= min && value <= max ? value : null);

/** Node raises the soft limit to the hard one when it starts, so what this process has, its children have too. */
function openFiles() {
  if (process.platform === 'win32') return Number.MAX_SAFE_INTEGER;
  let text = '';
  try {
    text = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '';
  } catch {
    text = spawnSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).stdout?.trim() ?? '';
  }
  if (text === 'unlimited') return Number.MAX_SAFE_INTEGER;
  return Number(text) > 0 ? Number(text) : 1024;
}
