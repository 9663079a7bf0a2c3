// The busiest processes of this machine, read a slice at a time.
//
// Owns: /proc/[pid]/stat. A pass over all processes is spread over SLICES calls, so that even with thousands of them no
// single tick of the feed is held up; the list is new once per pass. Only the kernel's short name of a process is read,
// never its command line: that is where passwords are.
// Never: publishes, starts a timer, runs `ps`. Without /proc `step()` always answers null and `missing` says why.

import { readdirSync, readFileSync } from 'node:fs';

const SLICES = 10;
const KEEP = 12;
const AT_PAGESZ = 6n;
const AT_CLKTCK = 17n;

export function createProcessList() {
  const { pageSize, ticksPerSecond } = kernelUnits();
  let waiting = []; // pids of this pass that are not read yet
  let perStep = 0;
  let previous = new Map(); // pid -> { started, ticks, at } of the last pass
  let current = new Map();
  let found = [];

  const begin = () => {
    waiting = listPids();
    perStep = Math.ceil(waiting.length / SLICES);
    previous = current;
    current = new Map();
    found = [];
  };

  const read = (pid) => {
    const stat = readStat(pid);
    if (stat === null) return; // it ended between the listing and now
    const now = performance.now();
    const before = previous.get(pid);
    current.set(pid, { started: stat.started, ticks: stat.ticks, at: now });
    // A pid that was given to another process since has another start time: nothing to compare with.
    const known = before !== undefined && before.started === stat.started;
    const seconds = known ? (now - before.at) / 1000 : 0;
    const cpu = seconds > 0 ? (100 * (stat.ticks - before.ticks)) / ticksPerSecond / seconds : 0;
    found.push({ pid, name: stat.name, cpu: Math.round(cpu * 10) / 10, memory: stat.pages * pageSize, threads: stat.threads });
  };

  const supported = process.platform === 'linux' && listPids().length > 0;
  return {
    missing: supported ? null : 'The process list is read from /proc, which this system does not have.',
    /** Reads the next slice. Answers the finished list once per pass, otherwise null. */
    step() {
      if (!supported) return null;
      if (waiting.length === 0) begin();
      for (const pid of waiting.splice(-perStep)) read(pid);
      if (waiting.length > 0 || previous.size === 0) return null;
      return { total: found.length, list: top(found) };
    },
  };
}

/** The busiest by CPU and the largest by memory, each process once. */
function top(processes) {
  const byMemory = processes.toSorted((a, b) => b.memory - a.memory).slice(0, KEEP);
  const byCpu = processes.toSorted((a, b) => b.cpu - a.cpu || b.memory - a.memory).slice(0, KEEP);
  return [...new Set([...byCpu, ...byMemory])];
}

function listPids() {
  try {
    return readdirSync('/proc')
      .filter((name) => name >= '0' && name < ':')
      .map(Number)
      .filter(Number.isInteger);
  } catch {
    return [];
  }
}

function readStat(pid) {
  let text;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The name stands in parentheses and may itself contain spaces and parentheses: the last one ends it.
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const f = text.slice(close + 2).split(' ');
  return {
    name: text.slice(open + 1, close),
    ticks: Number(f[11]) + Number(f[12]),
    threads: Number(f[17]),
    started: f[19],
    pages: Number(f[21]),
  };
}

/** The units the kernel counts in, from the auxiliary vector it gave this process. */
function kernelUnits() {
  const units = { pageSize: 4096, ticksPerSecond: 100 };
  try {
    const vector = readFileSync('/proc/self/auxv');
    for (let at = 0; at + 16 <= vector.length; at += 16) {
      const key = vector.readBigUInt64LE(at);
      if (key === AT_PAGESZ) units.pageSize = Number(vector.readBigUInt64LE(at + 8));
      if (key === AT_CLKTCK) units.ticksPerSecond = Number(vector.readBigUInt64LE(at + 8));
    }
  } catch {
    // Not readable everywhere; the usual units stay.
  }
  return units;
}
