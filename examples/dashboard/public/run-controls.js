// The controls of the load: sliders, the choice of server, start and stop.
//
// Owns: the settings this tab shows, sending them a moment after the last change, taking over what another tab has set.
// Never: shows a figure (run.js), invents bounds: they come from the server.

import { $, put } from './dom.js';
import { count } from './format.js';

const STEPS = 1000;
const SEND_AFTER_MS = 300;
const MINE_FOR_MS = 1500; // what this tab has just changed is not set back by what the server still had
const NAMES = ['connections', 'rate', 'size'];

export function createControls(link) {
  const wanted = { server: 'wse', connections: 1, rate: 1, size: 32 };
  let bounds = null;
  let running = false;
  let timer = 0;
  let touched = Number.NEGATIVE_INFINITY;

  const start = $('run-start');
  const servers = [...document.querySelectorAll('[data-server]')];

  function send() {
    clearTimeout(timer);
    link.send('load_set', wanted);
  }

  function change(name, value) {
    wanted[name] = value;
    touched = performance.now();
    show();
    clearTimeout(timer);
    timer = setTimeout(send, SEND_AFTER_MS);
  }

  for (const name of NAMES) {
    const slider = $(`run-${name}`);
    const box = $(`run-${name}-box`);
    slider.addEventListener('input', () => bounds && change(name, valueAt(Number(slider.value), bounds[name])));
    box.addEventListener('change', () => {
      if (bounds === null) return;
      const { min, max } = bounds[name];
      change(name, Math.min(max, Math.max(min, Math.round(Number(box.value)) || min)));
    });
  }
  for (const button of servers) {
    button.addEventListener('click', () => {
      wanted.server = button.dataset.server;
      touched = performance.now();
      show();
      send();
    });
  }
  start.addEventListener('click', () => {
    if (running) link.send('load_stop', {});
    else send();
    touched = performance.now();
  });

  function show() {
    for (const name of NAMES) {
      const slider = $(`run-${name}`);
      const box = $(`run-${name}-box`);
      if (document.activeElement !== slider) slider.value = String(stepOf(wanted[name], bounds[name]));
      slider.style.setProperty('--filled', `${Number(slider.value) / (STEPS / 100)}%`);
      slider.setAttribute('aria-valuetext', count(wanted[name]));
      if (document.activeElement !== box || performance.now() - touched < 50) box.value = String(wanted[name]);
    }
    for (const button of servers) button.setAttribute('aria-pressed', String(button.dataset.server === wanted.server));
  }

  return {
    take(state) {
      if (bounds === null || bounds.connections.max !== state.bounds.connections.max) {
        bounds = state.bounds;
        for (const name of NAMES) {
          $(`run-${name}-box`).min = String(bounds[name].min);
          $(`run-${name}-box`).max = String(bounds[name].max);
          for (const id of [`run-${name}`, `run-${name}-box`]) $(id).disabled = false;
        }
        put($('run-limit'), bounds.note ?? '');
      }
      running = state.running;
      if (performance.now() - touched > MINE_FOR_MS) Object.assign(wanted, state.settings);
      show();
      put(start, running ? 'Stop' : 'Start');
      start.classList.toggle('primary', !running);
    },
  };
}

/** The scale is logarithmic: each step is the same factor, and the values are round ones. */
function valueAt(step, { min, max }) {
  const value = min * (max / min) ** (step / STEPS);
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
  return Math.min(max, Math.max(min, Math.round(value / unit) * unit));
}

const stepOf = (value, { min, max }) => (max > min ? Math.round((STEPS * Math.log(value / min)) / Math.log(max / min)) : 0);
