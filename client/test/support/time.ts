/** Time and chance of tests of pure modules: they stand still until a test moves them. */

interface Due {
  readonly at: number;
  readonly run: () => void;
}

/** A clock that a test moves. Timers run in the order they are due, of equals the one set first. */
export class TestClock {
  #now = 0;
  #last = 0;
  readonly #due = new Map<number, Due>();

  readonly now = (): number => this.#now;

  /** Timers that are set. */
  get timers(): number {
    return this.#due.size;
  }

  setTimeout(run: () => void, ms: number): unknown {
    this.#due.set(++this.#last, { at: this.#now + ms, run });
    return this.#last;
  }

  clearTimeout(handle: unknown): void {
    this.#due.delete(handle as number);
  }

  /** Move on by so many ms and run what becomes due on the way. */
  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [handle, due] = [...this.#due].reduce<[number, Due | undefined]>(
        (first, [id, timer]) => (timer.at <= end && timer.at < (first[1]?.at ?? Infinity) ? [id, timer] : first),
        [0, undefined],
      );
      if (!due) break;
      this.#due.delete(handle);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = end;
  }

  /** Move on by so many ms in which nothing runs. */
  sleep(ms: number): void {
    this.#now += ms;
  }
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
