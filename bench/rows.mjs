/**
 * The rows: what the load generator is asked for, which figures count, and what ours must reach (ratios to a peer of the
 * same run, or absolute where `of` is absent).
 */
const RATE = { key: 'per_second', better: 'higher' };
const CPU = { key: 'cpu_ns', label: 'CPU', unit: 'ns', better: 'lower' };
const P50 = { key: 'latency_us.p50', label: 'p50', unit: 'us', better: 'lower' };
const P99 = { key: 'latency_us.p99', label: 'p99', unit: 'us', better: 'lower' };
const rate = (label) => ({ ...RATE, label, unit: '/s' });

const flood = (connections, extra = {}, targets = []) => ({
  row: 'fanout-flood',
  connections,
  window: 4096,
  metrics: [rate('deliveries'), CPU],
  targets,
  ...extra,
});
const beat = (min, max) => [
  { metric: 'per_second', of: 'bun', min },
  { metric: 'cpu_ns', of: 'bun', max },
];
const paced = (connections, perSecond, extra = {}) => ({
  row: 'fanout-paced',
  connections,
  rate: perSecond,
  warmup: 1,
  metrics: [P50, P99, CPU],
  targets: [
    { metric: 'latency_us.p99', of: 'bun', max: 1.1 },
    { metric: 'cpu_ns', of: 'bun', max: 1.1 },
  ],
  ...extra,
});
const echo = (connections, raw, targets) => ({
  row: 'echo',
  server: { wse: ['--worker'] },
  connections,
  raw,
  metrics: [rate('round trips'), P50, P99, CPU],
  targets,
});
const inbound = (extra = {}) => ({ row: 'inbound', connections: 100, metrics: [rate('messages'), CPU], targets: [], ...extra });

/** Rows of the quick pass carry `quick`. Peers that a row leaves out are named in `without`. */
export const ROWS = {
  'fanout-flood-10': flood(10, {}, beat(1.2, 0.8)),
  'fanout-flood-100': flood(100, { quick: true }, beat(2, 0.5)),
  'fanout-flood-1000': flood(1000, {}, beat(2, 0.5)),
  'fanout-flood-9000': flood(9000, { window: 1024, warmup: 1.5 }, [
    ...beat(2, 0.5),
    { metric: 'cpu_ns', of: 'wse', row: 'fanout-flood-100', max: 2.5 },
  ]),
  // 5,000 connections with 20,000 other topics look on: what a publication costs must not depend on them.
  'fanout-flood-100-crowd': flood(100, { bystanders: 5000, without: ['socketio'] }, [
    ...beat(2, 0.5),
    { metric: 'cpu_ns', of: 'wse', row: 'fanout-flood-100', max: 1.25 },
  ]),
  'fanout-flood-4k-100': flood(100, { size: 4096, window: 512, chunk: 64 }, [{ metric: 'cpu_ns', of: 'bun', max: 0.8 }]),
  'fanout-paced-1000': paced(1000, 100, { quick: true }),
  'fanout-paced-100': paced(100, 2000),
  'fanout-paced-9000': paced(9000, 10, { minSeconds: 4 }),
  'fanout-paced-100-server-clock': paced(100, 2000, { clock: 'server' }),
  'topics-10000': {
    row: 'topics',
    connections: 1000,
    topics: 10_000,
    'per-topic': 10,
    window: 16_384,
    chunk: 4096,
    metrics: [rate('deliveries'), CPU],
    targets: [{ metric: 'cpu_ns', of: 'bun', max: 0.7 }],
    without: ['socketio'],
  },
  'patterns-100': {
    row: 'patterns',
    connections: 100,
    topics: 10,
    window: 4096,
    metrics: [rate('deliveries'), CPU],
    targets: [],
    without: ['socketio'],
    peer: { bun: { exact: true }, ws: { exact: true } },
  },
  'echo-100': echo(100, false, [{ metric: 'per_second', of: 'bun', min: 1 }]),
  'echo-1': echo(1, false, [{ metric: 'latency_us.p50', of: 'bun', max: 2 }]),
  'echo-raw-100': { ...echo(100, true, [{ metric: 'per_second', of: 'bun', min: 1 }]), quick: true, without: ['socketio'] },
  'echo-raw-1': { ...echo(1, true, [{ metric: 'latency_us.p50', of: 'bun', max: 2 }]), without: ['socketio'] },
  'inbound-100': inbound({
    quick: true,
    targets: [
      { metric: 'per_second', of: 'ws', min: 2.5 },
      { metric: 'per_second', min: 2_000_000 },
    ],
    without: ['socketio'],
  }),
  'inbound-lazy-100': inbound({
    targets: [{ metric: 'per_second', of: 'bun', min: 1.2 }],
    without: ['socketio'],
    server: { wse: ['--lazy'] },
  }),
  'inbound-4k-100': inbound({ size: 4096, without: ['socketio'] }),
  handshake: {
    row: 'handshake',
    connections: 64,
    metrics: [rate('connections'), CPU],
    targets: [],
    without: ['socketio'],
  },
  'handshake-jwt': {
    row: 'handshake',
    connections: 64,
    jwt: true,
    metrics: [rate('connections'), CPU],
    without: ['socketio'],
    targets: [{ metric: 'cpu_ns', of: 'bun', row: 'handshake', max: 2 }],
  },
  'idle-18000': {
    row: 'idle',
    connections: 18_000,
    jwt: true,
    without: ['socketio'],
    metrics: [{ key: 'bytes_per_connection', label: 'RSS per connection', unit: 'B', better: 'lower' }],
    targets: [{ metric: 'bytes_per_connection', max: 2048 }],
  },
  'idle-10000': {
    row: 'idle',
    connections: 10_000,
    jwt: true,
    without: ['socketio'],
    metrics: [{ key: 'bytes_per_connection', label: 'RSS per connection', unit: 'B', better: 'lower' }],
    targets: [{ metric: 'bytes_per_connection', max: 2048 }],
  },
  'slow-1000': {
    row: 'slow',
    connections: 1000,
    rate: 100,
    warmup: 1,
    minSeconds: 3,
    without: ['socketio'],
    metrics: [
      { key: 'p99_ratio', label: "others' p99, stalled / reading", unit: '×', better: 'lower' },
      { key: 'rss_growth', label: 'RSS growth', unit: 'B', better: 'lower' },
    ],
    targets: [
      { metric: 'p99_ratio', max: 1.2 },
      { metric: 'rss_growth', max: 24 * 2 ** 20 },
    ],
  },
  churn: {
    row: 'churn',
    connections: 64,
    cycles: 100_000,
    without: ['socketio'],
    metrics: [{ key: 'rss_ratio', label: 'RSS after / before', unit: '×', better: 'lower' }, CPU],
    targets: [{ metric: 'rss_ratio', max: 1.1 }],
  },
};

