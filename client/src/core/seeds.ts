/**
 * Positions a program has from elsewhere, until there is a connection and who keeps them from then on (`resume.ts`): checked, copied, and
 * forgotten with their topics.
 */

import type { Position } from '../protocol/types.js';
import { matcher } from './pattern.js';
import type { Resume } from './resume.js';

/** Whether a value is a place in a stream. */
export const isPosition = (value: unknown): value is Position => {
  const { epoch, offset } = (value ?? {}) as { epoch?: unknown; offset?: unknown };
  return typeof epoch === 'string' && Number.isSafeInteger(offset) && (offset as number) >= 0;
};

/** Nothing of them is used yet; what is no position is left out. */
export function createSeeds(given: object | null | undefined): Pick<Resume, 'positions' | 'forget' | 'stats'> {
  let seeds = Object.entries(given ?? {})
    .filter(([, value]) => isPosition(value))
    .map(([topic, { epoch, offset }]): [string, Position] => [topic, { epoch, offset }]);
  return {
    positions: () => structuredClone(Object.fromEntries(seeds)),
    forget(topics, kept = []) {
      const gone = matcher(topics);
      const stays = matcher(kept);
      seeds = seeds.filter(([topic]) => !gone(topic) || stays(topic));
    },
    stats: () => ({ topics: seeds.length, held: 0, heldBytes: 0, duplicates: 0, requests: 0, losses: 0 }),
  };
}
