/** HTTP servers whose upgrades are ours. One listener per server asks all that are attached to it; serves nothing itself. */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { describe } from '../describe.js';
import { checkPath } from '../options/endpoints.js';
import { OptionReader } from '../options/reader.js';
import { suggestOption } from '../options/suggest.js';
import { giveBack } from './give-back.js';
import { refuse } from './refuse.js';
import { asksForWebSocket, pathOf } from './request.js';
import { inTurn } from './turn.js';

/** A listener of `'upgrade'`. */
type OnUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** What `attachTo()` needs of an HTTP server: any of `node:http`, `node:https` and `node:http2` has it. */
export interface UpgradeSource {
  on(event: 'upgrade', listener: OnUpgrade): unknown;
  off(event: 'upgrade', listener: OnUpgrade): unknown;
  listenerCount(event: 'upgrade'): number;
}

/** How `attachTo()` attaches. */
export interface AttachOptions {
  /** The path whose upgrades are taken; others are left to whoever else listens. @default the server's `path` or `paths`, or any */
  path?: string;
}

/** Who takes upgrades. */
interface Taker {
  handle(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
}

/** One that is attached. */
interface Attached {
  taker: Taker;
  /** Whether its engine is over, which another thread may have seen to. */
  hasEnded(): boolean;
  /** null: all. */
  paths: readonly string[] | null;
}

/** Who is attached to a server, in order. */
const SERVERS = new WeakMap<UpgradeSource, { attached: Set<Attached>; listener: OnUpgrade }>();

/**
 * Has `taker` take what comes to `server` for `paths`.
 *
 * @returns what ends that
 */
export function attach(
  server: UpgradeSource,
  engine: Pick<Attached, 'hasEnded'>,
  taker: Taker,
  paths: readonly string[] | null,
): () => void {
  let entry = SERVERS.get(server);
  if (entry === undefined) {
    const attached = new Set<Attached>();
    const listener: OnUpgrade = (request, socket, head) => dispatch(server, attached, request, socket, head);
    entry = { attached, listener };
    SERVERS.set(server, entry);
    server.on('upgrade', listener);
  }
  const { attached, listener } = entry;
  const one = { taker, hasEnded: engine.hasEnded, paths };
  attached.add(one);
  return () => {
    if (!attached.delete(one) || attached.size > 0) return;
    SERVERS.delete(server);
    server.off('upgrade', listener);
  };
}

function dispatch(server: UpgradeSource, attached: Set<Attached>, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const alone = server.listenerCount('upgrade') === 1;
  // Somebody listens, and to Node everything with an `Upgrade` is one.
  if (alone && !asksForWebSocket(request) && giveBack(server, request, socket, head)) return;
  const path = pathOf(request);
  for (const { taker, hasEnded, paths } of attached) {
    if (hasEnded() || (paths !== null && !paths.includes(path))) continue;
    taker.handle(request, socket, head);
    return;
  }
  // Node leaves a socket alone as soon as anybody listens: without an answer it would stay open for ever.
  if (alone && !socket.destroyed) inTurn(request, socket, () => refuse(socket, 404));
}

/**
 * The paths to attach with.
 *
 * @param own the paths the server itself serves, null for any
 * @throws TypeError for what is no HTTP server; WSEConfigError for an option that is wrong.
 */
export function toPaths(server: UpgradeSource, options: AttachOptions, own: readonly string[] | null): readonly string[] | null {
  if (typeof server?.on !== 'function' || typeof server.off !== 'function' || typeof server.listenerCount !== 'function') {
    throw new TypeError(`httpServer must be an http.Server, not ${describe(server)}`);
  }
  const reader = new OptionReader(options, 'options');
  const path = reader.has('path') ? reader.text('path') : null;
  reader.done(suggestOption);
  if (path === null) return own;
  checkPath(reader, 'path', path);
  if (own?.includes(path) === false) {
    reader.fail(
      'path',
      `'${path}' is none of the paths this server serves (${own.join(', ')}): each request would be answered 404`,
    );
  }
  return [path];
}
