/**
 * Published server: what the published (2.x) server does on the wire, its mistakes included, and the application in front of it that its
 * examples show. It is built from the golden vectors, and held to them. Owns streams and connections; it never helps a client more
 * than the original would.
 */

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { deflateSync } from 'node:zlib';
import { encode as pack } from '@msgpack/msgpack';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { waitUntil } from '../../../ts/test/support/wait.js';

type Json = Record<string, unknown>;

/** A message of a client. */
export interface Said {
  readonly t: string;
  readonly p: Json;
  readonly [member: string]: unknown;
}

/** How a server differs from the usual one. */
export interface PublishedOptions {
  /** Tokens that count; with them the server says `server_ready`. @default none: no JWT, and no `server_ready` */
  readonly tokens?: ReadonlySet<string>;
  /** Milliseconds until `server_ready`. @default 0 */
  readonly readyAfter?: number;
  /** Messages a topic's ring keeps; 0: no recovery. @default 128 */
  readonly ring?: number;
  /** What the application does with `subscription_update`: answers before or behind the replay, or never; or leaves out `success`. @default 'before' */
  readonly reply?: 'before' | 'behind' | 'never' | 'bare';
  /** Milliseconds until the application gets round to it. @default 0 */
  readonly replyAfter?: number;
}

/** JSON with the members of every object in alphabetical order, as everything but a handful of texts is. */
export const sorted = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );

/** The text of `server_ready`. */
export const serverReady = (of: {
  id: string;
  connection_id: string;
  user_id: string | null;
  recovery: boolean;
  now: Date;
}): string => {
  const features = {
    ...{ batching: true, circuit_breaker: true, compression: true, encryption: false, priority_queue: true },
    ...{ recovery: of.recovery, rust_jwt: of.user_id !== null, rust_transport: true },
  };
  const { connection_id, now } = of;
  const user = of.user_id === null ? {} : { user_id: of.user_id };
  const details = { connection_id, features, server_time: now, ...user, version: 1 };
  const p = { details, message: 'Connection established (Rust transport)' };
  return sorted(JSON.parse(JSON.stringify({ c: 'WSE', id: of.id, p, seq: 1, t: 'server_ready', ts: now, v: 1 })));
};

/** A published text with its category, and its stamp where `epoch` is given: behind the opening brace, as text. */
export const stamped = (topic: string, epoch: number, offset: number, text: string): string => {
  const rest = text.trimStart().slice(1).trimStart();
  const t = /^\{\s*"t":"([^"]*)"/.exec(text)?.[1];
  const category = text.includes('"c":') ? '' : `"c":"${/_snapshot|^snapshot_/.test(t ?? '') ? 'S' : 'U'}",`;
  const stamp = `"tp":${JSON.stringify(topic)},"e":"${epoch.toString(16).padStart(8, '0')}","o":${offset}`;
  return rest.startsWith('}') ? `{${stamp}${rest}` : `{${stamp},${category}${rest}`;
};

/** One client's connection. */
export class PublishedConnection {
  /** What it said, and was not taken. */
  readonly said: Said[] = [];
  /** Frames as they came. */
  readonly frames: { readonly data: string; readonly binary: boolean }[] = [];
  readonly topics: Set<string> = new Set();
  readonly id: string = randomUUID();
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  closed: number | undefined;
  #seq = 0;

  constructor(socket: WebSocket, request: IncomingMessage) {
    this.socket = socket;
    this.request = request;
  }

  /** `send()`: verbatim TEXT. */
  text(text: string): void {
    this.socket.send(text);
  }

