/** Which names a set of subscriptions covers. Never decides what may be subscribed. */

const source = (pattern: string): string =>
  pattern
    .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
    // Runs of them mean the same as one, and cost more.
    .replace(/\*+/g, '[^]*')
    .replace(/\?/g, '[^]');

/**
 * Tells of a topic's name whether one of `topics` is it or matches it. `*` is any run of characters; `?` is one, where the server counts
 * one byte: they differ beyond ASCII.
 */
export const matcher = (topics: Iterable<string>): ((name: string) => boolean) => {
  const names = new Set(topics);
  const patterns = [...names].filter((topic) => /[*?]/.test(topic)).map((topic) => new RegExp(`^${source(topic)}$`));
  return (name) => names.has(name) || patterns.some((pattern) => pattern.test(name));
};
