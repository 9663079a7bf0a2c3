/** What the tests of this folder share: `ws` clients with their frames, child processes with their lines. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type ClientOptions, WebSocket } from 'ws';
import type { RustWSEServer, WSEEvent, WSEMessage } from '../../src/index.js';
import type { TestServer } from '../support/server.js';
import { DEADLINE_MS, waitUntil, within } from '../support/wait.js';

export interface Frame {
  data: Buffer;
  binary: boolean;
}

/** How the engine's own pings begin. The first of them comes at any moment, so tests look at them apart from the rest. */
export const PING = '{"c":"WSE","t":"ping"';

/** A `ws` client. It offers permessage-deflate, as browsers do. */
export class Client implements Disposable {
  readonly socket: WebSocket;
  /** What came, without the engine's pings. */
  readonly frames: Frame[] = [];
  readonly pings: string[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(url: string, options: ClientOptions = {}) {
    this.socket = new WebSocket(url, { perMessageDeflate: true, ...options });
    this.socket.on('message', (data, binary) => {
      const text = binary ? '' : data.toString();
      if (text.startsWith(PING)) this.pings.push(text);
      else this.frames.push({ data: data as Buffer, binary });
    });
    this.socket.on('error', () => undefined); // `open` and `closed` tell
    const closed = new Promise<{ code: number; reason: string }>((resolve) => {
      this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.closed = closed;
  }

  static async open(url: string, options: ClientOptions = {}): Promise<Client> {
    const client = new Client(url, options);
    await within(once(client.socket, 'open'), 'open connection');
    return client;
  }

  /** The texts of the TEXT frames so far. */
  get texts(): string[] {
    return this.frames.filter(({ binary }) => !binary).map(({ data }) => data.toString());
  }

  /** The first frame that fits, from the beginning. */
  frame(wanted: (frame: Frame) => boolean, what = 'frame', deadlineMs: number = DEADLINE_MS): Promise<Frame> {
    let seen = 0;
    return waitUntil(
      () => {
        while (seen < this.frames.length) {
          const frame = this.frames[seen++] as Frame;
          if (wanted(frame)) return frame;
        }
        return undefined;
      },
      `${what} (of ${this.frames.length} frames)`,
      deadlineMs,
    );
  }

  /** The first TEXT frame that begins like this. */
  async text(prefix: string): Promise<string> {
    const { data } = await this.frame(({ data, binary }) => !binary && data.toString().startsWith(prefix), prefix);
    return data.toString();
  }

  /** The first BINARY frame that fits. */
  async bytes(wanted: (data: Buffer) => boolean = () => true): Promise<Buffer> {
    const { data } = await this.frame(({ data, binary }) => binary && wanted(data), 'binary frame');
    return data;
  }

  send(data: string | Uint8Array | object): void {
    this.socket.send(typeof data === 'string' || data instanceof Uint8Array ? data : JSON.stringify(data));
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}

/** A `ws` client and its connection id, whose connect event is taken. One at a time, or ids are mixed up. */
export async function join(
  { port, waitForEvent }: TestServer,
  path = '/wse',
  options: ClientOptions = {},
): Promise<{ client: Client; conn: number }> {
  const client = await Client.open(`ws://127.0.0.1:${port}${path}`, options);
  const [, conn] = await waitForEvent(([type]) => type === 'connect' || type === 'auth_connect');
  return { client, conn: conn as number };
}

/** Sends back what comes, as it came. */
export function echo([type, conn, payload]: WSEEvent, server: RustWSEServer): void {
  if (!server.isRunning()) return;
  if (type === 'raw') server.send(conn, payload);
  else if (type === 'bin') server.sendBytes(conn, payload);
}

/** What published applications answer to `subscription_update` (docs/protocol.md §8). False: it is another message. */
export function answerSubscription([type, conn, payload]: WSEEvent, server: RustWSEServer): boolean {
  if (type !== 'msg' || payload.t !== 'subscription_update') return false;
  const { action, topics } = payload.p as NonNullable<WSEMessage['p']> & { action: string; topics: string[] };
  if (action === 'subscribe') server.subscribeConnection(conn, topics);
  else server.unsubscribeConnection(conn, topics);
  server.sendEvent(conn, { t: 'subscription_update', p: { action, success: true, success_topics: topics, failed_topics: [] } });
  return true;
}

/** A child process, its lines, its end. Killed when it is disposed of. */
export class Child implements AsyncDisposable {
  readonly out: string[] = [];
  readonly err: string[] = [];
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly #process: ChildProcess;

  constructor(program: string, args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    const child = spawn(program, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
    createInterface({ input: child.stdout }).on('line', (line) => this.out.push(line));
    createInterface({ input: child.stderr }).on('line', (line) => this.err.push(line));
    child.stdin.on('error', () => undefined); // it ended first
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', (code, signal) => resolve(code ?? signal ?? 'gone'));
    });
    this.#process = child;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null && this.#process.pid !== undefined;
  }

  say(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  /** The first line of its output that fits. */
  line(wanted: (line: string) => boolean, what: string, deadlineMs: number = DEADLINE_MS): Promise<string> {
    const find = () => {
      const found = this.out.find(wanted);
      if (found === undefined && !this.running) throw new Error(`it ended before ${what}: ${this.err.join('\n')}`);
      return found;
    };
    return waitUntil(find, what, deadlineMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) this.#process.kill('SIGKILL');
    await this.ended;
  }
}

/** Disposes of several things of one kind. */
export function all(items: readonly Disposable[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const item of items) item[Symbol.dispose]();
    },
  };
}

interface PeerTools {
  ensureBrowser(): Promise<string>;
  ensurePythonClient(): Promise<string>;
  ensureAutobahn(): Promise<{ python: string; home: string } | undefined>;
}

/** The same steps as `npm test` takes; they fail when a peer can neither be found nor installed. */
const peerTools = async (): Promise<PeerTools> => import(new URL('../../../scripts/lib/peers.mjs', import.meta.url).href);

/** A Python that has the published client. */
export const findPython = async (): Promise<string> => (await peerTools()).ensurePythonClient();

/** A Python 2.7 and where it finds the Autobahn suite; undefined: this machine has none. */
export const findAutobahn = async (): ReturnType<PeerTools['ensureAutobahn']> => (await peerTools()).ensureAutobahn();

/** A Chromium. */
export const findChromium = async (): Promise<string> => process.env['CHROMIUM'] ?? (await peerTools()).ensureBrowser();
