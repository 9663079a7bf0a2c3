/**
 * The rows: what the load generator is asked for, which figures count, and what ours must reach (ratios to a peer of the
 * same run, or absolute where `of` is absent).
 */
const RATE = { key: 'per_second', better: 'higher' };
const CPU = { key: 'cpu_ns', label: 'CPU', unit: 'ns', better: 'lower' };
const P50 = { key: 'latency_us.p50', label: 'p50', unit: 'us', better: 'lower' };
const P99 = { key: 'latency_us.p99', label: 'p99', unit: 'us', better: 'lower' };
const rate = (label) => ({ ...RATE, label, unit: '/s' });

const DROPPED = { key: 'dropped', label: 'dropped', unit: '', better: 'lower' };
const PEAK = { key: 'rss_peak', label: 'peak RSS', unit: 'B', better: 'lower' };
const FLOOD = [rate('deliveries'), CPU, P50, P99, DROPPED];
/**
 * An obedient publisher loses nothing, and what it sends does not lie in queues: p99 at most `ms`. Asked only of reports that
 * name their backpressure: older floods were held by a window.
 */
const prompt = (ms) => [
  { metric: 'latency_us.p99', max: ms * 1000, since: 'backpressure' },
  { metric: 'dropped', max: 0, since: 'backpressure' },
];

