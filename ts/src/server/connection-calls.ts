/** Who is connected, what they hear, and how they are sent away. */

import { toCloseCode, toConn, toFlag, toOptions, toReason, toText, toTexts } from '../arguments.js';
import type { Adoption, JsonValue, PresenceMember, PresenceStats } from '../events.js';
import { objectToJson, replaceLoneSurrogates } from '../json.js';
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
  /** {@link PresenceSubscribeOptions} has it. */
  presence?: undefined;
}

/** How {@link RustWSEServer.subscribeConnection} subscribes, and makes the user of the connection present. */
export interface PresenceSubscribeOptions extends Omit<SubscribeOptions, 'queueGroup' | 'presence'> {
  /** A JSON object that the others on the topics see: a name, a status. At most `presence.maxDataSize` bytes as JSON. */
  presence: object;
}

/** Why a connection is subscribed to a topic without its user being present there. */
export type PresenceRefusal =
  | 'WSE_PRESENCE_OFF'
  | 'WSE_PRESENCE_NO_USER'
  | 'WSE_PRESENCE_TOO_LARGE'
  | 'WSE_PRESENCE_FULL'
  | 'WSE_OVERLOADED';

/** What has become of a subscription with presence. */
export interface PresenceSubscription {
  /** How many topics and patterns were accepted. */
  accepted: number;
  /** On how many topics the user is present by this connection; nobody is present on patterns. */
  present: number;
  /** On how many they are not, or with their data of before, and why (of the first); null: nothing was refused. */
  refused: { code: PresenceRefusal; topics: number } | null;
}

/** The calls of one facade about connections. What each promises is said at the methods of `RustWSEServer`. */
export class ConnectionCalls {
  readonly #engine: EngineHandle;
  /** Bytes of presence data at most; 0: there is no presence. Asked for once. */
  #maxData: number | undefined;

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

  subscribePresent(conn: number, topics: readonly string[], options: PresenceSubscribeOptions): PresenceSubscription | false {
    toConn(conn);
    const names = toTexts(topics, 'topics');
    const { exact = false, presence } = options;
    if ((options as { queueGroup?: unknown }).queueGroup !== undefined) {
      throw new TypeError('presence is for those who get what is published, not for a queueGroup');
    }
    if (toFlag(exact, 'exact')) names.forEach((name, index) => toTopicName(name, `topics[${index}]`));
    const data = this.#data(presence, 'presence');
    const done = this.#engine.command((engine) => engine.subscribePresent(conn, names, data));
    if (done === null) return false;
    const { accepted, present, refused, code } = done;
    const why = code === null || code === undefined ? null : { code: code as PresenceRefusal, topics: refused };
    return { accepted, present, refused: why };
  }

  updatePresence(conn: number, data: object): number | false {
    toConn(conn);
    const json = this.#data(data, 'data');
    return this.#engine.command((engine) => engine.updatePresence(conn, json)) ?? false;
  }

  presence(topic: string): Record<string, PresenceMember> {
    toText(topic, 'topic');
    return JSON.parse(this.#engine.ask((engine) => engine.presence(topic))) as Record<string, PresenceMember>;
  }

  presenceStats(topic: string): PresenceStats {
    toText(topic, 'topic');
    return this.#engine.ask((engine) => engine.presenceStats(topic));
  }

  /** The JSON text of presence data; null: it is longer than the engine takes, and does not cross at all. */
  #data(value: unknown, name: string): string | null {
    const json = replaceLoneSurrogates(objectToJson(value, name));
    this.#maxData ??= this.#engine.ask((engine) => engine.maxPresenceData()) ?? 0;
    // In UTF-8 it is no shorter.
    return this.#maxData > 0 && json.length > this.#maxData ? null : json;
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
