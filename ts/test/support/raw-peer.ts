/**
 * A WebSocket peer that is only a socket: it sends whatever bytes a test wants, honest or not, reads what comes back, and
 * every wait of it has a deadline.
 */

import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { onTestFinished } from 'vitest';
import { closePayload, type Frame, FrameReader, type FrameSpec, frame, Opcode } from './frames.js';
import { DEADLINE_MS, waitUntil, within } from './wait.js';

export { closePayload, type Frame, type FrameSpec, fragments, frame, Opcode } from './frames.js';

/** The sample key of RFC 6455 §1.3, and what a server makes of it. */
export const SAMPLE_KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
export const SAMPLE_ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

/** A header list: repeated and strange names are allowed. */
export type RawHeaders = readonly (readonly [name: string, value: string])[];

/** How to reach the server. */
export interface DialOptions {
  /** @default '127.0.0.1' */
  host?: string;
  /** Where it comes from. @default what the system chooses */
  localAddress?: string;
  /** Speak TLS; `{}` trusts any certificate. @default plain TCP */
  tls?: tls.ConnectionOptions;
  /**
   * Read only when asked: nothing is taken from the kernel before {@link RawPeer.readBytes} asks for it.
   * Takes that many bytes at once from the kernel. @default reads all the time
   */
  readWindow?: number;
  /** Stay when the server has ended its side. @default false: end ours as well, as most peers do */
  halfOpen?: boolean;
}

/** What to ask for. */
export interface UpgradeOptions extends DialOptions {
  /** @default '/wse' */
  path?: string;
  /** Added behind the ones an upgrade needs. @default none */
  headers?: RawHeaders;
}

/** An HTTP response head. */
export interface Response {
  status: number;
  /** Names in lower case; the last of equal ones. */
  headers: ReadonlyMap<string, string>;
  /** The head as it came. */
  head: string;
}

/** How a conversation ended. */
export interface Closed {
  /** 1005: a Close without code. 1006: no Close at all. */
  code: number;
  reason: string;
}

/** The bytes of an upgrade request. Header text is written as Latin-1: one char, one byte. */
export function upgradeRequest(options: Pick<UpgradeOptions, 'path' | 'headers'> = {}): Buffer {
  const { path = '/wse', headers = [] } = options;
  const all: RawHeaders = [
    ['Host', '127.0.0.1'],
    ['Upgrade', 'websocket'],
    ['Connection', 'Upgrade'],
    ['Sec-WebSocket-Key', SAMPLE_KEY],
    ['Sec-WebSocket-Version', '13'],
    ...headers,
  ];
  const lines = [`GET ${path} HTTP/1.1`, ...all.map(([name, value]) => `${name}: ${value}`), '', ''];
  return Buffer.from(lines.join('\r\n'), 'latin1');
}

const living = new Set<RawPeer>();

/** Ends every connection of this file's tests but one, as peers do who have had enough. */
export function destroyAllBut(spared: RawPeer): void {
  for (const peer of living) if (peer !== spared) peer.destroy();
}

