/** A condition that many may wait for and that is announced again and again. Nothing is remembered between waits. */
export class Wake {
  #waiting: (() => void)[] = [];

  /** Wakes everybody who waits now. Bound, so that it can be handed out as a callback. */
  readonly notify: () => void = () => {
    const woken = this.#waiting;
    this.#waiting = [];
    for (const resolve of woken) resolve();
  };

  /** Resolves at the next `notify()`; rejects with the signal's reason when it is aborted first. */
  wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const woken = (): void => {
        signal?.removeEventListener('abort', aborted);
        resolve();
      };
      const aborted = (): void => {
        this.#waiting = this.#waiting.filter((waiter) => waiter !== woken);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', aborted, { once: true });
      this.#waiting.push(woken);
    });
  }
}
