/** What keeps the process alive. The engine's own wakes never do. */

const CHECK_MS = 1000;

/**
 * A referenced timer that looks, once a second, whether its reason is gone. The look matters when somebody else
 * ends the engine: another facade on it, in another thread.
 */
export class Hold {
  #timer: NodeJS.Timeout | undefined;

  /** Holds the process until `release()` or until `isOver` says so; then `onOver` runs. */
  take(isOver: () => boolean, onOver: () => void = () => {}): void {
    this.#timer ??= setInterval(() => {
      if (!isOver()) return;
      this.release();
      onOver();
    }, CHECK_MS);
  }

  release(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** Holds the process while `work` is pending. */
export async function holding<T>(work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, CHECK_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
