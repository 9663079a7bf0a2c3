// One connection of the load.
//
// Owns: a socket, the upgrade, answering pings, being frozen (it reads nothing, as a laptop whose lid was closed).
// Never: reconnects by itself (generator.mjs decides), counts.

import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { CLOSE, controlFrame, FrameReader, PING, PONG } from './frames.mjs';

const KEY = randomBytes(16).toString('base64');
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const HEAD_LIMIT = 4096;
const BUFFER_BYTES = 64 * 1024;
// A read is finished before the next begins, so all sockets share one buffer; on Windows reads are under way at once.
const shared = process.platform === 'win32' ? null : Buffer.allocUnsafe(BUFFER_BYTES);

export class Client {
  open = false;
  #socket;
  #head = '';
  #reader;
  #events;

  /** @param {{ opened(): void, message(stamp: number, bytes: number): void, pong(payload: Buffer): void, closed(): void }} events */
  constructor(port, path, events) {
    this.#events = events;
    this.#reader = new FrameReader({
      message: events.message,
      control: (opcode, payload) => this.#control(opcode, payload),
    });
    this.#socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: shared ?? Buffer.allocUnsafe(4096),
        callback: (n, buffer) => {
          this.#read(buffer.subarray(0, n));
          return true;
        },
      },
    });
    this.#socket.once('connect', () => {
      this.#socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      );
    });
    this.#socket.on('error', () => {}); // `close` follows
    this.#socket.once('end', () => this.#socket.destroy());
    this.#socket.once('close', () => {
      this.open = false;
      events.closed();
    });
  }

  ping(payload) {
    if (this.open) this.#socket.write(controlFrame(PING, payload));
  }

  freeze(frozen) {
    if (frozen) this.#socket.pause();
    else this.#socket.resume();
  }

  destroy() {
    this.#socket.destroy();
  }

  #read(chunk) {
    if (this.open) return this.#reader.push(chunk);
    this.#head += chunk.latin1Slice();
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0 && this.#head.length < HEAD_LIMIT) return;
    if (!this.#head.startsWith('HTTP/1.1 101 ') || !this.#head.includes(ACCEPT)) return this.destroy();
    this.open = true;
    this.#events.opened();
    const rest = this.#head.slice(end + 4);
    this.#head = '';
    if (rest !== '') this.#reader.push(Buffer.from(rest, 'latin1'));
  }

  #control(opcode, payload) {
    if (opcode === PING) this.#socket.write(controlFrame(PONG, payload));
    else if (opcode === PONG) this.#events.pong(payload);
    else if (opcode === CLOSE) this.destroy();
  }
}
