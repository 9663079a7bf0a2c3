/** "Did you mean …?" for option names: spelling, and the snake_case names of the Python server. */

/** Python names whose group changed: `jwt_secret` is `jwt.secret` here. */
const GROUPS: readonly (readonly [prefix: string, group: string])[] = [
  ['jwt', 'jwt'],
  ['rate_limit', 'rateLimit'],
  ['presence', 'presence'],
];

/**
 * A better name for an unknown option, or undefined.
 *
 * @param known names allowed at this place
 */
export function suggestOption(name: string, known: readonly string[]): string | undefined {
  if (name === 'presence_enabled') return 'presence';
  for (const [prefix, group] of GROUPS) {
    if (name.startsWith(`${prefix}_`) && known.includes(group)) return `${group}.${camel(name.slice(prefix.length + 1))}`;
  }
  const wanted = camel(name).toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function camel(name: string): string {
  return name.replace(/_+([a-z0-9])/gi, (_, letter: string) => letter.toUpperCase());
}

/** Levenshtein distance; names are short. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      row.push(Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + same));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
