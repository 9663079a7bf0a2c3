// Answers the tabs: who may subscribe to what, and who may say what.
//
// Owns: the application's half of the protocol. The engine answers client_hello and ping by itself; subscription_update
// and publish come here. A tab may listen to the feed, talk in the topics `chat` and `chat.<room>`, and steer the load within
// its bounds, nothing else.
// Never: trusts a field of a message. Everything is checked, cut to size, and bounded per connection and in total.

import { wallClock } from './public/clock.mjs';
import { ALL_ROOMS, FEED_TOPICS, TABS } from './public/topics.mjs';
import { createReturning } from './returning.mjs';
import { welcomeTab } from './tabs.mjs';

const FEED = new Set(FEED_TOPICS);
const CHAT_TOPIC = /^chat(\.[a-z0-9_-]{1,32})?$/i;
const MAX_TOPICS = 64;
const MAX_NICK = 24;
const MAX_TEXT = 500;
const CHAT_HISTORY = 50;
const BURST = 10;
const PER_SECOND = 4;

export function createHub({ server, publisher, feed, load }) {
  const allowances = new Map(); // conn -> { left, at }
  const said = [];

  const change = {
    subscribe(conn, topics) {
      try {
        server.subscribeConnection(conn, topics);
        return true;
      } catch (error) {
        if (error?.code !== 'WSE_SUBSCRIPTION_LIMIT') throw error;
        return false;
      }
    },
    unsubscribe(conn, topics) {
      server.unsubscribeConnection(conn, topics);
      return true;
    },
  };

  const handlers = {
    subscription_update(conn, { action, topics, recover, recovery }) {
      const asked = Array.isArray(topics) ? topics.slice(0, MAX_TOPICS).filter((topic) => typeof topic === 'string') : [];
      // A subscription is answered with the whole picture, the dearest thing a tab can ask for.
      const allowed = spend(conn) ? asked.filter(maySubscribe) : [];
      if (action === 'subscribe' && recover === true && allowed.length > 0) {
        const failed = asked.filter((topic) => !allowed.includes(topic));
        return returning
          .comeBack(conn, allowed, failed, recovery)
          .then((granted) => granted.includes(TABS) && welcomeTab(server, conn, reply))
          .catch(report);
      }
      const done = allowed.length > 0 && Object.hasOwn(change, action) && change[action](conn, allowed);
      const granted = done ? allowed : [];
      // Only this thread publishes and nothing is awaited here, so the reply and the picture so far come before the
      // first live reading: the connection's queue is ordered.
      reply(conn, 'subscription_update', {
        action: typeof action === 'string' ? action.slice(0, 16) : null,
        success: done,
        success_topics: granted,
        failed_topics: asked.filter((topic) => !granted.includes(topic)),
        ...(done && action === 'subscribe' && { recovery: returning.positions(granted) }),
      });
      if (!done || action !== 'subscribe') return;
      picture(conn);
      if (granted.includes(TABS)) welcomeTab(server, conn, reply);
    },

    publish(conn, { topic, text, nick, sender }) {
      const line = clean(text, MAX_TEXT);
      if (typeof topic !== 'string' || !CHAT_TOPIC.test(topic)) {
        return refuse(conn, 'This page may publish to chat and chat.<room> only.');
      }
      if (line === '') return refuse(conn, 'A message needs some text.');
      if (!spend(conn)) return refuse(conn, 'Too many messages at once: wait a second.');
      const message = {
        topic,
        nick: clean(nick, MAX_NICK) || 'somebody',
        text: line,
        sender: clean(sender, 40),
        at: wallClock(),
      };
      said.push(message);
      if (said.length > CHAT_HISTORY) said.shift();
      // Every room is also a topic of its own; the type stays `chat` in all of them.
      publisher.publish(topic, message, 'chat');
    },
  };

  const reply = (conn, t, p) => server.sendEvent(conn, { t, p });
  const picture = (conn) => reply(conn, 'dashboard_snapshot', { ...feed.snapshot(), chat: said });
  const returning = createReturning({ server, reply, picture });
  const report = (error) => server.isRunning() && console.error(error);
  const refuse = (conn, message) => reply(conn, 'error', { code: 'PUBLISH_REFUSED', message, recoverable: true });

  const steer = (conn, name, fields) => {
    const why = spend(conn) ? load.command(name, fields) : 'Too many changes at once: wait a second.';
    if (why !== null) reply(conn, 'error', { code: 'LOAD_REFUSED', message: why, recoverable: true });
  };

  const spend = (conn) => {
    const now = performance.now();
    const was = allowances.get(conn) ?? { left: BURST, at: now };
    const left = Math.min(BURST, was.left + ((now - was.at) / 1000) * PER_SECOND);
    allowances.set(conn, { left: Math.max(0, left - 1), at: now });
    return left >= 1;
  };

  return {
    handle([type, conn, payload]) {
      if (type === 'disconnect') allowances.delete(conn);
      if (type !== 'msg') return;
      const t = payload?.t;
      const p = payload?.p;
      if (typeof t !== 'string') return;
      const fields = typeof p === 'object' && p !== null ? p : {};
      if (Object.hasOwn(handlers, t)) handlers[t](conn, fields);
      else if (load.handles(t)) steer(conn, t, fields);
    },
  };
}

const maySubscribe = (topic) => FEED.has(topic) || topic === ALL_ROOMS || topic === TABS || CHAT_TOPIC.test(topic);

/** One line without control or direction-changing characters, cut by whole characters. */
function clean(value, max) {
  if (typeof value !== 'string') return '';
  const line = value
    .slice(0, max * 8)
    .replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, ' ')
    .trim();
  return [...line].slice(0, max).join('').toWellFormed();
}