const flood = (connections, extra = {}, targets = []) => ({
  row: 'fanout-flood',
  connections,
  window: 4096,
  minSeconds: 1,
  metrics: FLOOD,
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
  // V8 optimises what a publication runs through in the first seconds, on the server's own core if it has one: 15 ms in all, which
  // are a hundredth of a short round.
  warmup: 4,
  metrics: [P50, P99, CPU, DROPPED],
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
const inbound = (extra = {}) => ({
  row: 'inbound',
  connections: 100,
  metrics: [rate('messages'), CPU, PEAK],
  targets: [],
  ...extra,
});
/** Messages of so many KiB: as fast as Bun takes them. */
const large = (kib) =>
  inbound({
    size: kib * 1024,
    quick: true,
    without: ['socketio'],
    targets: [{ metric: 'per_second', of: 'bun', min: 1 }],
  });

/** Ours with and without recovery: what stamping costs, and keeping. */
const STAMPED = {
  peers: ['wse', 'wse-recovery'],
  targets: [{ metric: 'cpu_ns', who: 'wse-recovery', of: 'wse', max: 1.2 }],
};

/** All lose their connections, miss a hundred messages and come back at once. */
const STORM = {
  row: 'recover',
  connections: 10_000,
  missed: 100,
  steady: 100,
  rate: 200,
  peers: ['wse-recovery', 'socketio'],
  server: { socketio: ['--recovery'] },
  metrics: [
    { key: 'live_us', label: 'until all are live', unit: 'us', better: 'lower' },
    { key: 'rss_before', label: 'RSS before', unit: 'B', better: 'lower' },
    PEAK,
    { key: 'quiet_us.p99', label: "others' p99 before", unit: 'us', better: 'lower' },
    { ...P99, label: "others' p99 meanwhile" },
  ],
  targets: [],
};

/** What `peers/floor` is for: one topic, nobody who leaves or is slow. */
const FLOOR_ROWS = ['echo', 'inbound', 'fanout-paced'];

/** Rows of the quick pass carry `quick`, and `quickRounds` where it makes fewer rounds of them. Peers that a row leaves out are named in `without`; a row with `peers` has those and no others. */
export const ROWS = {
  'fanout-flood-10': flood(10, { quick: true }, [...beat(1.2, 0.8), ...prompt(50)]),
  'fanout-flood-100': flood(100, { quick: true }, [...beat(2, 0.5), ...prompt(50)]),
  'fanout-flood-1000': flood(1000, { quick: true }, [...beat(2, 0.5), ...prompt(50)]),
  'fanout-flood-9000': flood(9000, { window: 1024, warmup: 1.5 }, [
    ...beat(2, 0.5),
    ...prompt(200),
    { metric: 'cpu_ns', of: 'wse', row: 'fanout-flood-100', max: 2.5 },
  ]),
  // 5,000 connections with 20,000 other topics look on: what a publication costs must not depend on them.
  'fanout-flood-100-crowd': flood(100, { bystanders: 5000, without: ['socketio'] }, [
    ...beat(2, 0.5),
    { metric: 'cpu_ns', of: 'wse', row: 'fanout-flood-100', max: 1.25 },
  ]),
  'fanout-flood-4k-100': flood(100, { size: 4096, window: 512, chunk: 64 }, [{ metric: 'cpu_ns', of: 'bun', max: 0.8 }]),
  // The last of 100 reads at a tenth of the pace of the others: what is dropped may be dropped for it alone.
  'fanout-flood-100-one-slow': flood(
    100,
    {
      'slow-share': 0.1,
      minSeconds: 3,
      quickRounds: 1,
      quick: true,
      without: ['socketio'],
      metrics: [...FLOOD, { key: 'slow_dropped', label: 'dropped for the slow one', unit: '', better: 'lower' }],
    },
    [{ metric: 'per_second', of: 'wse', row: 'fanout-flood-100', min: 0.8 }, ...prompt(50)],
  ),
  // Ten subscribers that each read 2 MB/s, steadily: slow for a flood, but never standing still.
  'fanout-flood-10-steady': flood(
    10,
    {
      'read-rate': 2_000_000,
      // Longer than the 8 s after which 16 MiB of budget at that pace are used up.
      minSeconds: 12,
      quickRounds: 1,
      quick: true,
      without: ['ws', 'socketio'],
      metrics: [...FLOOD, PEAK],
    },
    [{ metric: 'dropped', max: 0 }],
  ),
  'fanout-paced-1000': paced(1000, 100, { quick: true }),
  'fanout-paced-100': paced(100, 2000, { quick: true }),
  // A million deliveries a second: more than ws and Socket.IO make in a flood.
  'fanout-paced-10k-100': paced(100, 10_000, { quick: true, without: ['ws', 'socketio'] }),
  'fanout-paced-1k-1000': paced(1000, 1000, { quick: true, without: ['ws', 'socketio'] }),
  'fanout-paced-10k-100-server-clock': paced(100, 10_000, { clock: 'server', without: ['ws', 'socketio'] }),
  'fanout-paced-1k-1000-server-clock': paced(1000, 1000, { clock: 'server', without: ['ws', 'socketio'] }),
  'fanout-paced-9000': paced(9000, 10, { minSeconds: 4 }),
  'fanout-paced-100-server-clock': paced(100, 2000, { clock: 'server' }),
  'stamped-flood-100': { ...flood(100), ...STAMPED },
  // As many bytes on the wire without a stamp as with one: what is left is the work on it.
  'stamped-flood-100-same-bytes': { ...flood(100), ...STAMPED, peer: { wse: { size: 167 } } },
  'stamped-flood-100-512': { ...flood(100, { size: 512 }), ...STAMPED },
  'stamped-flood-100-512-same-bytes': { ...flood(100, { size: 512 }), ...STAMPED, peer: { wse: { size: 551 } } },
  'stamped-flood-1000': { ...flood(1000), ...STAMPED },
  'stamped-flood-1000-same-bytes': { ...flood(1000), ...STAMPED, peer: { wse: { size: 167 } } },
  'stamped-paced-10k-100': { ...paced(100, 10_000), ...STAMPED },
  'recover-10000': STORM,
  'recover-10000-acl': { ...STORM, acl: true, peers: ['wse-recovery'], server: { 'wse-recovery': ['--acl'] } },
  'rings-10000': {
    row: 'rings',
    topics: 10_000,
    each: 16,
    peers: ['wse-recovery'],
    server: { 'wse-recovery': ['--recovery={"bufferSize":16}'] },
    metrics: [
      { key: 'bytes_per_ring', label: 'RSS per topic', unit: 'B', better: 'lower' },
      { key: 'counted_per_ring', label: 'counted per topic', unit: 'B', better: 'lower' },
    ],
    targets: [],
  },
  'topics-10000': {
    row: 'topics',
    connections: 1000,
    topics: 10_000,
    'per-topic': 10,
    window: 16_384,
    chunk: 4096,
    metrics: FLOOD,
    targets: [{ metric: 'cpu_ns', of: 'bun', max: 0.7 }],
    without: ['socketio'],
  },
  'patterns-100': {
    row: 'patterns',
    connections: 100,
    topics: 10,
    window: 4096,
    metrics: FLOOD,
    targets: [],
    without: ['socketio'],
    peer: { bun: { exact: true }, ws: { exact: true } },
  },
  'echo-100': { ...echo(100, false, [{ metric: 'per_second', of: 'bun', min: 1 }]), quick: true },
  'echo-1': { ...echo(1, false, [{ metric: 'latency_us.p50', of: 'bun', max: 2 }]), quick: true },
  'echo-raw-100': { ...echo(100, true, [{ metric: 'per_second', of: 'bun', min: 1 }]), quick: true, without: ['socketio'] },
  'echo-raw-1': { ...echo(1, true, [{ metric: 'latency_us.p50', of: 'bun', max: 2 }]), quick: true, without: ['socketio'] },
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
  'inbound-4k-100': large(4),
  'inbound-16k-100': large(16),
  'inbound-64k-100': large(64),
  handshake: {
    row: 'handshake',
    connections: 64,
    quick: true,
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
  // The same through node:http, which reads the request and hands the socket over.
  'handshake-attached': {
    row: 'handshake',
    server: { wse: ['--attached'], ws: ['--attached'] },
    connections: 64,
    quick: true,
    metrics: [rate('connections'), CPU],
    targets: [],
    without: ['bun', 'socketio'],
  },
  'handshake-upgrade': {
    row: 'handshake',
    connections: 64,
    metrics: [rate('connections'), CPU],
    targets: [],
    without: ['socketio'],
    server: { wse: ['--on-upgrade'], ws: ['--verify-client'] },
  },
  'idle-18000': {
    row: 'idle',
    connections: 18_000,
    jwt: true,
    without: ['socketio'],
    metrics: [{ key: 'bytes_per_connection', label: 'RSS per connection', unit: 'B', better: 'lower' }],
    targets: [{ metric: 'bytes_per_connection', max: 1024 }],
  },
  'idle-10000': {
    row: 'idle',
    connections: 10_000,
    jwt: true,
    without: ['socketio'],
    metrics: [{ key: 'bytes_per_connection', label: 'RSS per connection', unit: 'B', better: 'lower' }],
    targets: [{ metric: 'bytes_per_connection', max: 1024 }],
  },
  'idle-10000-presence': {
    row: 'idle',
    connections: 10_000,
    server: { wse: ['--presence'] },
    without: ['ws', 'bun', 'socketio'],
    metrics: [{ key: 'bytes_per_connection', label: 'RSS per present connection', unit: 'B', better: 'lower' }],
    targets: [],
  },
  presence: {
    row: 'churn',
    connections: 64,
    cycles: 20_000,
    server: { wse: ['--presence'] },
    without: ['ws', 'bun', 'socketio'],
    metrics: [rate('joins and leaves'), CPU],
    targets: [],
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
const OURS = new Set([
  'metrics',
  'targets',
  'quick',
  'quickRounds',
  'without',
  'peers',
  'peer',
  'server',
  'jwt',
  'minSeconds',
  'row',
]);

/** The generator's arguments for one row on one peer. The quick pass warms up for less. */
export function generatorArguments(row, peer, seconds, quick = false) {
  const options = { ...row, ...row.peer?.[peer], seconds: Math.max(seconds, row.minSeconds ?? 0) };
  if (quick) options.warmup = row.warmup === undefined ? 0.3 : row.warmup / 2;
  const pairs = Object.entries(options).filter(([name]) => !OURS.has(name));
  return [row.row, ...pairs.flatMap(([name, value]) => [`--${name}`, String(value)])];
}

/** The rows for a person: name, quick pass or not, and what the generator is asked for. */
export function listing() {
  return Object.entries(ROWS).map(([name, row]) => {
    const asked = generatorArguments(row, undefined, row.minSeconds ?? 0).filter(
      (_, n, all) => all[n] !== '--seconds' && all[n - 1] !== '--seconds',
    );
    return `  ${name.padEnd(36)}${(row.quick ? 'quick' : '').padEnd(7)}${asked.join(' ')}`;
  });
}

/** Those of `names` that have a row. Ours with recovery has only the rows that name it. */
export function peersOf(row, names) {
  const wanted = (name) => {
    if (name === 'floor') return FLOOR_ROWS.includes(row.row) && !row.jwt;
    return row.peers === undefined ? name !== 'wse-recovery' : row.peers.includes(name);
  };
  return names.filter((name) => wanted(name) && !row.without?.includes(name));
}

/** What the rest of the machine did to these rounds, in words. */
export function neighbours(rounds) {
  const others = Math.max(0, ...rounds.map((round) => round.other_cores ?? 0));
  return [
    others > 0.15 && `disturbed: up to ${others.toFixed(1)} cores used by others`,
    rounds.some((round) => round.machine_full) && 'no core was idle',
  ];
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
