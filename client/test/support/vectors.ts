/** The golden vectors of the repository. */
import { readFileSync } from 'node:fs';

/** One fact of the wire. */
export interface Vector {
  readonly kind: string;
  readonly name: string;
  readonly [member: string]: unknown;
}

/** The vectors of a file that are of one kind. */
export const vectors = (file: string, kind: string): Vector[] => {
  const all = JSON.parse(readFileSync(new URL(`../../../spec/vectors/${file}.json`, import.meta.url), 'utf8')) as Vector[];
  return all.filter((vector) => vector.kind === kind);
};
