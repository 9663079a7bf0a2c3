/**
 * Messages that crossed as columns: per shape a template, and per value of the template that is no object an array with one
 * element per message, or with a single one when it is the same primitive in all. An object of the template is one level
 * deep; what a message holds below that is in the arrays.
 *
 * A message is a copy of the template with its own values stored, and cannot be told from `JSON.parse` of its text: every key is
 * there before a value is stored, so none meets a setter, and no message shares an object with another.
 */

import type { JsonObject, JsonValue, WSEMessage } from './events.js';

/** One object of the template and the members that differ from message to message. */
interface Level {
  /** Its name in the message. Of no meaning for the message itself. */
  readonly name: string;
  readonly template: JsonObject;
  readonly keys: string[];
  readonly columns: JsonValue[][];
}

/** The messages of one shape, in order. */
export class Table {
  private readonly root: Level;
  private readonly nested: Level[] = [];
  /** How many messages the columns hold; 1 when nothing differs: then they hold any number. */
  private readonly rows: number;
  private row = 0;

  /** @param take gives the next column */
  constructor(template: JsonObject, take: () => JsonValue[]) {
    this.root = { name: '', template, keys: [], columns: [] };
    let rows = 1;
    const read = (level: Level): void => {
      for (const key of Object.keys(level.template)) {
        const value = level.template[key];
        if (typeof value === 'object' && value !== null && level === this.root) {
          const inner: Level = { name: key, template: value as JsonObject, keys: [], columns: [] };
          this.nested.push(inner);
          read(inner);
          continue;
        }
        const column = take();
        // The first value in any case: the copies then begin with the right kind of field.
        level.template[key] = column[0];
        if (column.length === 1) continue;
        if (column.length !== rows && rows !== 1) throw misfit();
        rows = column.length;
        level.keys.push(key);
        level.columns.push(column);
      }
    };
    read(this.root);
    this.rows = rows;
  }

  /** The next message. */
  next(): WSEMessage {
    const row = this.row;
    this.row = row + 1;
    const message = copy(this.root, row);
    for (const level of this.nested) message[level.name] = copy(level, row);
    return message;
  }

  /** @throws RangeError unless every message was taken. */
  end(): void {
    if (this.rows !== 1 && this.row !== this.rows) throw misfit();
  }
}

/**
 * The tables of a columns region.
 *
 * @throws RangeError when the text is none.
 */
export function readTables(text: string): Table[] {
  const parts = parse(text);
  const tables: Table[] = [];
  let at = 0;
  const column = (): JsonValue[] => {
    const part = parts[at];
    at += 1;
    if (!Array.isArray(part) || part.length === 0) throw misfit();
    return part;
  };
  while (at < parts.length) {
    const template = parts[at];
    at += 1;
    if (typeof template !== 'object' || template === null || Array.isArray(template)) throw misfit();
    tables.push(new Table(template, column));
  }
  return tables;
}

function copy({ template, keys, columns }: Level, row: number): JsonObject {
  const made = { ...template };
  for (let k = 0; k < keys.length; k += 1) made[keys[k] as string] = (columns[k] as JsonValue[])[row];
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
