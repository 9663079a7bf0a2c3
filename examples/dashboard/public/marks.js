// Which values of a curve came late: published while this tab was away, and replayed to it.
//
// Owns: their places, also while the curve moves on.
// Never: draws (chart.js does), keeps a place that has left the curve.

export class Marks {
  #places = []; // counted from the first value there ever was
  #end = 0;

  /** A value was added to the curve of `length` values. */
  added(late, length) {
    if (late) this.#places.push(this.#end);
    this.#end++;
    while (this.#places[0] < this.#end - length) this.#places.shift();
  }

  clear() {
    this.#places = [];
  }

  get size() {
    return this.#places.length;
  }

  /** Runs of late values as [first, last] places in the curve of `length` values. */
  runs(length) {
    const runs = [];
    for (const place of this.#places) {
      const at = place - (this.#end - length);
      const run = runs.at(-1);
      if (run !== undefined && run[1] === at - 1) run[1] = at;
      else runs.push([at, at]);
    }
    return runs;
  }
}
