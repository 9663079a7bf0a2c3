/**
 * Sockets whose bytes pass through JavaScript: TLS that Node speaks, any other stream, and everything on systems and runtimes
 * without descriptors. Each gets a connection of the engine's to a port of this machine that is opened on first use; the engine
 * names it by a key of 32 random bytes, used once. Whoever else connects there is dropped. Looks at no byte that is pumped.
 */

import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import net, { BlockList } from 'node:net';
import type { Duplex } from 'node:stream';
import type { EngineHandle } from '../server/engine-handle.js';
import { refuse } from './refuse.js';
import { bytesOf } from './request.js';
import { SOURCES } from './sources.js';

const KEY_BYTES = 32;
/** Sockets that wait for the engine's connection; one more is answered 503. */
const MAX_PENDING = 1024;
/** Connections that have not said their key; one more takes the place of the oldest, for the engine says its key at once. */
const MAX_UNNAMED = 1024;
/** Milliseconds the engine's connection, and its key, may take. */
const PENDING_MS = 10_000;
/** Milliseconds a peer has to end its side once the engine has ended. */
const LINGER_MS = 5000;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Sockets by the key of the connection they wait for. */
const waiting = new Map<string, (inner: net.Socket) => void>();
/** In the order they came. */
const unnamed = new Set<net.Socket>();
let port: Promise<number> | undefined;

/** Has the engine serve `request`, and pumps between it and `socket` until one of them ends. A refusal is answered here. */
export function pump(engine: EngineHandle, request: IncomingMessage, socket: Duplex, head: Uint8Array): void {
  const fail = (): void => void socket.destroy();
  socket.on('error', fail);
  if (waiting.size >= MAX_PENDING) {
    refuse(socket, 503);
    return;
  }
  const bytes = bytesOf(request, [head]);
  const peer = peerOf(socket, request);
  const key = randomBytes(KEY_BYTES);
  const name = key.toString('latin1');

  const forget = (): void => {
    clearTimeout(timer);
    socket.off('close', forget);
    waiting.delete(name);
  };
  const timer = setTimeout(() => {
    forget();
    refuse(socket, 503);
  }, PENDING_MS).unref();
  socket.on('close', forget);
  waiting.set(name, (inner) => {
    forget();
    join(socket, inner);
  });

  port ??= open();
  port.then(
    (port) => {
      if (!waiting.has(name) || engine.raw((native) => native.pumpUpgrade(port, key, bytes, peer))) return;
      forget();
      refuse(socket, 503);
    },
    () => {
      forget();
      refuse(socket, 503);
    },
  );
}

/** What the engine is to know of the peer itself. */
function peerOf(socket: Duplex, request: IncomingMessage): { address: string | null; loopback: boolean; secure: boolean } {
  type Ends = Partial<Pick<net.Socket, 'remoteAddress' | 'localAddress'>> & { encrypted?: boolean };
  const own = socket as Ends;
  const source = SOURCES.get(socket);
  if (source !== undefined) return { ...source, secure: false };
  const { remoteAddress, localAddress } = own.remoteAddress === undefined ? ((request.socket ?? own) as Ends) : own;
  return {
    // The zone of a link-local address says which of our interfaces it came by.
    address: remoteAddress?.replace(/%.*$/, '') ?? null,
    loopback: localAddress !== undefined && LOOPBACK.check(localAddress, net.isIPv6(localAddress) ? 'ipv6' : 'ipv4'),
    secure: (own.encrypted ?? (request.socket as Ends | undefined)?.encrypted) === true,
  };
}

/** Opens the port the engine connects to. It keeps no process alive; where it fails, the next one tries again. */
function open(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, admit);
    server.once('error', (error) => {
      port = undefined;
      reject(error);
    });
    server.listen(0, '127.0.0.1', () => {
      server.unref();
      // Sockets the system could not accept: their peers wait, and are answered when their time is over.
      server.on('error', () => {});
      resolve((server.address() as net.AddressInfo).port);
    });
  });
}

/** Waits for the key of a connection and gives it to whom it is for. */
function admit(inner: net.Socket): void {
  const fail = (): void => void inner.destroy();
  inner.on('error', fail);
  if (unnamed.size >= MAX_UNNAMED) {
    const [oldest] = unnamed as Iterable<net.Socket>;
    // Its listener hears of the end only later, when more may have come.
    if (oldest !== undefined) unnamed.delete(oldest.destroy());
  }
  unnamed.add(inner);
  const timer = setTimeout(fail, PENDING_MS).unref();
  const leave = (): void => {
    unnamed.delete(inner);
    clearTimeout(timer);
    inner.off('readable', look).off('close', leave);
  };
  const look = (): void => {
    const key = inner.read(KEY_BYTES) as Buffer | null;
    if (key === null) return;
    leave();
    const next = waiting.get(key.toString('latin1'));
    if (next === undefined) fail();
    else next(inner);
  };
  inner.on('readable', look).on('close', leave);
}

/** Pumps both ways with backpressure. Each end passes on; a break of one side ends the other. */
function join(peer: Duplex, engine: net.Socket): void {
  const socket = peer as Partial<net.Socket>;
  socket.setTimeout?.(0);
  socket.setNoDelay?.(true);
  peer.pipe(engine);
  engine.pipe(peer);
  let timer: NodeJS.Timeout | undefined;
  engine.once('end', () => {
    // Nothing the peer still says is heard; its end is waited for, so that what it was sent is not lost to a reset.
    timer = setTimeout(() => {
      peer.destroy();
      engine.destroy();
    }, LINGER_MS).unref();
  });
  engine.once('close', () => {
    if (!engine.readableEnded) peer.destroy();
  });
  peer.once('close', () => {
    clearTimeout(timer);
    // What it said before is still the engine's.
    engine.destroySoon();
    engine.resume();
  });
}
