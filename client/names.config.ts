/**
 * Names that only this package's own parts see: the build makes them short, and the size test weighs them so. A name may stand here if no
 * published type has it, no object of a platform is asked for it, and no module is imported by it (`test/unit/names.test.ts` checks).
 */

import type { TransformOptions } from 'esbuild';

/** Members of what the parts of the core give each other; those that are said most often first. */
export const INTERNAL: readonly string[] = `
  timer settings asked over handlers step tries wanted fail waiting arm emit opened promise exchange generation
  outgoing waits ask items reply backoff deliver ended snapshots wake heard probe connects effects frozen goal
  refreshes silent answered back readyAt auth dead lazily past stableAfter accept changed drained hear
  iterate maxHeld maxHeldBytes maxPending restored rewind seed subscribed
  listeners fresh told covers uses live acquire configure retire
  shared threw fits counters hooks notices life driver
`
  .trim()
  .split(/\s+/);

/** One letter each as far as they go, without those that are names on the wire or of the platform. */
const SHORT: readonly string[] = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabfghjklmqruwxyz'];

/** What esbuild is told: each name has one short form, the same in every file. */
export const mangling: Pick<TransformOptions, 'mangleProps' | 'mangleCache'> = {
  mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`),
  mangleCache: Object.fromEntries(INTERNAL.map((name, index) => [name, SHORT[index] ?? `${SHORT[index - SHORT.length]}_`])),
};
