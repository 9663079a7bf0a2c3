/**
 * Handing events on: handlers by name. A handler that throws is reported and never stops the others. Nothing here knows what an event
 * means.
 */

/** What ends a subscription to events; calling it again does nothing. */
export type Off = () => void;

/** Handlers by name. */
export interface Emitter<M> {
  /** Adds a handler; the same function twice is called once. */
  on<K extends keyof M>(name: K, fn: (value: M[K]) => void): Off;
  /** Removes a handler. */
  off<K extends keyof M>(name: K, fn: (value: M[K]) => void): void;
  /** Calls all handlers of a name, in the order they came; false if there are none. */
  emit<K extends keyof M>(name: K, value: M[K]): boolean;
}

/** Handlers of which a throw, or a rejected promise, goes to `report`. */
export function createEmitter<M>(report: (error: unknown, name: keyof M) => void): Emitter<M> {
  /** Lists that are replaced, never changed: who is being called calls on as it was. */
  const handlers = new Map<keyof M, readonly ((value: never) => unknown)[]>();
  const of = (name: keyof M): readonly ((value: never) => unknown)[] => handlers.get(name) ?? [];
  const off: Emitter<M>['off'] = (name, fn) => {
    const rest = of(name).filter((one) => one !== fn);
    if (rest.length > 0) handlers.set(name, rest);
    else handlers.delete(name);
  };
  return {
    on(name, fn) {
      if (!of(name).includes(fn)) handlers.set(name, [...of(name), fn]);
      return () => off(name, fn);
    },
    off,
    emit(name, value) {
      const all = of(name);
      for (const fn of all) {
        try {
          const result = fn(value as never);
          if (result instanceof Promise) result.catch((error) => report(error, name));
        } catch (error) {
          report(error, name);
        }
      }
      return all.length > 0;
    },
  };
}

/** What happens to an event that finds a queue full: the oldest makes room and is counted, or iteration ends with `WSE_OVERFLOW`. */
export type Overflow = 'drop-oldest' | 'error';
