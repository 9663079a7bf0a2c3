/** Checks of arguments: each returns the value when it is what the call asks for, and throws a `TypeError` that names it. */

import { describe } from './describe.js';
import { type SecondsRule, toSeconds } from './options/seconds.js';

/** Bytes of UTF-8 a Close frame has for its reason (RFC 6455 §5.5). */
const MAX_REASON_BYTES = 123;
/** Events of one batch at most. */
const MAX_EVENTS = 65_536;
/** What a time limit may be. */
const TIMEOUT: SecondsRule = { max: 3600, zero: true };
/** Stands for "for ever". */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * `value` if it is a string.
 *
 * @throws TypeError otherwise.
 */
export function toText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string, not ${describe(value)}`);
  return value;
}

/**
 * `value` if it is a number, which is all a connection id is here: an unknown one is the engine's to report.
 *
 * @throws TypeError otherwise.
 */
export function toConn(value: unknown, name = 'conn'): number {
  if (typeof value !== 'number') throw new TypeError(`${name} must be a number, not ${describe(value)}`);
  return value;
}

/**
 * `value` if it is an array of strings.
 *
 * @throws TypeError otherwise, naming the item.
 */
export function toTexts(value: unknown, name: string): string[] {
  if (!Array.isArray(value)) throw new TypeError(`${name} must be an array of strings, not ${describe(value)}`);
  return Array.from(value, (item, index) => toText(item, `${name}[${index}]`));
}

/**
 * `value` if it is an object that can hold options. A value in its place, such as a close code without its name, would
 * otherwise be ignored without a word.
 *
 * @throws TypeError otherwise.
 */
export function toOptions<T extends object>(value: T, name: string): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name} must be an object, not ${describe(value)}`);
  }
  return value;
}

/**
 * A code that may be sent in a Close frame.
 *
 * @throws TypeError otherwise.
 */
export function toCloseCode(code: unknown): number {
  const allowed =
    Number.isInteger(code) &&
    (((code as number) >= 1000 && (code as number) <= 1014 && ![1004, 1005, 1006].includes(code as number)) ||
      ((code as number) >= 3000 && (code as number) <= 4999));
  if (!allowed) throw new TypeError('close code must be 1000 to 1014 (without 1004, 1005, 1006) or 3000 to 4999');
  return code as number;
}

/**
 * `reason` if it fits into a Close frame.
 *
 * @throws TypeError otherwise.
 */
export function toReason(reason: unknown): string {
  const text = toText(reason, 'reason');
  if (Buffer.byteLength(text) > MAX_REASON_BYTES) throw new TypeError(`reason must fit in ${MAX_REASON_BYTES} bytes`);
  return text;
}

/**
 * Seconds as milliseconds.
 *
 * @throws TypeError for anything but a number of seconds, 0 or more; WSEConfigError above an hour: those were milliseconds.
 */
export function toTimeoutMs(seconds: unknown): number {
  if (!(typeof seconds === 'number' && seconds >= 0)) throw new TypeError('timeout must be a number of seconds, 0 or more');
  if (seconds === Number.POSITIVE_INFINITY) return MAX_TIMEOUT_MS;
  return toSeconds(seconds, 'timeout', TIMEOUT) * 1000;
}

/**
 * `value` if it is a boolean.
 *
 * @throws TypeError otherwise.
 */
export function toFlag(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw new TypeError(`${name} must be true or false, not ${describe(value)}`);
  return value;
}

/**
 * `value` if it is a number of events one batch may have.
 *
 * @throws TypeError otherwise.
 */
export function toEventCount(value: unknown, name: string): number {
  if (!(Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_EVENTS)) {
    throw new TypeError(`${name} must be a whole number from 1 to ${MAX_EVENTS}`);
  }
  return value as number;
}
