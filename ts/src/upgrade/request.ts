/** An upgrade request as Node hands it out: whether it is one, its path, and the bytes it was on the wire. Answers nothing. */

import type { IncomingMessage } from 'node:http';
import { describe } from '../describe.js';
import { WSEArgumentError } from '../errors.js';

/**
 * `request` if it came with an `'upgrade'` event. What a client can say is never refused here, so that no request can throw in a
 * listener.
 *
 * @throws TypeError for what is no request; WSEArgumentError `WSE_NO_UPGRADE` for one that asks for no upgrade.
 */
export function toUpgrade(request: IncomingMessage): IncomingMessage {
  const { headers, rawHeaders } = (request ?? {}) as Partial<IncomingMessage>;
  if (typeof headers !== 'object' || !Array.isArray(rawHeaders)) {
    throw new TypeError(`request must be the http.IncomingMessage of an 'upgrade' event, not ${describe(request)}`);
  }
  if (headers.upgrade === undefined) {
    throw new WSEArgumentError('WSE_NO_UPGRADE', 'request', "asks for no upgrade: pass on what comes with an 'upgrade' event");
  }
  return request;
}

/** The path of the target, without the query; also of the absolute form (RFC 9112 §3.2.2). */
export function pathOf(request: IncomingMessage): string {
  const target = /^(?:[a-z]+:\/\/[^/?]*)?([^?]*)/i.exec(request.url ?? '');
  return target?.[1] || '/';
}

/** Whether what it asks for is, or may be, a WebSocket (RFC 9110 §7.8: a list of names, any case). */
export function asksForWebSocket(request: IncomingMessage): boolean {
  return (request.headers.upgrade ?? '').split(',').some((name) => name.trim().toLowerCase() === 'websocket');
}

/**
 * The request's head as it came, and behind it what was read after it. Node has made text of each byte of the head, and a line
 * break can be in none of the parts.
 *
 * @param without the field to leave out, in lower case
 */
export function bytesOf(request: IncomingMessage, behind: readonly Uint8Array[], without?: string): Buffer {
  const { method = '', url = '', httpVersion, rawHeaders } = request;
  let head = `${line(method)} ${line(url)} HTTP/${line(httpVersion)}\r\n`;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === without) continue;
    head += `${line(rawHeaders[i])}: ${line(rawHeaders[i + 1])}\r\n`;
  }
  return Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), ...behind]);
}

/** Without line breaks, which only somebody who changed the request can have brought in: they would be further headers. */
function line(text: unknown): string {
  return String(text).replace(/[\r\n]/g, ' ');
}
