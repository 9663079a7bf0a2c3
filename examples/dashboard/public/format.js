// Numbers as people read them.
//
// Owns: units, rounding and the dash for "not known".
// Never: touches the page.

export const NONE = '–';

const known = (value) => typeof value === 'number' && Number.isFinite(value);

/** Three significant digits at most, so that a figure keeps its width while it moves. */
function short(value) {
  if (value >= 100) return Math.round(value).toString();
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

function scaled(value, base, units) {
  let i = 0;
  let v = value;
  // 999.5 rounds to 1000, which belongs to the next unit.
  while (i < units.length - 1 && v >= (i === 0 ? base : base - 0.5)) {
    v /= base;
    i++;
  }
  return { value: i === 0 ? Math.round(v).toString() : short(v), unit: units[i] };
}

/** Memory: binary units. */
export const bytes = (value) =>
  known(value) ? scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']) : { value: NONE, unit: '' };

/** Traffic: decimal units per second. */
export const byteRate = (value) =>
  known(value) ? scaled(value, 1000, ['B/s', 'kB/s', 'MB/s', 'GB/s']) : { value: NONE, unit: '' };

export const percent = (value) => (known(value) ? `${value < 9.95 ? value.toFixed(1) : Math.round(value)}` : NONE);

export const count = (value) => (known(value) ? Math.round(value).toLocaleString('en-US') : NONE);

export const load = (value) => (known(value) ? value.toFixed(2) : NONE);

/** A duration in milliseconds, without its unit. */
export function millis(value) {
  if (!known(value)) return NONE;
  if (value < 9.995) return Math.max(0, value).toFixed(2);
  return value < 99.95 ? value.toFixed(1) : Math.round(value).toString();
}

export const together = ({ value, unit }) => (unit === '' ? value : `${value} ${unit}`);

/** The same without zeros after the point: for the marks of a scale. */
export const mark = ({ value, unit }) => together({ value: value.replace(/\.0+$/, ''), unit });

export const timeOfDay = (epochMs) => new Date(epochMs).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

/** The value below which the share `p` of the list lies. */
export function percentile(values, p) {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))];
}
