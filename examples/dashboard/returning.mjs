// Answers a tab that comes back, or that has noticed a gap.
//
// Owns: what it is replayed, and what it is told about its topics; where something is not kept any more, the whole picture instead.
// Never: decides what a tab may listen to (hub.mjs), keeps a message (the engine does).

const REFUSED = new Set(['WSE_SUBSCRIPTION_LIMIT', 'WSE_OVERLOADED']);

/**
 * @param {{ server: import('wse-server').RustWSEServer, reply: (conn: number, type: string, payload: object) => void, picture: (conn: number) => void }} parts
 *   picture: sends everything a tab needs to draw itself
 */
export function createReturning({ server, reply, picture }) {
  /** Where topics are now; whoever takes it for its own position has missed nothing that is published later. */
  const positions = (topics) => {
    const known = topics.map((topic) => [topic, server.position(topic)]).filter(([, position]) => position !== null);
    return Object.fromEntries(known.map(([topic, position]) => [topic, { ...position, recovered: false, count: 0 }]));
  };

  return {
    positions,

    /** Resolves when the tab has been told, with the topics it has. Its replay is queued by then, and so are the readings of that moment. */
    async comeBack(conn, topics, failed, recovery) {
      const given = typeof recovery === 'object' && recovery !== null ? recovery : {};
      const answer = (fields) => reply(conn, 'subscription_update', { action: 'subscribe', ...fields });
      let result;
      try {
        result = await server.subscribeWithRecovery(conn, topics, { positions: given });
      } catch (error) {
        if (!REFUSED.has(error?.code)) throw error;
        answer({ success: false, success_topics: [], failed_topics: [...topics, ...failed] });
        return [];
      }
      if (result === null) return []; // it has left again
      const granted = topics.filter((topic) => result.topics[topic]?.error === undefined);
      const asked = Object.entries(result.topics).filter(([topic]) => Object.hasOwn(given, topic));
      const lost = asked.filter(([, { recovered }]) => !recovered).map(([topic]) => topic);
      const found = asked
        .filter(([, { recovered }]) => recovered)
        .map(([topic, { epoch, offset, count }]) => [topic, { epoch, offset, recovered: true, count }]);
      // Only this thread publishes, and nothing is awaited from here on: reply and picture are of one moment.
      answer({
        success: granted.length > 0,
        success_topics: granted,
        failed_topics: [...topics.filter((topic) => !granted.includes(topic)), ...failed],
        recovered: lost.length === 0,
        recovery: { ...Object.fromEntries(found), ...positions(lost) },
      });
      if (lost.length > 0) picture(conn);
      return granted;
    },
  };
}
