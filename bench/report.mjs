#!/usr/bin/env node
/**
 * Makes a page and its charts (`OUTPUT`) from result files; no figure in them is typed.
 *
 *   node bench/report.mjs [--out FOLDER] [bench/results/FILE.json …]
 *
 * Default: the newest full run, else the newest, and the newest pinned one.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { neighbours, ROWS, ratio, summary, valid } from './rows.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const { values: options, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true });
/** Where the report goes: the folder, the page and the folder of charts in it, and how the page names the method's page. */
const OUTPUT = {
  folder: path.resolve(options.out ?? HERE),
  page: 'benchmarks.md',
  charts: 'img',
  method: 'README.md',
};
const NAMES = { wse: 'WSE', 'wse-recovery': 'WSE, recovery', bun: 'Bun', ws: 'ws', socketio: 'Socket.IO' };
const COLOURS = { wse: '#2f6f4f', 'wse-recovery': '#5f9f7f', bun: '#c9a227', ws: '#7a7f87', socketio: '#b4b8be' };

function newest() {
  const folder = path.join(HERE, 'results');
  const files = (existsSync(folder) ? readdirSync(folder) : [])
    // `client-…` are those of `client.mjs`.
    .filter((name) => /^\d.*\.json$/.test(name))
    .map((name) => path.join(folder, name));
  const runs = files.map((file) => {
    const { mode, pinned } = read(file);
    return { file, time: statSync(file).mtimeMs, full: mode === 'full', pinned: pinned !== undefined };
  });
  runs.sort((a, b) => Number(b.full) - Number(a.full) || b.time - a.time);
  if (runs.length === 0) {
    console.error('report: no result files; run `npm run bench` first');
    process.exit(1);
  }
  return [false, true].flatMap((pinned) => runs.find((run) => run.pinned === pinned)?.file ?? []);
}
function read(file) {
  return JSON.parse(readFileSync(file, 'utf8'));
}

const files = positionals.length > 0 ? positionals : newest();
const runs = files.map(read);

function figure(value, unit) {
  if (value === undefined) return '–';
  if (unit === 'us') return value >= 1000 ? `${Number((value / 1000).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} µs`;
  if (unit === 'ns') return value >= 10_000 ? `${(value / 1000).toFixed(1)} µs` : `${Math.round(value)} ns`;
  if (unit === 'B') return Math.abs(value) >= 2 ** 20 ? `${(value / 2 ** 20).toFixed(1)} MiB` : `${Math.round(value)} B`;
  if (unit === '×') return `${value.toFixed(2)}×`;
  return value >= 1e6
    ? `${(value / 1e6).toFixed(2)} M${unit}`
    : value >= 1e4
      ? `${(value / 1e3).toFixed(1)} k${unit}`
      : `${Math.round(value)}${unit && ` ${unit}`}`;
}

/** Ours against the best of the others: the median of the rounds' quotients. */
function ratioToBest(row, { key, better }) {
  const others = Object.keys(row)
    .filter((peer) => !peer.startsWith('wse'))
    .map((peer) => [peer, summary(row[peer], key)?.median])
    .filter(([, median]) => median !== undefined);
  if (row.wse === undefined || others.length === 0) return undefined;
  const [peer] = others.sort(([, a], [, b]) => (better === 'higher' ? b - a : a - b))[0];
  const quotient = ratio(row.wse, row[peer], key);
  return quotient && { peer, ratio: quotient };
}

