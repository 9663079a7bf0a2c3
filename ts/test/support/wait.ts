/** Waiting for conditions. Every wait has a deadline and says what it waited for. */

import { setTimeout as pause } from 'node:timers/promises';

/** How long a condition may take that a healthy machine meets at once. */
export const DEADLINE_MS = 20_000;
const POLL_MS = 2;

/** Resolves with the first truthy value of `condition`; rejects after `deadlineMs`, naming `what`. */
export async function waitUntil<T>(
  condition: () => T | Promise<T>,
  what: string | (() => string),
  deadlineMs: number = DEADLINE_MS,
): Promise<NonNullable<T>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) {
      throw new Error(`no ${typeof what === 'string' ? what : what()} within ${deadlineMs} ms`);
    }
    await pause(POLL_MS);
  }
}

/** `promise`, unless it takes longer than `deadlineMs`. */
export async function within<T>(promise: Promise<T>, what: string, deadlineMs: number = DEADLINE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${deadlineMs} ms`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
