// Both servers beside each other.
//
// Owns: the table of what each has shown under the load that is set now.
// Never: shows a figure of another load: the server forgets them when the load changes, and the cell is a dash again.

import { $, put } from './dom.js';
import { bytes, count, millis, NONE, percent, together } from './format.js';

const share = (value) => (value === undefined || value === null ? NONE : `${percent(value * 100)} %`);
const cores = (value) => (typeof value === 'number' ? value.toFixed(2) : NONE);
const ms = (value) => (value === undefined || value === null ? NONE : `${millis(value)} ms`);

const ROWS = [
  ['Deliveries per second', (r) => count(r.deliveries)],
  ['publish() to arrival, median', (r) => ms(r.p50)],
  ['publish() to arrival, p99', (r) => ms(r.p99)],
  ['JavaScript busy', (r) => share(r.js)],
  ['CPU, all threads (cores)', (r) => cores(r.cores)],
  ['Memory per connection', (r) => together(bytes(r.perConnection))],
  ['Pings answered while JavaScript was blocked', (r) => (r.block ? `${r.block.answered} of ${r.block.pings}` : NONE)],
  ['Everyone back after a restart', (r) => (r.restart ? `${count(r.restart.ms)} ms` : NONE)],
  ['CPU of the load generator (cores)', (r) => cores(r.generator)],
];

export function createCompare() {
  const cells = ROWS.map(([name]) => {
    const row = document.createElement('tr');
    const head = document.createElement('th');
    head.scope = 'row';
    head.textContent = name;
    const [wse, ws] = [document.createElement('td'), document.createElement('td')];
    row.append(head, wse, ws);
    $('compare-rows').append(row);
    return { wse, ws };
  });

  return {
    take({ results, settings, running }) {
      ROWS.forEach(([, write], i) => {
        for (const server of ['wse', 'ws']) put(cells[i][server], write(results[server] ?? {}));
      });
      const { connections, rate, size } = settings;
      put($('compare-load'), `${count(connections)} × ${count(rate)}/s × ${count(size)} B`);
      const missing = ['wse', 'ws'].filter((server) => results[server]?.deliveries === undefined);
      const other = settings.server === 'wse' ? 'ws' : 'wse-server';
      const hint = running && missing.length === 1 ? `Choose ${other} to see the same load on it.` : '';
      put($('compare-hint'), hint);
      for (const server of ['wse', 'ws']) {
        $(`compare-${server}`).classList.toggle('now', running && settings.server === server);
      }
    },
  };
}