  /** `send_event()`: BINARY JSON, `C:` beyond 1,024 bytes, `M:` for connections with `format=msgpack`. */
  event(type: string, payload: unknown, more: Json = {}): void {
    const ts = new Date().toISOString();
    const event = { id: randomUUID(), ts, seq: this.#seq++, ...more, t: type, p: payload, c: 'U', v: 1 };
    const json = Buffer.from(sorted(event));
    const packed = this.request.url?.includes('format=msgpack');
    if (packed) this.socket.send(Buffer.concat([Buffer.from('M:'), pack(event)]));
    else if (json.length > 1_024) this.socket.send(Buffer.concat([Buffer.from('C:'), deflateSync(json, { level: 1 })]));
    else this.socket.send(json);
  }

  /** The next message of a type, waiting for it; each is returned once. */
  async next(t: string): Promise<Said> {
    const index = await waitUntil(
      () => this.said.findIndex((message) => message.t === t) + 1,
      () => `${t} among ${this.said.map((message) => message.t)}`,
    );
    return this.said.splice(index - 1, 1)[0] as Said;
  }

  /** How many messages of a type came and were not taken. */
  count(t: string): number {
    return this.said.filter((message) => message.t === t).length;
  }
}

interface Ring {
  readonly epoch: number;
  head: number;
  texts: string[];
}

/** The server. */
export class PublishedServer {
  readonly connections: PublishedConnection[] = [];
  readonly url: string;
  readonly #options: PublishedOptions;
  readonly #rings = new Map<string, Ring>();
  #epochs = 0x0a1b2c3d;

