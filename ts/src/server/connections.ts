/** Who is connected, what they hear, and how they are sent away. */

import { toConn, toOptions, toText, toTexts } from '../bytes.js';
import { native, WSEError } from '../errors.js';
import { toCloseCode, toReason } from './lifecycle.js';
import { Outbound } from './outbound.js';

const KICK_CODE = 4300;
const UNKNOWN = -1;
const NO_BUDGET = -2;

/** What a connection may subscribe to: patterns with `*` (any run) and `?` (one byte). Deny wins. */
export interface TopicAcl {
  /** An empty list allows everything too: nothing at all is `deny: ['*']`. @default everything */
  allow?: readonly string[] | null;
  /** @default nothing */
  deny?: readonly string[] | null;
}

/** Base of `RustWSEServer`, which is the only one to construct. */
export abstract class Connections extends Outbound {
  /**
   * Subscribes a connection to topics and patterns. Topics its ACL does not allow are left out.
   *
   * @param options `queueGroup`: each publish reaches one member of the group instead of every subscriber
   * @returns how many topics were accepted; false: no such connection
   * @throws WSEError `WSE_SUBSCRIPTION_LIMIT` when `maxSubscriptionsPerConnection` leaves no room; TypeError for
   *   anything but strings; WSEStateError when the server does not run.
   */
  subscribeConnection(conn: number, topics: readonly string[], options: { queueGroup?: string } = {}): number | false {
    toConn(conn);
    const names = toTexts(topics, 'topics');
    const { queueGroup } = toOptions(options, 'options');
    const group = queueGroup === undefined ? null : toText(queueGroup, 'queueGroup');
    const engine = this.running();
    const accepted = native(() => engine.subscribe(conn, names, group));
    if (accepted === NO_BUDGET) {
      throw new WSEError('WSE_SUBSCRIPTION_LIMIT', 'the connection has no subscription left (maxSubscriptionsPerConnection)');
    }
    return accepted === UNKNOWN ? false : accepted;
  }

  /**
   * Ends subscriptions of a connection, queue groups included.
   *
   * @param topics @default all of them
   * @returns false: no such connection
   */
  unsubscribeConnection(conn: number, topics?: readonly string[] | null): boolean {
    toConn(conn);
    const names = topics === undefined || topics === null ? null : toTexts(topics, 'topics');
    const engine = this.running();
    return native(() => engine.unsubscribe(conn, names));
  }

  /**
   * Replaces the ACL of a connection. It is asked at subscribe and again at delivery.
   *
   * **An empty `allow` allows EVERYTHING** that `deny` does not forbid, as no `allow` does (the published rule): who computes that
   * nothing is allowed passes `{ deny: ['*'] }`, never `{ allow: [] }`.
   *
   * @returns false: no such connection
   */
  setTopicAcl(conn: number, acl: TopicAcl = {}): boolean {
    toConn(conn);
    toOptions(acl, 'acl');
    const allow = acl.allow === undefined || acl.allow === null ? null : toTexts(acl.allow, 'allow');
    const deny = acl.deny === undefined || acl.deny === null ? null : toTexts(acl.deny, 'deny');
    const engine = this.running();
    return native(() => engine.setTopicAcl(conn, allow, deny));
  }

  /**
   * Closes a connection.
   *
   * @param options `code` @default 4300, after which published clients reconnect; `reason` @default ''
   * @returns false: no such connection
   * @throws TypeError for a code that must not be sent; WSEStateError when the server does not run.
   */
  disconnect(conn: number, options: { code?: number; reason?: string } = {}): boolean {
    toConn(conn);
    toOptions(options, 'options');
    const code = toCloseCode(options.code ?? KICK_CODE);
    const reason = toReason(options.reason ?? '');
    const engine = this.running();
    return native(() => engine.disconnect(conn, code, reason));
  }

  /** How many connections are open. */
  getConnectionCount(): number {
    const engine = this.alive();
    return native(() => engine.connectionCount());
  }

  /** The ids of all open connections; a snapshot. */
  getConnections(): number[] {
    const engine = this.alive();
    return Array.from(native(() => engine.connections()));
  }

  /** The connection id clients know (a UUID), or null: no such connection. */
  getConnectionId(conn: number): string | null {
    toConn(conn);
    const engine = this.alive();
    return native(() => engine.connectionId(conn));
  }

  /** How many connections are subscribed to exactly this name; patterns and queue groups do not count. */
  getTopicSubscriberCount(topic: string): number {
    toText(topic, 'topic');
    const engine = this.alive();
    return native(() => engine.topicSubscriberCount(topic));
  }

  /** Members per queue group of a topic. */
  getQueueGroupInfo(topic: string): Record<string, number> {
    toText(topic, 'topic');
    const engine = this.alive();
    const groups = native(() => engine.queueGroupInfo(topic));
    return Object.fromEntries(groups.map(({ group, members }) => [group, members]));
  }
}
