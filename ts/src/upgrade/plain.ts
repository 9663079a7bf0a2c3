/**
 * A plain socket of Node as the system knows it: its descriptor, and what Node has read of it. Only Node on POSIX has descriptors
 * that can be taken over.
 */

import net from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** What of Node's handles is used. It is not documented, so its absence means: pump. */
interface Handle {
  readonly fd: number;
  /** Whether Node believes it is read. */
  reading?: boolean;
  readStop(): number;
  readonly writeQueueSize?: number;
}

const HAS_DESCRIPTORS = process.platform !== 'win32' && !('bun' in process.versions || 'deno' in process.versions);

/** A socket whose descriptor can be duplicated, and then given up by Node without a word to the peer. */
export interface PlainSocket {
  readonly descriptor: number;
  /** Has Node read no further; what it has read and nobody has taken. */
  takeRead(): Uint8Array[];
  /** Closes Node's descriptor. The peer hears nothing while a duplicate is open. */
  giveUp(): void;
}

/** Whether somebody has closed the handle under a socket that does not know it yet: Node throws when such a one is written to. */
export function isHollow(socket: Duplex): boolean {
  const handle = (socket as unknown as { _handle?: Partial<Handle> | null })._handle;
  const kind = handle?.constructor.name;
  return HAS_DESCRIPTORS && (kind === 'TCP' || kind === 'Pipe') && typeof handle?.fd === 'number' && handle.fd < 0;
}

/** `socket` as a plain one; undefined: it is none, or Node still owes its peer something. */
export function plainOf(socket: Duplex): PlainSocket | undefined {
  if (!HAS_DESCRIPTORS || !(socket instanceof net.Socket) || socket instanceof TLSSocket) return undefined;
  const handle = (socket as unknown as { _handle?: Partial<Handle> | null })._handle;
  const descriptor = handle?.fd;
  if (typeof descriptor !== 'number' || !(descriptor >= 0) || typeof handle?.readStop !== 'function') return undefined;
  const answering = (socket as unknown as { _httpMessage?: unknown })._httpMessage;
  const owes = socket.writableLength > 0 || (handle.writeQueueSize ?? 0) > 0 || (answering ?? null) !== null;
  if (owes || socket.connecting || socket.writableEnded) return undefined;
  return {
    descriptor,
    takeRead: () => {
      handle.reading = false;
      handle.readStop?.();
      const chunks: Uint8Array[] = [];
      for (let chunk = read(socket); chunk !== null; chunk = read(socket)) chunks.push(chunk);
      return chunks;
    },
    // It closes the descriptor and does not shut the connection down, which `end()` would.
    giveUp: () => socket.destroy(),
  };
}

/** What is buffered, at once; a stream that was told an encoding gives text. */
function read(socket: net.Socket): Uint8Array | null {
  if (socket.readableLength === 0) return null;
  const chunk = socket.read() as Buffer | string | null;
  return typeof chunk === 'string' ? Buffer.from(chunk, socket.readableEncoding ?? 'utf8') : chunk;
}
