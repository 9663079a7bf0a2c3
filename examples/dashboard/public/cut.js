// Cutting this tab off for a while, and what became of it.
//
// Owns: the button, and the words under it.
// Never: recovers anything (connection.js and the engine do), counts what it has not seen.

import { $, put } from './dom.js';
import { count } from './format.js';

const CUT_MS = 5000;

export function createCut(connection) {
  const button = $('act-cut');
  let late = 0; // points of the CPU's curve: every curve has as many

  button.addEventListener('click', () => {
    late = 0;
    connection.cut(CUT_MS);
    put($('cut-facts'), 'Off. What is published now, this tab does not hear.');
  });
  connection.addEventListener('state', ({ detail }) => {
    button.disabled = detail.state !== 'live';
  });
  connection.addEventListener('back', ({ detail: { away, recovered, replayed } }) => {
    const gone = `Away for ${(away / 1000).toFixed(1)} s`;
    put(
      $('cut-facts'),
      recovered
        ? `${gone}. ${count(replayed)} missed messages came first, in order; ${count(late)} of them are the shaded points of each curve.`
        : `${gone}. Not everything it missed is kept any more: the curves were drawn anew.`,
    );
  });

  return {
    /** A reading of the CPU has come late. */
    late() {
      late++;
    },
  };
}
