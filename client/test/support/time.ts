/** Time that stands still until a test moves it. */

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
