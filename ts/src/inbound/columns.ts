/**
 * Messages that crossed as columns: per shape a template, and per value of the template that is no object an array with one
 * element per message, or with a single one when it is the same primitive in all; strings that are long stand elsewhere (`long.ts`). An object of the template is one level
 * deep; what a message holds below that is in the arrays.
 *
 * A message cannot be told from `JSON.parse` of its text, and shares no object with another.
 */

import type { JsonObject, JsonValue, WSEMessage } from '../events.js';
import type { LongStrings } from './long.js';

/** A constructor of objects without members. */
type Maker = new () => JsonObject;

/** One object of the template, and where its members come from, in their order. */
interface Level {
  readonly Made: Maker;
  readonly keys: readonly string[];
  /** For a member that is an object of the template: something that keeps its place. */
  readonly columns: readonly JsonValue[][];
  readonly nested: readonly { readonly key: string; readonly level: Level }[];
}

const PLACE: JsonValue[] = [null];

/** The messages of one shape, in order. */
export class Table {
  readonly #root: Level;
  /** How many messages the columns hold; 1 when nothing differs: then they hold any number. */
  readonly #rows: number;
  #row = 0;

  /** @param take gives the next column */
  constructor(template: JsonObject, take: () => JsonValue[]) {
    let rows = 1;
    const read = (object: JsonObject, depth: number): Level => {
      const nested: { key: string; level: Level }[] = [];
      const keys = Object.keys(object);
      const columns = keys.map((key) => {
        const value = object[key];
        if (typeof value === 'object' && value !== null && depth === 0) {
          nested.push({ key, level: read(value as JsonObject, 1) });
          return PLACE;
        }
        const column = take();
        if (column.length !== 1) {
          if (column.length !== rows && rows !== 1) throw misfit();
          rows = column.length;
        }
        return column;
      });
      return { Made: maker(keys), keys, columns, nested };
    };
    this.#root = read(template, 0);
    this.#rows = rows;
  }

  /** The next message. */
  next(): WSEMessage {
    const row = this.#row;
    this.#row = row + 1;
    return build(this.#root, row);
  }

  /** @throws RangeError unless every message was taken. */
  end(): void {
    if (this.#rows !== 1 && this.#row !== this.#rows) throw misfit();
  }
}

/**
 * The tables of a columns region.
 *
 * @param longs where columns of long strings stand: `{"at":…,"lengths":[…]}` is one
 * @throws RangeError when the text is none.
 */
export function readTables(text: string, longs: LongStrings): Table[] {
  const parts = parse(text);
  const tables: Table[] = [];
  let at = 0;
  const column = (): JsonValue[] => {
    const part = parts[at];
    at += 1;
    if (Array.isArray(part) && part.length > 0) return part;
    const { at: place, lengths } = (part ?? {}) as { at?: unknown; lengths?: unknown };
    if (typeof place !== 'number' || !Array.isArray(lengths) || lengths.length === 0) throw misfit();
    return longs.column(place, lengths as number[]);
  };
  while (at < parts.length) {
    const template = parts[at];
    at += 1;
    if (typeof template !== 'object' || template === null || Array.isArray(template)) throw misfit();
    tables.push(new Table(template, column));
  }
  return tables;
}

function build({ Made, keys, columns, nested }: Level, row: number): JsonObject {
  const made = new Made();
  for (let k = 0; k < keys.length; k += 1) {
    const column = columns[k] as JsonValue[];
    made[keys[k] as string] = column.length === 1 ? column[0] : column[row];
  }
  for (const { key, level } of nested) made[key] = build(level, row);
  return made;
}

/** Kinds of objects remembered; beyond it the memory starts anew. */
const MAKERS = 512;
const makers = new Map<string, Maker>();

/**
 * What makes the object that values of these keys are stored into. Each set of keys has a constructor of its own, with the
 * prototype of any plain object: `{}` begins all objects of a program at one hidden class, and once many different keys have
 * been stored into such objects, V8 gives up sharing the classes of all that begin there (docs/design/columns.md).
 */
function maker(keys: string[]): Maker {
  // A key that plain objects inherit must be there before a value is stored: it could meet a setter, or a frozen prototype.
  if (keys.some((key) => key in Object.prototype)) {
    const own = Object.fromEntries(keys.map((key) => [key, null]));
    return function Message() {
      return { ...own };
    } as unknown as Maker;
  }
  const name = keys.join('\n');
  let made = makers.get(name);
  if (made === undefined) {
    made = function Message() {} as unknown as Maker;
    made.prototype = Object.prototype;
    if (makers.size >= MAKERS) makers.clear();
    makers.set(name, made);
  }
  return made;
}

function parse(text: string): JsonValue[] {
  try {
    const parts: unknown = JSON.parse(text);
    if (Array.isArray(parts)) return parts;
  } catch {
    // As below.
  }
  throw misfit();
}

function misfit(): RangeError {
  return new RangeError('batch: its columns do not fit');
}
