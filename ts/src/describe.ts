/** How error messages name a value that is not what it should be. Never shows the value. */

/** A value's kind, for error messages; never the value, which may be a secret. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  const kind = typeof value;
  if (kind === 'object') return `an object (${(value as object).constructor?.name ?? 'no prototype'})`;
  if (kind === 'number') return `the number ${String(value)}`;
  return kind === 'undefined' ? kind : `a ${kind}`;
}
