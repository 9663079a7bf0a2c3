/**
 * Lifecycle: what happens to the page, and to the machine, a client runs on. It tells; what to do about it is the client's.
 */

/** Who is told; each may be left out. */
export interface PageHandlers {
  /** The page is seen again. */
  visible?(): void;
  /** There is a network again, which does not say that the server can be reached. */
  online?(): void;
  /** There is no network. Told at once where it holds from the start. */
  offline?(): void;
  /** The page stops, perhaps for good: frozen, put into the back/forward cache, or left. Last chance to write something down. */
  frozen?(): void;
  /** The page goes on after {@link frozen}, out of the back/forward cache too: sockets of before are dead, whatever they say. */
  restored?(): void;
}

/** What listeners are added to, until the signal is aborted. */
export interface PageEvents {
  addEventListener(
    type: string,
    listener: (event: { readonly persisted?: boolean }) => void,
    options: { readonly signal: AbortSignal },
  ): void;
}

/** What {@link watchPage} needs of a window. */
export interface PageTarget extends PageEvents {
  readonly document: PageEvents & { readonly visibilityState: string };
  readonly navigator?: { readonly onLine?: boolean };
}

/**
 * Tell the handlers what happens to the page until the function returned is called.
 *
 * `pagehide` and `freeze` come both or one of them, by browser, as do `resume` and `pageshow`: each pair is told once.
 *
 * @param target the window. @default this one; where there is no document nothing is ever told
 */
export function watchPage(handlers: PageHandlers, target: Partial<PageTarget> = globalThis as Partial<PageTarget>): () => void {
  if (!target.document) return () => {};
  const page = target as PageTarget;
  const { document } = page;
  const watching = new AbortController();
  const on = (source: PageEvents, type: string, listener: (event: { readonly persisted?: boolean }) => void) =>
    source.addEventListener(type, listener, watching);
  let away = false;
  const put = (to: boolean) => {
    if (away === to) return;
    away = to;
    if (to) handlers.frozen?.();
    else handlers.restored?.();
  };
  on(document, 'visibilitychange', () => document.visibilityState !== 'hidden' && handlers.visible?.());
  on(document, 'freeze', () => put(true));
  on(document, 'resume', () => put(false));
  on(page, 'pagehide', () => put(true));
  on(page, 'pageshow', (event) => event.persisted && put(false));
  on(page, 'online', () => handlers.online?.());
  on(page, 'offline', () => handlers.offline?.());
  if (page.navigator?.onLine === false) handlers.offline?.();
  return () => watching.abort();
}

/** The timers {@link watchSleep} needs; a `Clock` has them. */
export interface SleepTimers {
  /** Call `run` once in `ms` milliseconds. */
  setTimeout(run: () => void, ms: number): unknown;
  /** Do not. */
  clearTimeout(handle: unknown): void;
}

/**
 * Tell how long (ms) nothing ran, where a timer of 10 s comes more than 5 s late: the machine slept, or the process was stopped. A
 * hidden tab's timers may come a minute late too, and clocks are set: it is a reason to look, not proof.
 *
 * @param now the time of day, ms: monotonic clocks of most systems stand still while the machine sleeps. @default Date.now
 * @returns ends it
 */
export function watchSleep(timers: SleepTimers, slept: (ms: number) => void, now: () => number = Date.now): () => void {
  const every = 10_000;
  let timer: unknown;
  const arm = () => {
    const due = now() + every;
    timer = timers.setTimeout(() => {
      const late = now() - due;
      arm();
      if (late > 5_000) slept(late);
    }, every);
  };
  arm();
  return () => timers.clearTimeout(timer);
}
