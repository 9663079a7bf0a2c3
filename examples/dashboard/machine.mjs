// Reads this machine: CPU per core, load, memory, network and disk.
//
// Owns: the counters of the operating system and their change over a short sliding window. Linux is read from /proc;
// elsewhere node:os gives CPU, load and memory, and what it cannot give is `null` with a reason in `info.missing`.
// Never: publishes, keeps history, starts a timer, runs another program.

import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';

// The kernel counts CPU time in steps of 10 ms: over 100 ms a core could only be 0, 10, 20 … per cent busy.
const WINDOW_MS = 500;
const SECTOR = 512;
const VIRTUAL_LINK = /^(veth|docker|br-|virbr|vnet|ifb|dummy|cni|flannel|cali|tun|tap|wg|bond_slave|sit|ip6tnl|gre)/;
const NOT_A_DISK = /^(loop|ram|zram|dm-|md|sr|fd|nbd)/;

export function createMachine() {
  const linux = process.platform === 'linux';
  const has = (path) => linux && readText(path) !== null;
  const reads = { stat: has('/proc/stat'), net: has('/proc/net/dev'), disk: has('/proc/diskstats') };
  const cpu = new Window();
  const network = new Window();
  const disk = new Window();
  const missing = {};
  if (!reads.net) missing.network = 'Network counters are read from /proc/net/dev, which this system does not have.';
  if (!reads.disk) missing.disk = 'Disk counters are read from /proc/diskstats, which this system does not have.';

  return {
    info: {
      platform: `${os.type()} ${os.release().split('-')[0]}`,
      arch: process.arch,
      cpu: os.cpus()[0]?.model?.trim() || 'unknown processor',
      cores: os.cpus().length,
      node: process.versions.node,
      missing,
    },
    /** One reading of everything; a part that does not exist here is null. `now` is monotonic milliseconds. */
    sample(now) {
      return {
        cpu: cpuLoad(cpu, now, reads.stat ? procStat() : osStat()),
        memory: linux ? (procMemory() ?? osMemory()) : osMemory(),
        network: reads.net ? networkRate(network, now) : null,
        disk: reads.disk ? diskRate(disk, now) : null,
      };
    },
  };
}

/** Remembers counters for WINDOW_MS and answers with the oldest of them. */
class Window {
  #entries = [];

  base(now, counters) {
    const entries = this.#entries;
    if (entries.length > 0 && entries[0].counters.length !== counters.length) entries.length = 0;
    entries.push({ now, counters });
    while (entries.length > 2 && entries[1].now <= now - WINDOW_MS) entries.shift();
    return entries[0];
  }

  /** Change per second of each counter. A counter that went back (a device left) reads 0, not minus something. */
  perSecond(now, counters) {
    const base = this.base(now, counters);
    const seconds = (now - base.now) / 1000;
    return counters.map((value, i) => (seconds > 0 ? Math.max(0, Math.round((value - base.counters[i]) / seconds)) : 0));
  }
}

function cpuLoad(window, now, counters) {
  const { counters: before } = window.base(now, counters);
  const cores = counters.map(([busy, total], i) => {
    const passed = total - before[i][1];
    return passed > 0 ? clampPercent((100 * (busy - before[i][0])) / passed) : 0;
  });
  const sum = cores.reduce((a, b) => a + b, 0);
  const [one, five, fifteen] = os.loadavg();
  const load = process.platform === 'win32' ? null : [one, five, fifteen].map((x) => Math.round(x * 100) / 100);
  return { total: round1(sum / Math.max(1, cores.length)), cores: cores.map(round1), load };
}

/** [busy, total] per core, in kernel ticks. */
function procStat() {
  const cores = [];
  for (const line of (readText('/proc/stat') ?? '').split('\n')) {
    if (!line.startsWith('cpu')) break;
    if (line[3] === ' ') continue; // the sum of all cores
    const t = line.split(/\s+/).slice(1, 9).map(Number); // user nice system idle iowait irq softirq steal
    const total = t.reduce((a, b) => a + b, 0);
    cores.push([total - t[3] - (t[4] ?? 0), total]);
  }
  return cores;
}

function osStat() {
  return os.cpus().map(({ times: t }) => {
    const busy = t.user + t.nice + t.sys + t.irq;
    return [busy, busy + t.idle];
  });
}

function procMemory() {
  const text = readText('/proc/meminfo');
  if (text === null) return null;
  const bytes = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN) * 1024;
  const total = bytes('MemTotal');
  const free = bytes('MemFree');
  const available = bytes('MemAvailable');
  if (!(total > 0)) return null;
  const open = Number.isFinite(available) ? available : free;
  const swapTotal = bytes('SwapTotal') || 0;
  return {
    total,
    used: total - open,
    cache: Math.max(0, open - free),
    swapTotal,
    swapUsed: swapTotal - (bytes('SwapFree') || 0),
  };
}

function osMemory() {
  const total = os.totalmem();
  return { total, used: total - os.freemem(), cache: 0, swapTotal: 0, swapUsed: 0 };
}

function networkRate(window, now) {
  let rx = 0;
  let tx = 0;
  let loopback = 0;
  const links = [];
  for (const line of (readText('/proc/net/dev') ?? '').split('\n').slice(2)) {
    const at = line.indexOf(':');
    if (at === -1) continue;
    const name = line.slice(0, at).trim();
    const fields = line
      .slice(at + 1)
      .trim()
      .split(/\s+/);
    if (name === 'lo') loopback = Number(fields[8]);
    else if (!VIRTUAL_LINK.test(name)) {
      // Bridges and tunnels are left out: their bytes already count on the link below them.
      rx += Number(fields[0]);
      tx += Number(fields[8]);
      links.push(name);
    }
  }
  const [down, up, local] = window.perSecond(now, [rx, tx, loopback]);
  return { rx: down, tx: up, loopback: local, links: links.slice(0, 4) };
}

const wholeDisks = new Map();

/** Partitions and device-mapper targets are left out: their bytes already count on the disk below them. */
function isWholeDisk(name) {
  let whole = wholeDisks.get(name);
  if (whole === undefined) {
    whole = !NOT_A_DISK.test(name) && existsSync(`/sys/block/${name.replaceAll('/', '!')}`);
    if (wholeDisks.size < 4096) wholeDisks.set(name, whole);
  }
  return whole;
}

function diskRate(window, now) {
  let read = 0;
  let written = 0;
  for (const line of (readText('/proc/diskstats') ?? '').split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields.length < 11 || !isWholeDisk(fields[2])) continue;
    read += Number(fields[5]);
    written += Number(fields[9]);
  }
  const [r, w] = window.perSecond(now, [read * SECTOR, written * SECTOR]);
  return { read: r, write: w };
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

const clampPercent = (value) => Math.min(100, Math.max(0, value));
const round1 = (value) => Math.round(value * 10) / 10;
