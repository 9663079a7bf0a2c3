// Reads what a server sends, as cheaply as it can be read.
//
// Owns: RFC 6455 frames of one connection, unmasked and whole (neither server here fragments): where one ends, the stamp
// in front of a message, control frames. Bytes that belong to no header, stamp or control frame are stepped over.
// Never: keeps a chunk: its memory is used again for the next connection.

import { STAMP } from './clock.mjs';

export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

export class FrameReader {
  #sink;
  #begun = null; // a header, stamp or control frame that is not complete
  #left = 0; // of the message that is being stepped over
  #length = 0;
  #stamp = 0;

  /** @param {{ message(stamp: number, bytes: number): void, control(opcode: number, payload: Buffer): void }} sink */
  constructor(sink) {
    this.#sink = sink;
  }

  push(chunk) {
    const buffer = this.#begun === null ? chunk : Buffer.concat([this.#begun, chunk]);
    this.#begun = null;
    const end = buffer.length;
    let at = 0;
    if (this.#left > 0) {
      at = Math.min(this.#left, end);
      this.#left -= at;
      if (this.#left > 0) return;
      this.#sink.message(this.#stamp, this.#length);
    }
    while (at < end) {
      const next = this.#frame(buffer, at, end);
      if (next < 0) {
        this.#begun = Buffer.from(buffer.subarray(at, end));
        return;
      }
      at = next;
    }
  }

  /** Where the next frame begins, or -1: more has to come first. */
  #frame(buffer, at, end) {
    if (end - at < 2) return -1;
    const short = buffer[at + 1] & 127;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (end - at < head) return -1;
    const length = short < 126 ? short : short === 126 ? buffer.readUInt16BE(at + 2) : Number(buffer.readBigUInt64BE(at + 2));
    const opcode = buffer[at] & 15;
    const start = at + head;
    if (opcode >= CLOSE) {
      if (end - start < length) return -1;
      this.#sink.control(opcode, buffer.subarray(start, start + length));
      return start + length;
    }
    if (end - start < Math.min(length, STAMP)) return -1;
    const stamp = length < STAMP ? 0 : digits(buffer, start);
    if (end - start >= length) {
      this.#sink.message(stamp, length);
      return start + length;
    }
    this.#stamp = stamp;
    this.#length = length;
    this.#left = length - (end - start);
    return end;
  }
}

function digits(buffer, at) {
  let value = 0;
  for (let i = at; i < at + STAMP; i++) value = value * 10 + buffer[i] - 48;
  return value;
}

/** A control frame of a client; the mask may be zero, and then it changes nothing. */
export function controlFrame(opcode, payload) {
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}
