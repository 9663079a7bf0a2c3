/** Requests and what answers them, as text (docs/protocol.md §18). Sends nothing and keeps nothing. */

import { categoryOf } from '../envelope.js';
import { toJson } from '../json.js';

/**
 * A question that is waited for so many milliseconds.
 *
 * @throws TypeError for a payload without a JSON form.
 */
export function requestText(type: string, payload: unknown, cid: string, timeoutMs: number): string {
  const p = payload === undefined ? 'null' : toJson(payload, 'payload');
  return `{"c":"${categoryOf(type)}","t":${JSON.stringify(type)},"p":${p},"v":1,"cid":${JSON.stringify(cid)},"rq":${timeoutMs}}`;
}

/**
 * The answer.
 *
 * @throws TypeError for a value without a JSON form.
 */
export function replyText(cid: string, value: unknown): string {
  return `{"c":"U","t":"reply","p":${toJson(value, 'reply')},"cid":${JSON.stringify(cid)}}`;
}

/** The answer that there is none. */
export function failureText(cid: string, code: string, message: string): string {
  const err = `{"code":${JSON.stringify(code)},"message":${JSON.stringify(message)}}`;
  return `{"c":"WSE","t":"reply","cid":${JSON.stringify(cid)},"err":${err}}`;
}

/** Nobody waits for the answer any more. */
export function cancelText(cid: string): string {
  return `{"c":"WSE","t":"cancel","cid":${JSON.stringify(cid)}}`;
}
