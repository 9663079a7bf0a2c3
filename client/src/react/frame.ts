/** When a screen is drawn next. Decides nothing about what is drawn. */

/** Calls `fn` once, soon: what is told at once is drawn at once. */
export type Schedule = (fn: () => void) => void;

interface Screen {
  readonly document?: { readonly hidden: boolean };
  readonly requestAnimationFrame?: Schedule;
}

/** The next animation frame; in a hidden tab, whose frames stop, a quarter of a second; without a screen 16 ms. */
export const nextFrame: Schedule = (fn) => {
  const { document, requestAnimationFrame } = globalThis as Screen;
  const hidden = document?.hidden;
  if (requestAnimationFrame && !hidden) requestAnimationFrame(fn);
  else setTimeout(fn, hidden ? 250 : 16);
};
