// The five panels of the machine: CPU, memory, load, network, disk.
//
// Owns: their charts and figures. A part this system cannot give says why instead of showing an empty chart.
// Never: reads a message's envelope (app.js hands over payloads), inserts anything but text.

import { Chart } from './chart.js';
import { $, put } from './dom.js';
import { byteRate, bytes, load, mark, percent, together } from './format.js';

export function createPanels() {
  const charts = {
    cpu: new Chart($('cpu-chart'), { colors: ['--c-cpu'], max: 100, format: (v) => `${Math.round(v)} %` }),
    memory: new Chart($('memory-chart'), {
      colors: ['--c-mem'],
      floor: 2 ** 28,
      unit: 2 ** 30,
      format: (v) => mark(bytes(v)),
    }),
    load: new Chart($('load-chart'), { colors: ['--c-load'], floor: 1, format: (v) => (v < 10 ? v.toFixed(1) : `${v}`) }),
    network: new Chart($('network-chart'), {
      colors: ['--c-net-1', '--c-net-2'],
      floor: 10_000,
      format: (v) => mark(byteRate(v)),
    }),
    disk: new Chart($('disk-chart'), {
      colors: ['--c-disk-1', '--c-disk-2'],
      floor: 100_000,
      format: (v) => mark(byteRate(v)),
    }),
  };
  const cores = createCores($('cores'));
  const last = {};

  const take = {
    cpu(p, late) {
      charts.cpu.push([p.total], late);
      if (p.load !== null) charts.load.push([p.load[0]], late);
      cores.push(p.cores);
    },
    memory: (p, late) => charts.memory.push([p.used], late),
    network: (p, late) => charts.network.push([p.rx, p.tx], late),
    disk: (p, late) => charts.disk.push([p.read, p.write], late),
  };

  return {
    /** A reading: the curve moves now, the figures at the next write(). Late: it was missed, and replayed. */
    reading(name, payload, late) {
      last[name] = payload;
      take[name](payload, late);
    },

    /** The picture a fresh connection starts with. */
    snapshot({ info, history: h, latest }) {
      for (const name of Object.keys(take)) {
        const reason = info.missing[name];
        showMissing(name, reason);
        if (latest[`system.${name}`] !== undefined) last[name] = latest[`system.${name}`];
      }
      showMissing('load', last.cpu?.load === null ? 'This system keeps no load average.' : undefined);
      charts.cpu.replace(h.cpu);
      charts.load.replace(h.load);
      charts.memory.replace(h.memory);
      charts.network.replace(h.rx, h.tx);
      charts.disk.replace(h.read, h.write);
      cores.replace(h.cores ?? []);
      put($('machine'), [info.cpu, `${info.cores} ${info.cores === 1 ? 'core' : 'cores'}`, info.platform].join('  ·  '));
      put($('runtime'), `Node ${info.node} on ${info.platform}, ${info.arch}`);
    },

    write() {
      const { cpu, memory: m, network, disk } = last;
      if (cpu !== undefined) writeCpu(cpu, cores);
      if (m !== undefined) writeMemory(m);
      if (network !== undefined) {
        putUnit('rx', byteRate(network.rx));
        putUnit('tx', byteRate(network.tx));
        put($('network-note'), `${network.links.join(', ') || 'no link'} · loopback ${together(byteRate(network.loopback))}`);
      }
      if (disk !== undefined) {
        putUnit('read', byteRate(disk.read));
        putUnit('written', byteRate(disk.write));
      }
    },

    /** What somebody who does not see the charts is told; called every few seconds. */
    describe() {
      const { cpu, memory: m, network, disk } = last;
      const say = (id, text) => $(id).setAttribute('aria-label', `${text}, last 60 seconds`);
      if (cpu !== undefined) say('cpu-chart', `CPU, now ${percent(cpu.total)} per cent`);
      if (cpu?.load) say('load-chart', `Load average, now ${load(cpu.load[0])}`);
      if (m !== undefined) say('memory-chart', `Memory, now ${together(bytes(m.used))} of ${together(bytes(m.total))}`);
      if (network !== undefined)
        say('network-chart', `Network, now ${together(byteRate(network.rx))} in, ${together(byteRate(network.tx))} out`);
      if (disk !== undefined)
        say('disk-chart', `Disk, now ${together(byteRate(disk.read))} read, ${together(byteRate(disk.write))} written`);
    },
  };
}

function writeCpu(cpu, cores) {
  put($('cpu-value'), percent(cpu.total));
  cores.write(cpu.cores);
  if (cpu.load === null) return;
  put($('load-value'), load(cpu.load[0]));
  put($('load-5'), load(cpu.load[1]));
  put($('load-15'), load(cpu.load[2]));
}

function writeMemory(m) {
  const share = (part) => `${((100 * part) / m.total).toFixed(1)}%`;
  put($('memory-value'), percent((100 * m.used) / m.total));
  put($('memory-used'), together(bytes(m.used)));
  put($('memory-cache'), together(bytes(m.cache)));
  put($('memory-free'), together(bytes(Math.max(0, m.total - m.used - m.cache))));
  put($('memory-swap'), m.swapTotal > 0 ? together(bytes(m.swapUsed)) : 'none');
  put($('memory-total'), `of ${together(bytes(m.total))}`);
  $('memory-bar').style.setProperty('--used', share(m.used));
  $('memory-bar').style.setProperty('--cache', share(m.cache));
}

function putUnit(id, { value, unit }) {
  put($(`${id}-value`), value);
  put($(`${id}-unit`), unit);
}

function showMissing(name, reason) {
  const panel = $(`${name}-panel`);
  panel.classList.toggle('missing', reason !== undefined);
  put(panel.querySelector('.missing-note'), reason ?? '');
}

/** One small chart per core. */
function createCores(list) {
  let items = [];

  const build = (n) => {
    list.replaceChildren();
    list.classList.toggle('dense', n > 16);
    items = Array.from({ length: n }, (_, i) => {
      const item = document.createElement('li');
      item.dataset.testid = 'core';
      const name = document.createElement('span');
      name.textContent = n > 16 ? `${i}` : `Core ${i}`;
      const value = document.createElement('b');
      const canvas = document.createElement('canvas');
      canvas.setAttribute('aria-hidden', 'true');
      item.append(name, value, canvas);
      list.append(item);
      return { value, chart: new Chart(canvas, { colors: ['--c-cpu'], max: 100, grid: false }) };
    });
  };

  return {
    push(values) {
      if (values.length !== items.length) build(values.length);
      values.forEach((value, i) => items[i].chart.push([value]));
    },
    replace(rows) {
      const n = rows.at(-1)?.length ?? 0;
      if (n !== items.length) build(n);
      items.forEach(({ chart }, i) => chart.replace(rows.map((row) => row[i] ?? 0)));
    },
    write(values) {
      values.forEach((value, i) => items[i] && put(items[i].value, `${Math.round(value)} %`));
    },
  };
}