/** Row settings that are not options of the load generator. */
const OURS = new Set(['metrics', 'targets', 'quick', 'without', 'peer', 'server', 'jwt', 'minSeconds', 'row']);

/** The generator's arguments for one row on one peer. */
export function generatorArguments(row, peer, seconds) {
  const options = { ...row, ...row.peer?.[peer], seconds: Math.max(seconds, row.minSeconds ?? 0) };
  const pairs = Object.entries(options).filter(([name]) => !OURS.has(name));
  return [row.row, ...pairs.flatMap(([name, value]) => [`--${name}`, String(value)])];
}

export const at = (report, key) => key.split('.').reduce((value, part) => value?.[part], report);

/** Median, smallest and largest of a metric over the rounds that count. */
export function summary(rounds, key) {
  const values = rounds
    .filter(valid)
    .map((round) => at(round, key))
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  if (values.length === 0) return undefined;
  const middle = values.length >> 1;
  const median = values.length % 2 === 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return { median, min: values[0], max: values.at(-1), rounds: values.length };
}

/**
 * Ours divided by a peer's, round by round: the rounds of a row take turns, so both of a pair met the same machine. The median
 * of those quotients; of the medians where the rows differ, or no round of both counts.
 */
export function ratio(own, other, key) {
  const quotients = own
    .map((round, index) => [round, other[index]])
    .filter(([ours, theirs]) => theirs !== undefined && valid(ours) && valid(theirs))
    .map(([ours, theirs]) => at(ours, key) / at(theirs, key))
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  if (quotients.length === 0) return undefined;
  const middle = quotients.length >> 1;
  return quotients.length % 2 === 1 ? quotients[middle] : (quotients[middle - 1] + quotients[middle]) / 2;
}

/** A round counts when it ran and everything sent is accounted for. */
export const valid = (round) => round.error === undefined && round.accounted === true;