  private constructor(server: WebSocketServer, options: PublishedOptions) {
    this.#options = options;
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/wse`;
    server.on('connection', (socket, request) => this.#accept(new PublishedConnection(socket, request)));
    onTestFinished(() => {
      for (const socket of server.clients) socket.terminate();
      server.close();
    });
  }

  static async start(options: PublishedOptions = {}): Promise<PublishedServer> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
    await once(server, 'listening');
    return new PublishedServer(server, options);
  }

  /** The n-th connection, waiting for it. */
  async connection(index: number): Promise<PublishedConnection> {
    await waitUntil(() => this.connections.length > index, `connection ${index}`);
    return this.connections[index] as PublishedConnection;
  }

  /** `broadcast()`: TEXT, stamped from offset 0 on where recovery is on. `reach`: whether it goes out, or is dropped at a slow consumer. */
  publish(topic: string, type: string, payload: unknown, reach = true): void {
    const text = JSON.stringify({ t: type, p: payload });
    const { ring = 128 } = this.#options;
    let frame = text.replace('{', '{"c":"U",');
    if (ring > 0) {
      const line = this.#rings.get(topic) ?? { epoch: this.#epochs++, head: 0, texts: [] };
      this.#rings.set(topic, line);
      frame = stamped(topic, line.epoch, line.head++, text);
      line.texts = [...line.texts, frame].slice(-ring);
    }
    if (!reach) return;
    for (const connection of this.connections) if (connection.topics.has(topic)) connection.text(frame);
  }

  /** The ring of a topic is dropped (`recovery_ttl`, memory): what comes next is another epoch. */
  forget(topic: string): void {
    this.#rings.delete(topic);
  }

  /** Presence: no topic, no `v`, no stamp. */
  presence(kind: 'join' | 'leave' | 'update', user: string, data: unknown): void {
    for (const connection of this.connections) {
      connection.text(sorted({ c: 'WSE', p: { data, user_id: user }, t: `presence_${kind}` }));
    }
  }

  /** What `subscription_update` with `recover` gets: its replay, and the entry of the reply. */
  #recover(topic: string, from: { epoch?: unknown; offset?: unknown } | undefined): { entry: Json; replay: string[] } {
    const line = this.#rings.get(topic);
    if (!line) return { entry: { epoch: null, offset: 0, recovered: false, count: 0 }, replay: [] };
    const epoch = line.epoch.toString(16).padStart(8, '0');
    const missing = line.head - 1 - Number(from?.offset);
    const recovered = from?.epoch === epoch && missing <= line.texts.length && missing >= 0;
    const replay = recovered && missing > 0 ? line.texts.slice(-missing) : [];
    return { entry: { epoch, offset: line.head - 1, recovered, count: replay.length }, replay };
  }

  /** The application of the examples. */
  #subscribe(connection: PublishedConnection, { p }: Said): void {
    const { reply = 'before', ring = 128 } = this.#options;
    const topics = p['topics'] as string[];
    for (const topic of topics) connection.topics[p['action'] === 'subscribe' ? 'add' : 'delete'](topic);
    if (reply === 'never') return;
    const recovery: Json = {};
    const replay: string[] = [];
    const asked = p['recover'] === true ? ((p['recovery'] ?? {}) as Record<string, Json>) : {};
    for (const topic of ring > 0 && p['action'] === 'subscribe' ? topics : []) {
      const found = this.#recover(topic, asked[topic]);
      recovery[topic] = found.entry;
      replay.push(...found.replay);
    }
    const body = {
      action: p['action'],
      ...(reply === 'bare' ? { topics } : { success: true, success_topics: topics, failed_topics: [] }),
      ...(Object.keys(recovery).length > 0 && { recovery, recoverable: true }),
    };
    const frames = [sorted({ c: 'WSE', t: 'subscription_update', p: body }), ...replay];
    if (reply === 'behind') frames.push(frames.shift() as string);
    for (const frame of frames) connection.text(frame);
  }

  #accept(connection: PublishedConnection): void {
    const { tokens, readyAfter, ring = 128, replyAfter } = this.#options;
    const { socket, request } = connection;
    this.connections.push(connection);
    socket.on('close', (code) => {
      connection.closed = code;
      connection.topics.clear();
    });
    if (tokens) {
      const token = /^Bearer (.*)/i.exec(request.headers.authorization ?? '')?.[1];
      if (token === undefined || !tokens.has(token)) {
        const code = token === undefined ? 'AUTH_REQUIRED' : 'AUTH_FAILED';
        connection.text(
          sorted({ c: 'WSE', p: { code, message: 'Authentication failed', timestamp: new Date() }, t: 'error', v: 1 }),
        );
        socket.close(4401, 'Authentication failed');
        return;
      }
      const of = { id: randomUUID(), connection_id: connection.id, user_id: 'ada', recovery: ring > 0, now: new Date() };
      if (readyAfter === undefined) connection.text(serverReady(of));
      else setTimeout(() => connection.text(serverReady(of)), readyAfter);
    }
    socket.on('message', (data, binary) => {
      const text = String(data);
      connection.frames.push({ data: text, binary });
      // Only plaintext TEXT is looked at, and what is larger than the limit cuts the connection without a word.
      if (text.length > 1_048_576) {
        socket.terminate();
        return;
      }
      const message = (/^PONG:/.test(text) ? { t: 'PONG:' } : JSON.parse(text)) as Said;
      connection.said.push(message);
      if (binary) return;
      if (message.t === 'ping') this.#pong(connection, message);
      if (message.t === 'client_hello') this.#hello(connection);
      if (message.t === 'subscription_update') {
        if (replyAfter === undefined) this.#subscribe(connection, message);
        else setTimeout(() => this.#subscribe(connection, message), replyAfter);
      }
    });
  }

  #pong(connection: PublishedConnection, { p }: Said): void {
    const now = Date.now();
    const sent = Number.isInteger(p['timestamp']) ? (p['timestamp'] as number) : 0;
    const body = { client_timestamp: sent, server_timestamp: now, latency: Math.max(0, now - sent) };
    connection.text(JSON.stringify({ c: 'WSE', t: 'PONG', p: body, v: 1 }));
  }

  #hello(connection: PublishedConnection): void {
    const features = {
      ...{ batching: true, cluster: false, compression: true, encryption: false, msgpack: true, priority_queue: true },
      // Of another release; nobody has to know it.
      ...{ recovery: (this.#options.ring ?? 128) > 0, warp_drive: { speed: 9 } },
    };
    const limits = { max_message_size: 1_048_576, rate_limit_capacity: 100_000, rate_limit_refill: 10_000 };
    const p = {
      connection_id: connection.id,
      features,
      limits,
      ping_interval: 25_000,
      protocol_version: 1,
      server_version: '2.4.1',
    };
    connection.text(sorted({ c: 'WSE', p: { ...p, server_time: new Date() }, t: 'server_hello', v: 1 }));
  }
}
