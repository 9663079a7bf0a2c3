/** Reads one object of options member by member, knowing where it is; every mistake becomes a `WSEConfigError`. */

import { toBytes } from '../bytes.js';
import { describe } from '../describe.js';
import { WSEConfigError } from '../errors.js';
import { type SecondsRule, toSeconds } from './seconds.js';

/** What a number must be. */
export interface NumberRule {
  min: number;
  max: number;
  /** Only whole numbers. */
  integer?: boolean;
  unit?: string;
}

/** A reader of one (nested) options object. Call `done()` last: it refuses names nobody asked for. */
export class OptionReader {
  readonly #values: Record<string, unknown>;
  readonly #path: string;
  readonly #known = new Set<string>();

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
      throw new WSEConfigError('WSE_CONFIG_INVALID', path, `${path || 'options'} must be an object, not ${describe(value)}`);
    }
    this.#values = value as Record<string, unknown>;
    this.#path = path;
  }

  /** Where the member `name` is. */
  at(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  /** Refuses the member, saying why. */
  fail(name: string, message: string): never {
    throw new WSEConfigError('WSE_CONFIG_INVALID', this.at(name), message);
  }

  /** Refuses the member's name, saying what would help. */
  refuseName(name: string, help: string): never {
    throw new WSEConfigError('WSE_CONFIG_UNKNOWN', this.at(name), `unknown option; ${help}`);
  }

  /** The names of the members that are there. */
  names(): string[] {
    return Object.keys(this.#values).filter((name) => this.has(name));
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined;
  }

  /** A member of any type, for the caller to look at. */
  any(name: string): unknown {
    return this.#take(name, undefined);
  }

  number(name: string, rule: NumberRule, fallback?: number): number {
    const value = this.#take(name, fallback);
    const { min, max, integer = false, unit } = rule;
    const fits = typeof value === 'number' && value >= min && value <= max;
    if (fits && (!integer || Number.isInteger(value))) return value;
    return this.fail(
      name,
      `must be ${integer ? 'a whole' : 'a'} number from ${min} to ${max}${unit ? ` (${unit})` : ''}, not ${describe(value)}`,
    );
  }

  numberOrNull(name: string, rule: NumberRule): number | null {
    return this.#take(name, null) === null ? null : this.number(name, rule);
  }

  /** A number, or one of a few words. */
  numberOr<T extends string>(name: string, rule: NumberRule, words: readonly T[], fallback: number): number | T {
    const word = words.find((candidate) => candidate === this.#values[name]);
    if (word === undefined && typeof this.#values[name] === 'string') {
      const { min, max, integer = false } = rule;
      return this.fail(
        name,
        `must be ${words.map((one) => `'${one}'`).join(' or ')} or ${integer ? 'a whole' : 'a'} number from ${min} to ${max}, not ${shown(this.#values[name])}`,
      );
    }
    this.#known.add(name);
    return word ?? this.number(name, rule, fallback);
  }

  seconds(name: string, rule: SecondsRule, fallback: number): number {
    return toSeconds(this.#take(name, fallback), this.at(name), rule);
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.#take(name, fallback);
    return typeof value === 'boolean' ? value : this.fail(name, `must be true or false, not ${describe(value)}`);
  }

  /** A function, whose type is the caller's to know. */
  hasFunction(name: string): boolean {
    const value = this.#take(name, null);
    if (value !== null && typeof value !== 'function') this.fail(name, `must be a function, not ${describe(value)}`);
    return value !== null;
  }

  text(name: string, fallback?: string): string {
    const value = this.#take(name, fallback);
    if (typeof value !== 'string' || value === '') return this.fail(name, `must be a non-empty string, not ${shown(value)}`);
    return value;
  }

  textOrNull(name: string): string | null {
    return this.#take(name, null) === null ? null : this.text(name);
  }

  oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.#take(name, fallback);
    const found = allowed.find((candidate) => candidate === value);
    return found ?? this.fail(name, `must be ${allowed.map((one) => `'${one}'`).join(' or ')}, not ${shown(value)}`);
  }

  /** Key material: text as UTF-8, or bytes, copied so that nobody changes them later. */
  key(name: string): Uint8Array {
    const value = this.#take(name, undefined);
    if (typeof value === 'string') {
      return value === '' ? this.fail(name, 'must not be empty') : new TextEncoder().encode(value);
    }
    let bytes: Uint8Array;
    try {
      bytes = toBytes(value, name);
    } catch {
      return this.fail(name, `must be a string or bytes, not ${describe(value)}`);
    }
    return bytes.byteLength === 0 ? this.fail(name, 'must not be empty') : new Uint8Array(bytes);
  }

  keyOrNull(name: string): Uint8Array | null {
    return this.#take(name, null) === null ? null : this.key(name);
  }

  textsOrNull(name: string): string[] | null {
    const value = this.#take(name, null);
    if (value === null) return null;
    if (!Array.isArray(value)) return this.fail(name, `must be an array of strings, not ${describe(value)}`);
    return Array.from(value, (item: unknown, index) =>
      typeof item === 'string' && item !== ''
        ? item
        : this.fail(`${name}[${index}]`, `must be a non-empty string, not ${shown(item)}`),
    );
  }

  /** A reader for a nested object; an absent one reads as empty. */
  group(name: string): OptionReader {
    return new OptionReader(this.#take(name, {}), this.at(name));
  }

  groupOrNull(name: string): OptionReader | null {
    return this.#take(name, null) === null ? null : this.group(name);
  }

  /** Refuses every member that was not read. `suggest` may know a misspelt or renamed one. */
  done(suggest: (name: string, known: readonly string[]) => string | undefined): void {
    for (const name of Object.keys(this.#values)) {
      if (this.#known.has(name) || !this.has(name)) continue;
      const known = [...this.#known];
      const better = suggest(name, known);
      const help = better === undefined ? `known here: ${known.join(', ')}` : `did you mean ${better}?`;
      this.refuseName(name, help);
    }
  }

  #take(name: string, fallback: unknown): unknown {
    this.#known.add(name);
    const value = this.#values[name];
    return value === undefined ? fallback : value;
  }
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `'${value.slice(0, 40)}'` : describe(value);
}
