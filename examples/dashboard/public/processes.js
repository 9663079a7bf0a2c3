// The process table.
//
// Owns: its rows and their order (by CPU or by memory).
// Never: inserts a process's name as anything but text: a program may be called `<img onerror=…>`.

import { $, put } from './dom.js';
import { bytes, count, together } from './format.js';

const ROWS = 10;

export function createProcessTable() {
  const body = $('process-rows');
  const buttons = [...document.querySelectorAll('[data-sort]')];
  const rows = [];
  let latest = null;
  let key = 'cpu';

  for (const button of buttons) {
    button.addEventListener('click', () => {
      key = button.dataset.sort;
      for (const other of buttons) other.setAttribute('aria-pressed', String(other === button));
      for (const head of document.querySelectorAll('[data-column]')) {
        if (head.dataset.column === key) head.setAttribute('aria-sort', 'descending');
        else head.removeAttribute('aria-sort');
      }
      render();
    });
  }

  function render() {
    if (latest === null) return;
    const other = key === 'cpu' ? 'memory' : 'cpu';
    const list = latest.list.toSorted((a, b) => b[key] - a[key] || b[other] - a[other]).slice(0, ROWS);
    const largest = Math.max(1, ...latest.list.map((process) => process.memory));
    put($('process-count'), `${count(latest.total)} in all`);
    while (rows.length < list.length) rows.push(createRow(body));
    while (rows.length > list.length) rows.pop().row.remove();
    list.forEach((process, i) => {
      const { name, pid, threads, cpu, memory } = rows[i];
      put(name, process.name);
      put(pid, String(process.pid));
      put(threads, String(process.threads));
      put(cpu.firstChild, process.cpu.toFixed(1));
      put(memory.firstChild, process.memory > 0 ? together(bytes(process.memory)) : 'kernel');
      cpu.style.setProperty('--bar', String(Math.min(1, process.cpu / 100)));
      memory.style.setProperty('--bar', String(process.memory / largest));
    });
  }

  return {
    take(payload) {
      latest = payload;
      render();
    },
    missing(reason) {
      const panel = $('processes-panel');
      panel.classList.toggle('missing', reason !== undefined);
      put(panel.querySelector('.missing-note'), reason ?? '');
    },
  };
}

function createRow(body) {
  const row = document.createElement('tr');
  row.dataset.testid = 'process-row';
  const name = document.createElement('th');
  name.scope = 'row';
  row.append(name);
  const cell = (className) => {
    const td = document.createElement('td');
    td.className = className;
    td.append(document.createElement('span'));
    row.append(td);
    return td;
  };
  const pid = cell('number faint aside');
  const threads = cell('number faint aside');
  const cpu = cell('number bar bar-cpu');
  const memory = cell('number bar bar-memory');
  body.append(row);
  return { row, name, pid: pid.firstChild, threads: threads.firstChild, cpu, memory };
}
