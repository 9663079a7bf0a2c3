// The load: its figures and its threads.
//
// Owns: the four large figures, a bar per thread, the line about what is going on.
// Never: keeps a figure when the load has stopped: what is not measured now is a dash.

import { Chart } from './chart.js';
import { $, put } from './dom.js';
import { bytes, count, millis, percent } from './format.js';
import { createActs } from './run-acts.js';
import { createCompare } from './run-compare.js';
import { createControls } from './run-controls.js';

const GENERATOR_FULL = 0.95;
const DENSE_ABOVE = 11; // bars; more stand side by side

export function createRun(link) {
  const controls = createControls(link);
  const acts = createActs(link);
  const compare = createCompare();
  const spark = (id, color) => new Chart($(id), { colors: [color], grid: false, points: 120, floor: 1 });
  const charts = {
    deliveries: spark('spark-deliveries', '--c-cpu'),
    p99: spark('spark-p99', '--c-load'),
    js: spark('spark-js', '--c-mem'),
  };
  let said = '';
  let saidUntil = 0;

  function figures(now, settings) {
    put($('run-deliveries'), count(now?.deliveries));
    put($('run-open'), now === null ? '' : `${count(now.open)} connected, ${paceText(now.published, settings.rate)}`);
    put($('run-p50'), millis(now?.p50));
    put($('run-p99'), millis(now?.p99));
    put($('run-js'), percent(typeof now?.js === 'number' ? now.js * 100 : undefined));
    const { value, unit } = bytes(now?.perConnection);
    put($('run-memory'), value);
    put($('run-memory-unit'), unit);
    put($('run-dropped'), now === null ? '' : `${count(now.dropped)} messages dropped`);
    if (now === null) return;
    charts.deliveries.push([now.deliveries ?? 0]);
    charts.p99.push([now.p99 ?? 0]);
    charts.js.push([(now.js ?? 0) * 100]);
    $('run').dataset.whole = String(now.open === settings.connections);
  }

  function threads(now, driver) {
    const bars = now === null ? [] : threadBars(now, driver);
    const list = $('run-threads');
    list.classList.toggle('dense', bars.length > DENSE_ABOVE);
    while (list.children.length > bars.length) list.lastElementChild.remove();
    while (list.children.length < bars.length) list.append(bar());
    bars.forEach(({ name, kind, share }, i) => {
      const row = list.children[i];
      row.className = kind;
      put(row.children[0], name);
      row.children[1].style.setProperty('--share', Math.min(1, share));
      put(row.children[2], `${percent(share * 100)} %`);
    });
    put(
      $('run-threads-note'),
      now !== null && now.threads === null ? 'Threads are read from /proc, which this system does not have.' : '',
    );
  }

  return {
    take(state) {
      const { now, running, settings, endsIn, note } = state;
      controls.take(state);
      acts.take(state);
      compare.take(state);
      figures(now, settings);
      threads(now, state.driver);
      $('run').dataset.running = String(running);
      put($('run-note'), performance.now() < saidUntil ? said : note || statusText(state));
      put(
        $('run-ends'),
        endsIn === null ? '' : `Stops by itself in ${Math.floor(endsIn / 60)}:${String(endsIn % 60).padStart(2, '0')}.`,
      );
    },
    notice(text) {
      said = text;
      saidUntil = performance.now() + 4000;
      put($('run-note'), text);
    },
  };
}

/** What was asked for is said only where it is not reached. */
function paceText(published, rate) {
  const pace = `${count(published)} published/s`;
  return published < rate * 0.95 ? pace.replace(' ', ` of ${count(rate)} `) : pace;
}

function statusText({ running, now, settings }) {
  if (!running) return 'Move a slider, or press Start.';
  if (now === null) return 'Starting.';
  if (now.open < settings.connections) return `Connecting ${count(settings.connections)} clients.`;
  if (now.generators.busy > GENERATOR_FULL) return 'The load generator has no time left: it, or this machine, is the limit here.';
  return 'All clients are connected.';
}

function threadBars({ threads, js, generators }, driver) {
  const name = driver === 'inline' ? 'JavaScript and the engine' : 'JavaScript';
  const bars = [{ name, kind: 'js', share: threads?.js ?? js ?? 0 }];
  for (const [i, share] of (threads?.shards ?? []).entries()) bars.push({ name: `Shard ${i}`, kind: 'shard', share });
  if (threads !== null) bars.push({ name: 'Other threads', kind: 'rest', share: threads.rest });
  bars.push({ name: 'Load generator', kind: 'rest', share: generators.cpu });
  return bars;
}

function bar() {
  const row = document.createElement('li');
  row.append(document.createElement('span'), document.createElement('i'), document.createElement('b'));
  return row;
}