/** One connection. Inside a test it is destroyed when the test ends. */
export class RawPeer {
  readonly socket: net.Socket;
  /** Frames that came and were not taken. */
  readonly frames: Frame[] = [];
  /** Bytes that came, the HTTP response included. */
  bytesRead = 0;
  /** Set when the server ended or reset the connection. */
  over: 'end' | 'reset' | undefined;
  /** The Close frame, once it came. */
  closed: Closed | undefined;
  readonly #reader = new FrameReader();
  #head: Buffer | undefined = Buffer.alloc(0);
  #response: Response | undefined;
  #pending: Buffer[] = [];

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('end', () => {
      this.over ??= 'end';
    });
    socket.on('error', () => {
      this.over ??= 'reset';
    });
    living.add(this);
    socket.on('close', () => {
      this.over ??= 'end';
      living.delete(this);
    });
  }

  /** A connection on which nothing was said (with TLS: on which the TLS handshake is done). */
  static async dial(port: number, options: DialOptions = {}): Promise<RawPeer> {
    const { host = '127.0.0.1', localAddress, readWindow, halfOpen = false } = options;
    // `onread` is the only way to take from the kernel exactly as much as wanted.
    let peer: RawPeer | undefined;
    const onread: net.OnReadOpts | undefined =
      readWindow === undefined
        ? undefined
        : {
            buffer: Buffer.alloc(readWindow),
            callback: (count, buffer) => {
              peer?.take(Buffer.from(buffer.subarray(0, count)));
              return false;
            },
          };
    const plain = net.connect({
      host,
      port,
      allowHalfOpen: halfOpen,
      ...(localAddress === undefined ? {} : { localAddress }),
      ...(onread === undefined ? {} : { onread }),
    });
    const socket = options.tls === undefined ? plain : tls.connect({ socket: plain, rejectUnauthorized: false, ...options.tls });
    peer = new RawPeer(socket);
    forget(peer);
    if (readWindow === undefined) socket.on('data', (chunk: Buffer) => peer?.take(chunk));
    await within(once(socket, options.tls === undefined ? 'connect' : 'secureConnect'), 'connection');
    if (readWindow !== undefined) socket.pause();
    return peer;
  }

  /** An upgraded connection. */
  static async open(port: number, options: UpgradeOptions = {}): Promise<RawPeer> {
    const peer = await RawPeer.dial(port, options);
    peer.send(upgradeRequest(options));
    if (options.readWindow !== undefined) while (peer.#response === undefined) await peer.readBytes(1);
    const { status, head } = await peer.response();
    if (status !== 101) throw new Error(`upgrade refused: ${head}`);
    return peer;
  }

  /** The answer to an upgrade that is expected to be refused, or not. */
  static async ask(port: number, request: string | Uint8Array, options: DialOptions = {}): Promise<[Response, RawPeer]> {
    const peer = await RawPeer.dial(port, options);
    peer.send(request);
    return [await peer.response(), peer];
  }

  /** Queues bytes as they are. Text is written as Latin-1. */
  send(bytes: string | Uint8Array): void {
    if (!this.socket.writable) return;
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /**
   * Writes bytes and waits until the kernel has them all. False: the server ended the connection first.
   * Do not use it towards a server that has stopped reading.
   */
  async write(bytes: string | Uint8Array, deadlineMs: number = DEADLINE_MS): Promise<boolean> {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    const taken = new Promise<boolean>((resolve) => this.socket.write(buffer, (error) => resolve(!error)));
    return within(taken, 'room in the socket', deadlineMs);
  }

  /** Writes bytes in packets of `size`, one turn of the event loop between two. */
  async trickle(bytes: Uint8Array, size = 1): Promise<boolean> {
    for (let at = 0; at < bytes.length; at += size) {
      if (!(await this.write(bytes.subarray(at, at + size)))) return false;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return true;
  }

  /** Sends one frame. */
  frame(spec: FrameSpec = {}): void {
    this.send(frame(spec));
  }

  text(payload: string): void {
    this.frame({ opcode: Opcode.text, payload });
  }

  binary(payload: Uint8Array): void {
    this.frame({ opcode: Opcode.binary, payload });
  }

  ping(payload: string | Uint8Array = ''): void {
    this.frame({ opcode: Opcode.ping, payload });
  }

  close(code?: number, reason: string | Uint8Array = ''): void {
    this.frame({ opcode: Opcode.close, payload: code === undefined ? '' : closePayload(code, reason) });
  }

  /** The HTTP response. */
  async response(deadlineMs: number = DEADLINE_MS): Promise<Response> {
    await waitUntil(() => this.#response !== undefined || this.over !== undefined, 'HTTP response', deadlineMs);
    if (this.#response === undefined) throw new Error(`the connection ended (${this.over}) without an HTTP response`);
    return this.#response;
  }

  /** Takes the first frame that satisfies `wanted` and drops those before it. */
  async next(wanted: (frame: Frame) => boolean = () => true, deadlineMs: number = DEADLINE_MS): Promise<Frame> {
    const find = (): Frame | undefined => {
      const index = this.frames.findIndex(wanted);
      if (index < 0) return undefined;
      return this.frames.splice(0, index + 1)[index];
    };
    let found: Frame | undefined;
    await waitUntil(
      () => {
        found = find();
        return found !== undefined || this.over !== undefined;
      },
      () => `such frame (it got ${this.frames.map(({ opcode }) => opcode).join(' ') || 'none'})`,
      deadlineMs,
    );
    found ??= find();
    if (found === undefined) throw new Error(`the connection ended (${this.over}) before the frame`);
    return found;
  }

  /** Takes the first text message that satisfies `wanted`. */
  async nextText(wanted: (text: string) => boolean = () => true, deadlineMs: number = DEADLINE_MS): Promise<string> {
    const { payload } = await this.next((frame) => frame.opcode === Opcode.text && wanted(frame.payload.toString()), deadlineMs);
    return payload.toString();
  }

  /** How the server closed: its Close frame, or 1006 when the connection ended without one. */
  async closing(deadlineMs: number = DEADLINE_MS): Promise<Closed> {
    await waitUntil(() => this.closed !== undefined || this.over !== undefined, 'Close', deadlineMs);
    return this.closed ?? { code: 1006, reason: '' };
  }

  /** Resolves when the server ended the TCP connection. */
  async ended(deadlineMs: number = DEADLINE_MS): Promise<'end' | 'reset'> {
    return waitUntil(() => this.over, 'end of the connection', deadlineMs);
  }

  /** Stops reading: the kernel's buffers fill, then the server's. Node cannot make the kernel's smaller. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** With `readWindow`: takes at least `count` bytes from the kernel, a window at a time. */
  async readBytes(count: number, deadlineMs: number = DEADLINE_MS): Promise<void> {
    const target = this.bytesRead + count;
    while (this.bytesRead < target && this.over === undefined) {
      const before = this.bytesRead;
      this.socket.resume();
      await waitUntil(() => this.bytesRead > before || this.over !== undefined, 'bytes', deadlineMs);
    }
  }

  /** Ends the connection with a TCP reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** Ends the sending side only. */
  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  /** @internal */
  take(chunk: Buffer): void {
    this.bytesRead += chunk.length;
    if (this.#head === undefined) {
      this.#frames(chunk);
      return;
    }
    this.#pending.push(chunk);
    this.#head = Buffer.concat(this.#pending);
    this.#pending = [this.#head];
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.#head.toString('latin1', 0, end);
    const rest = this.#head.subarray(end + 4);
    this.#response = parseHead(head);
    this.#pending = [];
    this.#head = undefined;
    if (this.#response.status === 101 && rest.length > 0) this.#frames(rest);
  }

  #frames(chunk: Buffer): void {
    if (this.#response?.status !== 101) return;
    for (const frame of this.#reader.push(chunk)) {
      this.frames.push(frame);
      if (frame.opcode === Opcode.close) {
        const { payload } = frame;
        this.closed ??= {
          code: payload.length < 2 ? 1005 : payload.readUInt16BE(0),
          reason: payload.toString('utf8', 2),
        };
      }
    }
  }
}

function parseHead(head: string): Response {
  const [line = '', ...fields] = head.split('\r\n');
  const headers = new Map(
    fields.map((field) => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()] as const;
    }),
  );
  return { status: Number(line.split(' ')[1]), headers, head };
}

/** Destroys the peer at the end of the test, if there is one. */
function forget(peer: RawPeer): void {
  try {
    onTestFinished(() => peer.destroy());
  } catch {
    // In a hook: whoever made it ends it.
  }
}