/** What a target asks for, what was got, and whether that is enough (`undefined`: not measured). */
function verdict(run, name, target) {
  const own = run.rows[name][target.who ?? 'wse'];
  const other = target.of && run.rows[target.row ?? name]?.[target.of];
  const metric = ROWS[name].metrics.find(({ key }) => key === target.metric);
  const number = (value) => (target.of || metric?.unit === '×' ? `${value.toLocaleString('en')}×` : figure(value, metric?.unit));
  const against = target.of ? ` ${NAMES[target.of]}${target.row ? ` in \`${target.row}\`` : ''}` : '';
  const who = target.who ? `${NAMES[target.who]}: ` : '';
  const asked = `${who}${metric?.label ?? target.metric} ${target.min === undefined ? '≤' : '≥'} ${number(target.min ?? target.max)}${against}`;
  const median = (rounds) => rounds && summary(rounds, target.metric)?.median;
  const sameRow = target.of && target.row === undefined && other;
  const got = sameRow ? ratio(own, other, target.metric) : target.of ? median(own) / median(other) : median(own);
  const asOld = target.since && own?.some((round) => valid(round) && round[target.since] === undefined);
  if (asOld || !Number.isFinite(got)) return { asked, got: 'not measured' };
  const met = target.min === undefined ? got <= target.max : got >= target.min;
  return { asked, got: number(target.of ? Number(got.toFixed(2)) : got), met };
}

const mark = ({ met }) => (met === undefined ? '' : met ? '✓' : '✗');

/** Every target in one table. */
function overview(run) {
  const lines = Object.keys(run.rows).flatMap((name) =>
    (ROWS[name]?.targets ?? []).map((target) => {
      const found = verdict(run, name, target);
      return `| ${name} | ${found.asked} | ${found.got} | ${mark(found)} |`;
    }),
  );
  return lines.length === 0 ? [] : ['| row | target | got | |', '| --- | --- | --- | --- |', ...lines, ''];
}

function table(run, name) {
  const row = run.rows[name];
  const { metrics, targets } = ROWS[name] ?? { metrics: [], targets: [] };
  const head = ['', ...metrics.map(({ label }) => `${label} (min – max)`), 'notes'];
  const body = Object.entries(row).map(([peer, rounds]) => {
    const cells = metrics.map(({ key, unit }) => {
      const s = summary(rounds, key);
      return s ? `**${figure(s.median, unit)}** (${figure(s.min, unit)} – ${figure(s.max, unit)})` : '–';
    });
    const bad = rounds.filter((round) => !valid(round)).length;
    const share = summary(rounds, 'generator_cores')?.median;
    const notes = [
      bad > 0 && `${bad} of ${rounds.length} rounds invalid`,
      rounds.some((round) => round.generator_limited) && '**generator at its limit**',
      ...neighbours(rounds),
      share !== undefined && `generator ${Math.round(share * 100)} % of a core`,
    ];
    return [NAMES[peer] ?? peer, ...cells, notes.filter(Boolean).join('; ')];
  });
  const best = metrics.map((metric) => {
    const r = ratioToBest(row, metric);
    return r ? `${r.ratio.toFixed(2)}× ${NAMES[r.peer]}` : '–';
  });
  if (row.wse) body.push(['WSE / best peer', ...best, '']);
  const lines = [head, head.map(() => '---'), ...body].map((cells) => `| ${cells.join(' | ')} |`);
  const wanted = targets.map((target) => verdict(run, name, target));
  return [
    `### ${name}`,
    '',
    ...lines,
    '',
    ...wanted.map((found) => `- target: ${found.asked}: ${found.got} ${mark(found)}`),
    '',
  ].join('\n');
}

/** The figures every row may have, in one order. */
const FIGURES = [
  { key: 'per_second', label: 'rate', unit: '/s' },
  { key: 'cpu_ns', label: 'CPU per unit', unit: 'ns' },
  { key: 'latency_us.p50', label: 'p50', unit: 'us' },
  { key: 'latency_us.p99', label: 'p99', unit: 'us' },
  { key: 'dropped', label: 'dropped', unit: '' },
  { key: 'rss_peak', label: 'peak RSS', unit: 'B' },
];

