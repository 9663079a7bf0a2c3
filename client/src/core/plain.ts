/** What stands in for parts that nobody has asked for (`parts.ts`): endpoints one after the other, and the latest round trip. */

import type { Endpoints } from './endpoints.js';
import type { QualityMeter } from './quality.js';

/** A meter that knows the latest round trip, and grades nothing. */
export const createLatency = (): QualityMeter => {
  let latency: number | null = null;
  return {
    sample(rtt) {
      latency = rtt;
    },
    lost() {},
    read: () => ({ quality: 'unknown', latency, jitter: null, loss: 0, suggestions: [] }),
  };
};

/** A list that is walked round: the one that works is kept, and after a failure the next one's turn has come. */
export const createRotation = (urls: readonly string[]): Endpoints => {
  let index = 0;
  return {
    pick: () => urls[index % urls.length] as string,
    succeeded() {},
    failed() {
      index += 1;
    },
    closed() {},
    stats: () => [],
  };
};
