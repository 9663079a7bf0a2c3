/** Who is connected, what they hear, and how they are sent away. */

import { toCloseCode, toConn, toFlag, toOptions, toReason, toText, toTexts } from '../arguments.js';
import type { Adoption, JsonValue } from '../events.js';
import { toTopicName } from '../topic.js';
import type { EngineHandle } from './engine-handle.js';

const KICK_CODE = 4300;

/** What a connection may subscribe to: patterns with `*` (any run) and `?` (one byte). Deny wins. */
export interface TopicAcl {
  /** An empty list allows everything too: nothing at all is `deny: ['*']`. @default everything */
  allow?: readonly string[] | null;
  /** @default nothing */
  deny?: readonly string[] | null;
}

/** What is known of a connection. */
export interface ConnectionInfo extends Adoption {
  /** Bytes that wait for its socket, rounded up to an even number; what it is sent while its socket takes more never waits. */
  queuedBytes: number;
  /** Topics and patterns it is subscribed to; one that was added or removed a moment ago may not be counted in yet. */
  topics: string[];
  /** Queue groups it is a member of. */
  queueGroups: { topic: string; group: string }[];
}

/** How {@link RustWSEServer.subscribeConnection} subscribes. */
export interface SubscribeOptions {
  /** Join this group: each publication reaches one of its members instead of every subscriber. @default none */
  queueGroup?: string;
  /**
   * Take each topic as a name and refuse patterns (`*`, `?`) and the empty name: for topics made of what somebody else wrote.
   * @default false
   */
  exact?: boolean;
}

/** The calls of one facade about connections. What each promises is said at the methods of `RustWSEServer`. */
export class ConnectionCalls {
  readonly #engine: EngineHandle;

  constructor(engine: EngineHandle) {
    this.#engine = engine;
  }

  subscribe(conn: number, topics: readonly string[], options: SubscribeOptions): number | false {
    toConn(conn);
    const names = toTexts(topics, 'topics');
    const { queueGroup, exact = false } = toOptions(options, 'options');
    if (toFlag(exact, 'exact')) names.forEach((name, index) => toTopicName(name, `topics[${index}]`));
    const group = queueGroup === undefined ? null : toText(queueGroup, 'queueGroup');
    return this.#engine.command((engine) => engine.subscribe(conn, names, group)) ?? false;
  }

  unsubscribe(conn: number, topics: readonly string[] | null | undefined): boolean {
    toConn(conn);
    const names = toTextsOrNull(topics, 'topics');
    return this.#engine.command((engine) => engine.unsubscribe(conn, names));
  }

  setTopicAcl(conn: number, acl: TopicAcl): boolean {
    toConn(conn);
    toOptions(acl, 'acl');
    const allow = toTextsOrNull(acl.allow, 'allow');
    const deny = toTextsOrNull(acl.deny, 'deny');
    return this.#engine.command((engine) => engine.setTopicAcl(conn, allow, deny));
  }

  disconnect(conn: number, options: { code?: number; reason?: string }): boolean {
    toConn(conn);
    const { code, reason } = toClose(options);
    return this.#engine.command((engine) => engine.disconnect(conn, code, reason));
  }

  disconnectUser(user: string, options: { code?: number; reason?: string }): number {
    const { code, reason } = toClose(options);
    const conns = this.ofUser(user);
    return this.#engine.command((engine) => conns.filter((conn) => engine.disconnect(conn, code, reason)).length);
  }

  ofUser(user: string): number[] {
    toText(user, 'user');
    return Array.from(this.#engine.ask((engine) => engine.userConnections(user)));
  }

  info(conn: number): ConnectionInfo | null {
    toConn(conn);
    const info = this.#engine.ask((engine) => engine.connectionInfo(conn));
    if (info === null) return null;
    const { user, data, protocol } = info;
    const parsed = (data ?? null) === null ? null : (JSON.parse(data as string) as JsonValue);
    return { ...info, user: user ?? null, data: parsed, protocol: protocol ?? null, connectedAt: new Date(info.connectedAt) };
  }

  count(): number {
    return this.#engine.ask((engine) => engine.connectionCount());
  }

  ids(): number[] {
    return Array.from(this.#engine.ask((engine) => engine.connections()));
  }

  uuid(conn: number): string | null {
    toConn(conn);
    return this.#engine.ask((engine) => engine.connectionId(conn));
  }

  protocol(conn: number): string | null {
    toConn(conn);
    return this.#engine.ask((engine) => engine.connectionProtocol(conn));
  }

  subscriberCount(topic: string): number {
    toText(topic, 'topic');
    return this.#engine.ask((engine) => engine.topicSubscriberCount(topic));
  }

  queueGroups(topic: string): Record<string, number> {
    toText(topic, 'topic');
    const groups = this.#engine.ask((engine) => engine.queueGroupInfo(topic));
    return Object.fromEntries(groups.map(({ group, members }) => [group, members]));
  }
}

function toClose(options: { code?: number; reason?: string }): { code: number; reason: string } {
  const { code = KICK_CODE, reason = '' } = toOptions(options, 'options');
  return { code: toCloseCode(code), reason: toReason(reason) };
}

function toTextsOrNull(value: unknown, name: string): string[] | null {
  return value === undefined || value === null ? null : toTexts(value, name);
}
