/**
 * The way of a socket from the engine's port to Node's HTTP server: taken over with the bytes that were read of it. Reads no request;
 * who asks for what is the HTTP server's.
 */

import { closeSync } from 'node:fs';
import type { Server } from 'node:http';
import { Socket } from 'node:net';
import type { NativeSocket } from '../native/index.js';
import { SOURCES } from '../upgrade/sources.js';
import type { Upgrades } from '../upgrade/upgrades.js';
import type { EngineHandle } from './engine-handle.js';
import { answerProbes, type Probes } from './probes.js';
import { track } from './tracking.js';

/** Sockets taken before other handles of the event loop have their turn. */
const SOCKETS = 64;

/** The door of one engine. */
export class HttpDoor {
  readonly #engine: EngineHandle;
  readonly #server: Server;
  readonly #upgrades: Upgrades;
  readonly #probes: Probes;
  /** Those that came through the engine's port. */
  readonly #sockets = new WeakSet<Socket>();
  /** How many of them are open. */
  #connections = 0;
  #open = false;
  #forget = (): void => {};
  #untrack = (): void => {};

  /**
   * @param upgrades takes the upgrades that come behind other requests of a connection
   * @param probes what the engine is asked for there
   */
  constructor(engine: EngineHandle, server: Server, upgrades: Upgrades, probes: Probes) {
    this.#engine = engine;
    this.#server = server;
    this.#upgrades = upgrades;
    this.#probes = probes;
    engine.onEnd(() => this.#close());
  }

  /** Begins to take sockets; those that have come already are taken at once. */
  open(): void {
    this.#open = true;
    this.#untrack = track(this.#server);
    this.#upgrades.attachTo(this.#server, {});
    if (this.#probes.paths.size > 0) {
      this.#forget = answerProbes(this.#server, this.#engine, this.#probes, (socket) => this.#sockets.has(socket));
    }
    this.#server.once('close', this.#refuse);
    this.#engine.calls.onSockets(this.#engine.id, this.#take);
  }

  /** The engine has ended: nothing comes any more, and who asks for nothing now has no reason to stay. */
  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#server.off('close', this.#refuse);
    this.#forget();
    this.#server.closeIdleConnections();
    this.#rest();
  }

  readonly #refuse = (): void => this.#engine.calls.refuseSockets(this.#engine.id);

  readonly #take = (): void => {
    for (let taken = 0; taken < SOCKETS; taken += 1) {
      const socket = this.#engine.calls.takeSocket(this.#engine.id);
      // The next wake comes only after a look that found none.
      if (socket === null) return;
      this.#admit(socket);
    }
    setImmediate(this.#take);
  };

  /** Gives a socket to the server as if that had accepted it. */
  #admit({ fd, head, source }: NativeSocket): void {
    const server = this.#server;
    let socket: Socket;
    try {
      socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    } catch {
      // A descriptor Node has no handle for: nobody else closes it.
      closeSync(fd);
      return;
    }
    // As in a server that listens: `undefined` and `null` are no limit.
    if (this.#connections >= (server.maxConnections ?? Number.POSITIVE_INFINITY)) {
      const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket;
      socket.destroy();
      shielded(() => server.emit('drop', { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily }));
      return;
    }
    this.#connections += 1;
    socket.once('close', this.#leave);
    this.#sockets.add(socket);
    SOURCES.set(socket, source);
    const admitted = shielded(() => {
      // Before the server listens for data. It flows at the end of this turn, hence before the first bytes of the socket itself, which
      // come with a later one: the server's parser reads those from the handle, past this stream.
      socket.unshift(head);
      server.emit('connection', socket);
    });
    if (!admitted) socket.destroy();
  }

  readonly #leave = (): void => {
    this.#connections -= 1;
    this.#rest();
  };

  /** Watches no connections any more once there are none and none comes. */
  #rest(): void {
    if (!this.#open && this.#connections === 0) this.#untrack();
  }
}

/** Runs listeners. As with a socket Node has accepted, nobody is there to catch what they throw; the others of this turn must not be
 * lost by it. */
function shielded(run: () => void): boolean {
  try {
    run();
    return true;
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
    return false;
  }
}
