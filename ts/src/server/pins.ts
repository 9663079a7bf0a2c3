/** Where the streams of topics stand, for a snapshot that is to join them. Owns nothing. */

import type { EngineHandle } from './engine-handle.js';
import type { TopicPosition } from './recovery-calls.js';

/**
 * Where `topics` stand, once everything is handed over that was published on this thread: of a topic that nobody has published or
 * subscribed to, the offsets begin now. Null: of a topic that cannot be recovered, or for which there is no memory; of all once the server is stopped.
 */
export function positionsOf(engine: EngineHandle, topics: readonly string[]): (TopicPosition | null)[] {
  return engine.isRunning() ? engine.command((native) => native.beginTopics([...topics])) : topics.map(() => null);
}
