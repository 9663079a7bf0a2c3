// What this tab has missed while it was away, and how that came.
//
// Owns: when it went and was back, which messages filled which gap, and whether they came in order. A store, for React.
// Never: asks for what is missing or puts it in order (the client does): it looks at what came.

/** The topic whose late readings are counted as points: every curve has as many. */
const CURVE = 'system.cpu';

export function createRecovery(link) {
  const listeners = new Set();
  const last = new Map(); // topic -> the number of its last message
  let gaps = new Map(); // topic -> { from, to, count, ordered } of this return
  let lostAt = null;
  let late = 0;
  let state = { away: false, reconnects: 0, back: null };

  const change = (part) => {
    state = { ...state, ...part };
    for (const fn of [...listeners]) fn();
  };

  link.addEventListener('state', ({ detail }) => {
    // Who has heard nothing yet misses nothing.
    if (detail.state === 'reconnecting' && lostAt === null && last.size > 0) {
      lostAt = performance.now();
      gaps = new Map();
      late = 0;
      change({ away: true });
    }
    if (detail.state === 'live') change({ reconnects: link.stats.reconnectCount });
  });

  link.addEventListener('message', ({ detail }) => {
    const { topic, offset } = detail;
    if (offset === undefined) return;
    if (detail.late && topic === CURVE) late++;
    if (lostAt !== null) {
      const gap = gaps.get(topic) ?? { topic, from: offset, to: offset, count: 0, ordered: true };
      const inOrder = last.has(topic) ? offset === last.get(topic) + 1 : true;
      gaps.set(topic, { ...gap, to: offset, count: gap.count + 1, ordered: gap.ordered && inOrder });
    }
    last.set(topic, offset);
  });

  // The answer comes behind what was missed.
  link.addEventListener('answer', ({ detail }) => {
    if (lostAt === null || detail?.action !== 'subscribe' || detail.success !== true) return;
    const replayed = Object.values(detail.recovery ?? {}).reduce((sum, { count }) => sum + (count ?? 0), 0);
    const away = performance.now() - lostAt;
    lostAt = null;
    const list = [...gaps.values()].sort((a, b) => b.count - a.count);
    change({ away: false, back: { away, recovered: detail.recovered === true, replayed, late, gaps: list } });
  });

  return {
    get: () => state,
    subscribe(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
  };
}
