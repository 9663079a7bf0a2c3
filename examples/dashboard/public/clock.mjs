// The wall clock with fractions of a millisecond, the same in Node and in the browser.
//
// Owns: epoch time finer than Date.now(). `performance.now()` is fine but drifts away from the wall clock over hours and
// stops while a laptop sleeps; Date.now() is right but cut to whole milliseconds. The largest difference seen lately
// between the two is the true offset.
// Never: corrects one machine's clock by another's (link.js does).

const FORGET_MS = 2000;

let offset = Number.NEGATIVE_INFINITY;
let since = 0;

/** Milliseconds since 1970 as a fraction. */
export function wallClock() {
  const fine = performance.now();
  const difference = Date.now() - fine;
  if (difference > offset || fine - since > FORGET_MS) {
    // Forgetting costs at most the last millisecond once; without it a clock set back would never be followed.
    offset = difference > offset || offset - difference > 1 ? difference : offset;
    since = fine;
  }
  return Math.round((fine + offset) * 1000) / 1000;
}
