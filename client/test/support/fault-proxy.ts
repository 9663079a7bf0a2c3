/**
 * Fault proxy: a WebSocket server between a client and a server, which delays, drops, duplicates, reorders and cuts whole frames
 * (messages, as applications see them). What happens to a frame follows from the seed, the connection, the direction and the frame's
 * number alone, never from time, so a seed that is printed can be run again. It knows nothing of what the frames say. Pings
 * and pongs of the protocol (RFC 6455 §5.5) end at it, extensions are not agreed on, and what waits in it has no limit: it is for tests.
 */

import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { type Faults, FrameLine, type Tally } from './frame-line.js';

export type { Direction, Fate, Faults, Frame, Rates } from './frame-line.js';
export { fateOf } from './frame-line.js';

/** What a proxy stands before, and what it does. */
export interface FaultProxyOptions {
  /** The server, `ws://host:port`; paths and queries are the client's. */
  readonly target: string;
  /** Gives each frame its fate. */
  readonly seed: number;
  /** How often what happens. @default nothing does */
  readonly faults?: Faults;
}

/** A pair of sockets: the client's, and the one to the server. */
interface Pair {
  readonly client: WebSocket;
  readonly server: WebSocket;
  readonly down: FrameLine;
  readonly up: FrameLine;
}

/** Codes that a close frame may carry (RFC 6455 §7.4); the others say that none was seen. */
const sendable = (code: number) => code >= 1000 && code !== 1004 && code !== 1005 && code !== 1006 && code !== 1015;
/** What belongs to one hop (RFC 6455 §4.1), or is written by `ws` itself. */
const HOP = /^(host|upgrade|connection|sec-websocket-.*)$/;

/** The first half of a frame as a server sends it (RFC 6455 §5.2): its header, and half of its bytes. */
function torn(data: Buffer, binary: boolean): Buffer {
  const head = Buffer.alloc(10);
  head[0] = 0x80 | (binary ? 2 : 1);
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(data.length), 2);
  return Buffer.concat([head, data.subarray(0, data.length >> 1)]);
}

/** A running proxy. */
export class FaultProxy implements AsyncDisposable {
  /** What clients connect to, without a path. */
  readonly url: string;
  /** What happened to frames so far, all connections together. */
  readonly tally: Tally = { passed: 0, drop: 0, duplicate: 0, reorder: 0, delay: 0, cut: 0 };
  /** Connections that were let through so far. */
  connections = 0;

  readonly #http: Server;
  readonly #pairs = new Set<Pair>();
  readonly #seed: number;
  #target: string;
  #faults: Faults;
  #refusing = false;
  #stalled = false;

  private constructor({ target, seed, faults = {} }: FaultProxyOptions, http: Server) {
    this.#http = http;
    this.#target = target;
    this.#seed = seed;
    this.#faults = faults;
    this.url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`;
    http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Starts one on a free port of the loopback. */
  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const http = createServer();
    await new Promise<void>((resolve, reject) => http.once('error', reject).listen(0, '127.0.0.1', resolve));
    return new FaultProxy(options, http);
  }

  /** Connections that are open. */
  get open(): number {
    return this.#pairs.size;
  }

  /** What happens to frames from now on; nothing: `{}`. */
  set faults(faults: Faults) {
    this.#faults = faults;
  }

  /** Where the next connections go: a server that came back has another port. */
  set target(url: string) {
    this.#target = url;
  }

  /** Whether attempts to connect are refused, as by a server that is not there. */
  set refusing(refusing: boolean) {
    this.#refusing = refusing;
  }

  /** Whether nothing passes in either direction while every socket stays open: a network that is dead and does not say so. */
  set stalled(stalled: boolean) {
    this.#stalled = stalled;
    for (const { down, up } of this.#pairs) for (const line of [down, up]) line.stalled = stalled;
  }

  /** Ends every connection without a close frame; what was on its way is lost. */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#end(pair);
  }

  /** Closes every connection, on both sides, with a code and behind what is on its way. */
  close(code: number, reason = ''): void {
    for (const { down, up } of this.#pairs) for (const line of [down, up]) line.end(code, Buffer.from(reason));
  }

  /** A line for a failing test: what to run again, and what happened. */
  toString(): string {
    return `seed ${this.#seed}, ${this.connections} connections, frames ${JSON.stringify(this.tally)}`;
  }

  /** Cuts every connection and frees the port. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#refusing = true;
    this.cut();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    if (this.#refusing) {
      socket.destroy();
      return;
    }
    const asked = request.headers['sec-websocket-protocol'];
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP.test(name)));
    const server = new WebSocket(`${this.#target}${request.url}`, asked?.split(/\s*,\s*/) ?? [], {
      headers: headers as Record<string, string | string[]>,
      perMessageDeflate: false,
    });
    const gone = () => server.terminate();
    socket.once('close', gone);
    server.on('error', () => socket.destroy());
    server.on('unexpected-response', (_, response) => {
      socket.end(`HTTP/1.1 ${response.statusCode} ${response.statusMessage}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      server.terminate();
    });
    server.once('open', () => {
      socket.off('close', gone);
      const door = new WebSocketServer({
        noServer: true,
        perMessageDeflate: false,
        handleProtocols: () => server.protocol || false,
      });
      // Before this returns: the server's first frame may be in the buffer already.
      door.handleUpgrade(request, socket, head, (client) => this.#join(client, server, socket));
    });
  }

  #join(client: WebSocket, server: WebSocket, socket: Duplex): void {
    const connection = ++this.connections;
    const line = (direction: 'up' | 'down', to: WebSocket) =>
      new FrameLine({
        seed: this.#seed,
        connection,
        direction,
        rates: () => this.#faults[direction] ?? {},
        tally: this.tally,
        send: (data, binary) => to.send(data, { binary }),
        close: (code, reason) => (sendable(code) ? to.close(code, reason) : code === 1005 ? to.close() : this.#end(pair)),
        cut: (data, binary) => {
          if (direction === 'down') socket.write(torn(data, binary));
          this.#end(pair);
        },
      });
    const pair: Pair = { client, server, down: line('down', client), up: line('up', server) };
    this.#pairs.add(pair);
    const ways: [WebSocket, FrameLine][] = [
      [server, pair.down],
      [client, pair.up],
    ];
    for (const [from, to] of ways) {
      to.stalled = this.#stalled;
      from.on('message', (data, binary) => to.put(data as Buffer, binary));
      from.on('close', (code, reason) => {
        to.end(code, reason);
        if (client.readyState === WebSocket.CLOSED && server.readyState === WebSocket.CLOSED) this.#end(pair);
      });
      from.on('error', () => this.#end(pair));
    }
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair);
    for (const line of [pair.down, pair.up]) line.clear();
    for (const socket of [pair.client, pair.server]) socket.terminate();
  }
}
