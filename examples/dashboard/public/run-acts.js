// What can be done to the server under load, and what came of it.
//
// Owns: the three buttons and the line below each.
// Never: says what was not measured: a line is empty until there is something to say.

import { $, put } from './dom.js';
import { bytes, count, millis, together } from './format.js';

export function createActs(link) {
  const buttons = { freeze: $('act-freeze'), block: $('act-block'), restart: $('act-restart') };
  let frozen = false;

  buttons.freeze.addEventListener('click', () => link.send('load_freeze', { frozen: !frozen }));
  buttons.block.addEventListener('click', () => link.send('load_block', {}));
  buttons.restart.addEventListener('click', () => link.send('load_restart', {}));

  return {
    take({ running, now, frozen: one, block, restart }) {
      frozen = one?.on === true;
      const ready = running && now !== null;
      buttons.freeze.disabled = !ready;
      buttons.block.disabled = !ready || block?.running === true;
      buttons.restart.disabled = !ready || restart?.running === true;
      buttons.freeze.setAttribute('aria-pressed', String(frozen));
      put($('freeze-facts'), one === null ? '' : freezeText(one, now));
      $('freeze-bar').style.setProperty('--share', one?.queued === undefined ? 0 : Math.min(1, one.queued / one.limit));
      $('freeze-bar').hidden = !frozen;
      put($('block-facts'), blockText(block, now));
      put($('restart-facts'), restartText(restart, now));
    },
  };
}

function freezeText(one, now) {
  if (one.queued === undefined) return '';
  if (!one.on) return `It reads again. While it stood still it lost ${count(one.dropped)} messages.`;
  if (one.closed !== null) return `The server gave it up: closed with ${one.closed}.`;
  const queue = `${together(bytes(one.queued))} of ${together(bytes(one.limit))} queued`;
  const others = `p99 of the others ${millis(now?.p99)} ms, before ${millis(one.before)} ms`;
  return `${count(one.behind)} messages behind, ${queue}, ${count(one.dropped)} dropped. ${others}.`;
}

function blockText(block, now) {
  if (block === null) return '';
  if (block.running) {
    const waiting = now?.waiting ?? 0;
    return waiting > 300 ? `Blocked. A ping waits for its answer: ${millis(waiting)} ms.` : 'Blocked. Pings are answered.';
  }
  const answered = `${block.answered} of ${block.pings} pings were answered meanwhile`;
  return `Blocked for ${block.seconds.toFixed(1)} s: ${answered}; the slowest answer took ${millis(block.slowest)} ms.`;
}

function restartText(restart, now) {
  if (restart === null) return '';
  if (restart.running) return `Restarting: ${count(now?.open)} of ${count(restart.connections)} are back.`;
  return `All ${count(restart.connections)} were back ${count(restart.ms)} ms after the order to restart.`;
}