/** A pinned run as one table: every row, every peer, and ours against Bun by each figure. */
function pinnedTable(run) {
  const head = ['row', '', ...FIGURES.map(({ label }) => label), 'generator', 'notes'];
  const lines = Object.entries(run.rows).flatMap(([name, row]) => {
    const shown = FIGURES.filter(({ key }) => key !== 'rss_peak' || ROWS[name]?.metrics.some((metric) => metric.key === key));
    const cell = (each) => FIGURES.map((metric) => (shown.includes(metric) ? each(metric) : ''));
    const peers = Object.entries(row).map(([peer, rounds]) => {
      const bad = rounds.filter((round) => !valid(round)).length;
      const notes = [
        bad > 0 && `${bad} of ${rounds.length} rounds invalid`,
        rounds.some((round) => round.generator_limited) && '**generator at its limit**',
        ...neighbours(rounds).slice(0, 1),
      ];
      const share = summary(rounds, 'generator_cores')?.median;
      return [
        NAMES[peer] ?? peer,
        ...cell(({ key, unit }) => figure(summary(rounds, key)?.median, unit)),
        share === undefined ? '' : `${Math.round(share * 100)} %`,
        notes.filter(Boolean).join('; '),
      ];
    });
    if (row.wse && row.bun) {
      const ratios = cell(({ key }) => {
        const quotient = ratio(row.wse, row.bun, key);
        return quotient === undefined ? '' : `**${quotient.toFixed(2)}×**`;
      });
      peers.push(['WSE / Bun', ...ratios, '', '']);
    }
    return peers.map((cells, n) => [n === 0 ? name : '', ...cells]);
  });
  return [...[head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`), ''];
}

const xml = (text) => String(text).replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

/** Horizontal bars, one group per row, one bar per peer, whiskers from the smallest to the largest round. */
function chart(title, run, names, { key, unit }) {
  const groups = names
    .map((name) => ({
      name,
      bars: Object.entries(run.rows[name] ?? {})
        .map(([peer, rounds]) => ({ peer, ...summary(rounds, key) }))
        .filter((bar) => bar.median !== undefined),
    }))
    .filter(({ bars }) => bars.length > 0);
  if (groups.length === 0) return undefined;
  const [left, width, bar, gap] = [170, 760, 16, 14];
  const scale = (width - left - 120) / Math.max(...groups.flatMap(({ bars }) => bars.map(({ max }) => max)));
  let y = 44;
  const parts = [];
  for (const { name, bars } of groups) {
    parts.push(`<text x="${left - 10}" y="${y + (bars.length * bar) / 2 + 4}" text-anchor="end">${xml(name)}</text>`);
    for (const { peer, median, min, max } of bars) {
      const middle = y + bar / 2 - 1;
      const end = left + max * scale;
      parts.push(
        `<rect x="${left}" y="${y}" width="${Math.max(1, median * scale).toFixed(1)}" height="${bar - 2}" fill="${COLOURS[peer] ?? '#999'}"/>`,
        `<path d="M${(left + min * scale).toFixed(1)} ${middle}H${end.toFixed(1)}" stroke="#222" stroke-width="1"/>`,
        `<text x="${(end + 6).toFixed(1)}" y="${y + bar - 5}" font-size="11">${xml(`${NAMES[peer] ?? peer} ${figure(median, unit)}`)}</text>`,
      );
      y += bar;
    }
    y += gap;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${xml(title)}">
<rect width="100%" height="100%" fill="#fff"/><text x="16" y="24" font-size="15" font-weight="600">${xml(title)}</text>
${parts.join('\n')}
</svg>
`;
}

const CHARTS = [
  [
    'bench-fanout-rate',
    'Fan-out flood, 128 B: deliveries per second (more is better)',
    /^fanout-flood-\d+$/,
    { key: 'per_second', unit: '/s' },
  ],
  [
    'bench-fanout-cpu',
    'Fan-out flood, 128 B: server CPU per delivery (less is better)',
    /^fanout-flood-\d+$/,
    { key: 'cpu_ns', unit: 'ns' },
  ],
  [
    'bench-paced-p99',
    'Fan-out paced: p99 latency against the planned time (less is better)',
    /^fanout-paced-\d+$/,
    { key: 'latency_us.p99', unit: 'us' },
  ],
  ['bench-echo', 'Echo through JavaScript: round trips per second (more is better)', /^echo-/, { key: 'per_second', unit: '/s' }],
  [
    'bench-inbound',
    'Inbound to the JavaScript handler: messages per second (more is better)',
    /^inbound-/,
    { key: 'per_second', unit: '/s' },
  ],
  ['bench-idle', 'Resident memory per idle connection (less is better)', /^idle-/, { key: 'bytes_per_connection', unit: 'B' }],
];

mkdirSync(path.join(OUTPUT.folder, OUTPUT.charts), { recursive: true });
const sections = runs.map((run, index) => {
  const { machine: m } = run;
  const versions = Object.entries(m.versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
  const images = (run.pinned ? [] : CHARTS).flatMap(([file, title, pattern, metric]) => {
    const svg = chart(
      title,
      run,
      Object.keys(run.rows).filter((name) => pattern.test(name)),
      metric,
    );
    if (svg === undefined) return [];
    const name = runs.filter(({ pinned }) => !pinned).length > 1 ? `${file}-${index + 1}.svg` : `${file}.svg`;
    writeFileSync(path.join(OUTPUT.folder, OUTPUT.charts, name), svg);
    return [`![${title}](${OUTPUT.charts}/${name})`];
  });
  const ceilings = Object.values(run.generator).map((c) => `${figure(c.per_second, '/s')} to ${c.connections} connections`);
  return [
    `## ${run.date.slice(0, 10)}, commit ${m.commit}${m.dirty ? ' with local changes' : ''}, ${run.mode} pass${run.pinned ? ', server and generator pinned to a core each' : ''}`,
    '',
    `${m.cpu}, ${m.cores} cores, ${m.memoryGiB} GiB, Linux ${m.kernel}; ${versions}. ${run.rounds} rounds of ${run.seconds} s per row and peer, ` +
      `peers in turn, median (smallest – largest). Load generator on the same machine, loopback; with no server at all, fed by a thread of its own, it counts ${ceilings.join(', ')}. ` +
      `Load average at the start: ${m.load.toFixed(1)}.`,
    '',
    ...(run.wse ? [`wse-server: addon ${run.wse.addon}, facade ${run.wse.facade}, cargo profile ${run.wse.profile}.\n`] : []),
    ...Object.entries(run.overrides ?? {}).map(([name, value]) => `**Not the default**: \`${name}=${value}\`.\n`),
    ...Object.entries(run.skipped).map(([peer, why]) => `Not measured: ${NAMES[peer] ?? peer} (${why}).\n`),
    ...overview(run),
    ...images.flatMap((image) => [image, '']),
    ...(run.pinned ? pinnedTable(run) : Object.keys(run.rows).map((name) => table(run, name))),
  ].join('\n');
});

writeFileSync(
  path.join(OUTPUT.folder, OUTPUT.page),
  `# Benchmarks

Made by \`bench/report.mjs\` from ${files.map((file) => `\`bench/results/${path.basename(file)}\``).join(', ')}; do not edit. What the rows
measure and how they keep honest is written in [README.md](${OUTPUT.method}). CPU is the server's user and system
time divided by the work done. Absolute figures move from machine to machine: carry the ratios.

${sections.join('\n')}`,
);
console.log(`report: ${path.relative(process.cwd(), path.join(OUTPUT.folder, OUTPUT.page))}`);
