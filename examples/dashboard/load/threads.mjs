// What the threads of a process cost.
//
// Owns: CPU time per thread from /proc/<pid>/task, and its change between two calls. It is read from outside, so it goes on
// while the process itself is busy. Without /proc the answer is always null.
// Never: reads another process than the one it was made for.

import { readdirSync, readFileSync } from 'node:fs';

const NANOS = 1e9;
const SHARD = /^wse-shard-(\d+)$/;

export function createThreadClock(pid) {
  let before = read(pid);
  let at = performance.now();
  return {
    /** Share of one core since the last call: `{ js, shards: [...], rest }`; null where it cannot be read. */
    sample() {
      const now = performance.now();
      const current = read(pid);
      if (before === null || current === null || now <= at) return null;
      const seconds = (now - at) / 1000;
      const result = { js: 0, shards: [], rest: 0 };
      for (const [tid, { name, nanos }] of current) {
        const share = Math.max(0, (nanos - (before.get(tid)?.nanos ?? 0)) / NANOS / seconds);
        const shard = SHARD.exec(name);
        if (tid === pid) result.js = share;
        else if (shard !== null) result.shards[Number(shard[1])] = share;
        else result.rest += share;
      }
      result.shards = Array.from(result.shards, (share) => share ?? 0);
      before = current;
      at = now;
      return result;
    },
  };
}

function read(pid) {
  const threads = new Map();
  try {
    for (const tid of readdirSync(`/proc/${pid}/task`)) {
      const nanos = Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ')[0]);
      const name = readFileSync(`/proc/${pid}/task/${tid}/comm`, 'latin1').trim();
      threads.set(Number(tid), { name, nanos });
    }
  } catch {
    return null; // another system, or the process has ended
  }
  return threads;
}
