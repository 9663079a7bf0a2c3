/** A network between a client and a server that may be bad: it cuts connections in the middle of a byte stream, and holds them up. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** One client's way to the server and back. */
interface Way {
  client: Socket;
  upstream: Socket;
  /** The client has said something after its request for an upgrade. */
  talks: boolean;
}

/** Forwards TCP to a port of this machine. */
export class BadNetwork implements AsyncDisposable {
  /** Bytes behind the answer to the upgrade after which the next connection is cut. @default it is not */
  life: () => number = () => Number.POSITIVE_INFINITY;
  /** Connections cut so far. */
  cuts = 0;
  readonly #server: Server;
  readonly #ways = new Set<Way>();

  private constructor(to: number) {
    this.#server = createServer((client) => this.#carry(client, connect(to, '127.0.0.1')));
  }

  static async to(port: number): Promise<BadNetwork> {
    const network = new BadNetwork(port);
    await once(network.#server.listen(0, '127.0.0.1'), 'listening');
    return network;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts every connection, now. */
  cut(): void {
    for (const way of [...this.#ways]) this.#cut(way);
  }

  /** Takes nothing from the server any more until `resume()`. */
  pause(): void {
    for (const { upstream } of this.#ways) upstream.pause();
  }

  resume(): void {
    for (const { upstream } of this.#ways) upstream.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.life = () => Number.POSITIVE_INFINITY;
    for (const { client, upstream } of this.#ways) {
      client.destroy();
      upstream.destroy();
    }
    this.#server.close();
  }

  #carry(client: Socket, upstream: Socket): void {
    const way: Way = { client, upstream, talks: false };
    this.#ways.add(way);
    let left = Number.POSITIVE_INFINITY;
    let answered = false;
    client.on('data', (bytes) => {
      way.talks = answered;
      upstream.write(bytes);
    });
    upstream.on('data', (bytes: Buffer) => {
      let from = 0;
      if (!answered) {
        // Published clients give up for good when an upgrade fails: it never does. Engine and proxy are on one machine, the head is one read.
        const end = bytes.indexOf('\r\n\r\n');
        answered = end >= 0;
        if (answered) left = this.life();
        from = answered ? end + 4 : bytes.length;
      }
      const passed = bytes.subarray(0, Math.min(bytes.length, from + left));
      left -= passed.length - from;
      client.write(passed);
      if (left <= 0) this.#cut(way);
    });
    for (const socket of [client, upstream]) {
      socket.on('error', () => undefined); // the end follows
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
        this.#ways.delete(way);
      });
    }
  }

  /** Without a Close: a reset where the client is known to have read the upgrade, which a reset could take back; else an end. */
  #cut({ client, upstream, talks }: Way): void {
    this.cuts++;
    upstream.removeAllListeners('data');
    upstream.resetAndDestroy();
    if (talks && this.cuts % 2 === 0) client.resetAndDestroy();
    else client.destroySoon();
  }
}
