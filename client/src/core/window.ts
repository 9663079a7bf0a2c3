/** Ids that were seen: the last so many, the oldest forgotten first. */

/** Says whether an id was seen before, and remembers it; a window of 0 remembers nothing. */
export function createWindow(size: number): (id: string) => boolean {
  const seen = new Set<string>();
  return (id) => {
    if (seen.has(id)) return true;
    seen.add(id);
    if (seen.size > size) for (const oldest of seen) return !seen.delete(oldest);
    return false;
  };
}
