/** WebSocket frames as bytes, correct or not: whatever is asked for is written. */

import { randomBytes } from 'node:crypto';

export const Opcode = {
  continuation: 0,
  text: 1,
  binary: 2,
  close: 8,
  ping: 9,
  pong: 10,
} as const;

/** One frame to write. What is left out is what an honest client would write. */
export interface FrameSpec {
  /** @default true */
  fin?: boolean;
  /** The three reserved bits, RSV1 is 4. @default 0 */
  rsv?: number;
  /** 0 to 15. @default text */
  opcode?: number;
  /** false: no mask, which a client must not do. @default a random one */
  mask?: boolean | Uint8Array;
  /** @default nothing */
  payload?: string | Uint8Array;
  /** The length written in the header, whatever the payload has. @default the payload's */
  declared?: number | bigint;
  /** How many bits the length is written in; more than needed is a violation. @default as few as possible */
  lengthBits?: 7 | 16 | 64;
}

/** The bytes of one frame. */
export function frame(spec: FrameSpec = {}): Buffer {
  const { fin = true, rsv = 0, opcode = Opcode.text, mask = true } = spec;
  const payload = typeof spec.payload === 'string' ? Buffer.from(spec.payload) : Buffer.from(spec.payload ?? []);
  const length = BigInt(spec.declared ?? payload.length);
  const bits = spec.lengthBits ?? (length < 126n ? 7 : length < 65_536n ? 16 : 64);
  const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10);
  head[0] = (fin ? 0x80 : 0) | ((rsv & 7) << 4) | (opcode & 15);
  const masked = mask === false ? 0 : 0x80;
  if (bits === 7) {
    head[1] = masked | Number(length & 127n);
  } else if (bits === 16) {
    head[1] = masked | 126;
    head.writeUInt16BE(Number(length & 0xffffn), 2);
  } else {
    head[1] = masked | 127;
    head.writeBigUInt64BE(length & 0xffff_ffff_ffff_ffffn, 2);
  }
  if (mask === false) return Buffer.concat([head, payload]);
  const key = mask === true ? randomBytes(4) : mask;
  for (let i = 0; i < payload.length; i += 1) payload[i] = (payload[i] as number) ^ (key[i & 3] as number);
  return Buffer.concat([head, key, payload]);
}

/** One message in frames of `size` payload bytes each. */
export function fragments(payload: string | Uint8Array, size: number, opcode: number = Opcode.text): Buffer {
  const bytes = Buffer.from(payload);
  const parts: Buffer[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += size) {
    parts.push(
      frame({
        opcode: at === 0 ? opcode : Opcode.continuation,
        fin: at + size >= bytes.length,
        payload: bytes.subarray(at, at + size),
      }),
    );
  }
  return Buffer.concat(parts);
}

/** The payload of a Close frame. */
export function closePayload(code: number, reason: string | Uint8Array = ''): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
}

/** A frame as it came. */
export interface Frame {
  fin: boolean;
  rsv: number;
  opcode: number;
  masked: boolean;
  /** A copy of its own. */
  payload: Buffer;
}

/** Cuts a byte stream into frames. Joins nothing before a frame is whole, so that large ones cost linear time. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #have = 0;
  #need = 2;

  /** Bytes that are not a whole frame yet. */
  get held(): number {
    return this.#have;
  }

  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    if (this.#have < this.#need) return frames;
    let bytes = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    for (;;) {
      this.#need = needed(bytes);
      if (bytes.length < this.#need) break;
      frames.push(parse(bytes.subarray(0, this.#need)));
      bytes = bytes.subarray(this.#need);
    }
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#have = bytes.length;
    return frames;
  }
}

/** Bytes of the frame at the head of `bytes`, as far as it can be told. */
function needed(bytes: Buffer): number {
  if (bytes.length < 2) return 2;
  const second = bytes[1] as number;
  const short = second & 127;
  const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
  const head = 2 + extended + (second >= 128 ? 4 : 0);
  if (bytes.length < head) return head;
  const length = extended === 0 ? short : extended === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return head + length;
}

function parse(bytes: Buffer): Frame {
  const first = bytes[0] as number;
  const second = bytes[1] as number;
  const short = second & 127;
  let at = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
  const masked = second >= 128;
  const key = masked ? bytes.subarray(at, at + 4) : undefined;
  if (masked) at += 4;
  const payload = Buffer.from(bytes.subarray(at));
  if (key !== undefined) {
    for (let i = 0; i < payload.length; i += 1) payload[i] = (payload[i] as number) ^ (key[i & 3] as number);
  }
  return { fin: first >= 128, rsv: (first >> 4) & 7, opcode: first & 15, masked, payload };
}
