/** Where the streams of topics stand, for a snapshot that is to join them. Owns nothing. */

import type { EngineHandle } from './engine-handle.js';
import type { TopicPosition } from './recovery-calls.js';

/**
 * Where `topics` stand, once everything is handed over that was published on this thread; null: of a topic that cannot be
 * recovered, or that nobody has published or subscribed to.
 */
export function positionsOf(engine: EngineHandle, topics: readonly string[]): (TopicPosition | null)[] {
  return engine.command((native) => native.topicPositions([...topics]));
}
