/** One facade's way from an upgraded socket of Node to the engine: its descriptor, or pumped. Listens to no server. */

import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { type BytesLike, toBytes } from '../bytes.js';
import { describe } from '../describe.js';
import type { EngineHandle } from '../server/engine-handle.js';
import { type AttachOptions, attach, toPaths, type UpgradeSource } from './attachments.js';
import { isHollow, plainOf } from './plain.js';
import { pump } from './pump.js';
import { refuse } from './refuse.js';
import { bytesOf, toUpgrade } from './request.js';
import { SOURCES } from './sources.js';
import { inTurn } from './turn.js';

/** Sockets that are the engine's, or were answered: whoever brings one again brings it too late. */
const TAKEN = new WeakSet<Duplex>();

/** What one facade does with upgrades of other servers. */
export class Upgrades {
  readonly #engine: EngineHandle;
  /** What the server serves; null: any path. */
  readonly #paths: readonly string[] | null;

  constructor(engine: EngineHandle, paths: readonly string[] | null) {
    this.#engine = engine;
    this.#paths = paths;
  }

  /** See `RustWSEServer.attachTo()`. */
  attachTo(server: UpgradeSource, options: AttachOptions): () => void {
    this.#engine.refuseStopped();
    const detach = attach(server, this.#engine, this, toPaths(server, options, this.#paths));
    // A start that fails ends nothing.
    const forget = this.#engine.onEnd(() => {
      if (this.#engine.phase === 'stopped' || this.#engine.hasEnded()) end();
    });
    const end = (): void => {
      forget();
      detach();
    };
    return end;
  }

  /** See `RustWSEServer.handleUpgrade()`. */
  handle(request: IncomingMessage, socket: Duplex, head: BytesLike | undefined): boolean {
    toUpgrade(request);
    if (!(socket instanceof Duplex)) throw new TypeError(`socket must be a Duplex stream, not ${describe(socket)}`);
    const early = head === undefined ? new Uint8Array() : toBytes(head, 'head');
    if (socket.destroyed || TAKEN.has(socket)) return false;
    TAKEN.add(socket);
    if (isHollow(socket)) {
      socket.destroy();
      return false;
    }
    inTurn(request, socket, () => this.#take(request, socket, early));
    return true;
  }

  #take(request: IncomingMessage, socket: Duplex, early: Uint8Array): void {
    const plain = plainOf(socket);
    if (plain === undefined) {
      pump(this.#engine, request, socket, early);
      return;
    }
    const bytes = bytesOf(request, [early, ...plain.takeRead()]);
    // Where it is not taken nothing was written, and Node still has its descriptor to answer by.
    if (this.#engine.raw((engine) => engine.takeUpgrade(plain.descriptor, bytes, SOURCES.get(socket)))) plain.giveUp();
    else refuse(socket, 503);
  }
}
