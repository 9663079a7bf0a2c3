/** Endpoints where nobody asks for more: the one that works is kept, and after a failure the next one's turn has come. */

import type { Endpoints } from './endpoints.js';

/** A list that is walked round. */
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
