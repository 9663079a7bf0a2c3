/** Parts that are loaded when they are needed first. A load that fails is reported and tried again: nothing that waits for it is lost. */

import type { Clock } from './clock.js';
import type { Shared } from './shared.js';

/** Makes what loads a part once; its promise rejects only when the client has ended. */
export type Lazily = <T>(load: () => Promise<T>) => () => Promise<T>;

/**
 * Tries again after a second, and after twice as long each time, up to half a minute, until the signal is aborted. Some browsers remember that
 * a file could not be loaded until the page is loaded anew: there the reports go on, and what waits waits.
 */
export const createLazily =
  (clock: Clock, signal: AbortSignal, { createWait }: Pick<Shared, 'createWait'>, report: (error: unknown) => void): Lazily =>
  (load) => {
    const attempt = (ms: number): ReturnType<typeof load> =>
      load().catch(async (error) => {
        if (!signal.aborted) report(error);
        await createWait(clock, '', ms, signal).promise.catch(() => {});
        signal.throwIfAborted();
        return attempt(Math.min(2 * ms, 30_000));
      });
    let loaded: ReturnType<typeof load> | undefined;
    return () => {
      loaded ??= attempt(1_000);
      return loaded;
    };
  };
