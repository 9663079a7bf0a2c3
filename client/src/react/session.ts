/**
 * One connection for all components that ask for the same: made when the first of them is there, kept over remounts, closed when the last is
 * gone for a while. Owns clients and the page's list of sessions. On a server it connects nowhere and lists nothing.
 */

import {
  type ClientOptions,
  type ConnectionState,
  connect,
  type Extension,
  type Off,
  type Position,
  type QualityReport,
  type WSEClient,
  WSEError,
} from '../index.js';
import { createTopicStore, enter, type TopicStore, type TopicStoreOptions } from './topic-store.js';

/**
 * How a session connects. `url`, a `token` that is a string, `tokenIn`, `protocols`, `headers`, `name` and `identity` are compared by value:
 * another one is another connection. Of a `token` that is a function the latest is called, at each attempt. `reduce`, `topicOf` and `schedule`
 * stay those of whoever came first; the rest counts as it is when a client is made.
 */
export interface SessionConfig extends Omit<ClientOptions, 'topics' | 'positions' | 'signal' | 'extensions'>, TopicStoreOptions {
  /** The server, or several. @default `/wse` of the page's own origin */
  readonly url?: string | URL | readonly (string | URL)[];
  /** Makes the extensions of a client, such as an outbox; each client has its own. */
  readonly extensions?: () => readonly Extension[];
  /** Keeps connections to the same server apart. */
  readonly name?: string;
  /** For whom a token function speaks: for another one another connection is made, without the topics' states of the former. */
  readonly identity?: string | undefined;
  /** How long a connection nobody uses is kept, ms: over a remount, a reload of modules, a change of pages. @default 5000 */
  readonly linger?: number;
  /** Called with each client that is made, before anything comes, such as `watchWindow`; what it returns is called when the client is given up. */
  readonly prepare?: ((client: WSEClient) => Off | undefined) | undefined;
}

/** The connection as it is drawn. Replaced, never changed. Grades of quality come with `quality: networkQuality()`; without it there is the latency alone. */
export interface ConnectionInfo extends QualityReport {
  readonly state: ConnectionState;
  /** Whether messages can be sent. */
  readonly isConnected: boolean;
  /** The endpoint of this or the last attempt. */
  readonly url?: string | undefined;
  /** Attempts that failed in a row. */
  readonly attempt: number;
  /** Milliseconds from the change of state until the next attempt. */
  readonly retryIn?: number | undefined;
  /** The close code that led to this state, and its reason. */
  readonly code?: number | undefined;
  readonly reason: string;
  /** Topics the server has confirmed. */
  readonly topics: readonly string[];
  /** Streams of which messages were declared lost, so often. */
  readonly losses: number;
}

/** A connection and its topics, shared by components. */
export interface Session {
  readonly store: TopicStore;
  /** The client; made where there is none and somebody uses the session or is about to. @throws WSEError `WSE_CLOSED` on a server, or when everybody has left */
  use(): WSEClient;
  /** The client, if there is one. */
  readonly client: WSEClient | undefined;
  /** What counts at the next attempt, and for the next client. */
  configure(config: SessionConfig): void;
  /** Somebody is there: connects, until what it returns is called, once. */
  acquire(): Off;
  /** Gives the client up and makes another one. */
  replace(): void;
  /** The connection as it was last drawn. */
  readonly info: ConnectionInfo;
  /** Calls `fn` when `info` was replaced. */
  watch(fn: () => void): Off;
}

/** A connection that was never tried: what a server renders. */
export const NOWHERE: ConnectionInfo = {
  state: 'pending',
  isConnected: false,
  attempt: 0,
  reason: '',
  topics: [],
  losses: 0,
  quality: 'unknown',
  latency: null,
  jitter: null,
  loss: 0,
  suggestions: [],
};

interface Listed extends Session {
  readonly place: string;
  /** Closes it if nobody is there. */
  retire(): void;
}

const sessions = new Map<string, Listed>();

/** What makes one connection the successor of another. */
const placeOf = ({ url, name }: SessionConfig): string => JSON.stringify([url, name]);

/** What makes two connections the same. */
export const keyOf = (config: SessionConfig): string => {
  const { identity, token, tokenIn, protocols, headers } = config;
  const who = typeof token === 'string' ? token : typeof token;
  return JSON.stringify([placeOf(config), who, identity, tokenIn, protocols, headers]);
};

/** The page's session for a config, or a new one. */
export function sessionFor(config: SessionConfig): Session {
  const key = keyOf(config);
  const session = sessions.get(key) ?? createSession(config, key);
  session.store.begin(config.initial);
  // A server renders for many: nothing of one request may be found by another.
  if ('window' in globalThis) sessions.set(key, session);
  return session;
}

function createSession(given: SessionConfig, key: string): Listed {
  const place = placeOf(given);
  const store = createTopicStore(given);
  const listeners = new Set<() => void>();
  let config = given;
  let client: WSEClient | undefined;
  let offs: Off[] = [];
  let uses = 0;
  let timer: unknown;
  let info = NOWHERE;
  let next: Partial<ConnectionInfo> = {};
  let losses = 0;

  const draw = (): void => {
    info = { ...info, ...next };
    next = {};
    for (const fn of [...listeners]) fn();
  };
  const change = (part: Partial<ConnectionInfo>): void => {
    // First: a schedule may draw at once.
    next = { ...next, ...part };
    store.draw(draw);
  };
  const close = (): void => {
    for (const off of offs) off();
    offs = [];
    void client?.close();
    client = undefined;
    // What was said of the last one is true of no other.
    info = NOWHERE;
    next = {};
  };
  const open = (positions = config.initial as Readonly<Record<string, Position>>): WSEClient => {
    const { url = '/wse', token, extensions, ...rest } = config;
    const options: ClientOptions = {
      ...rest,
      // A state without a position is passed over there.
      positions,
      ...(extensions && { extensions: extensions() }),
      // The latest function counts, at each attempt.
      token: typeof token === 'function' ? (request) => (config.token as typeof token)(request) : (token ?? ''),
    };
    const made = connect(url as string, options);
    client = made;
    losses = 0;
    const tell = (part?: Partial<ConnectionInfo>): void =>
      change({ ...part, isConnected: made.isConnected, url: made.url, topics: [...made.subscribedTopics] });
    offs = [
      store.attach(made),
      made.watch('state', ({ previous: _, error: __, ...rest }) => tell(rest)),
      made.watch('subscription', () => tell()),
      made.watch('quality', change),
      made.watch('lost', () => change({ losses: ++losses })),
    ];
    const done = config.prepare?.(made);
    if (done) offs.push(done);
    return made;
  };
  const session: Listed = {
    store,
    place,
    get client() {
      return client;
    },
    get info() {
      return info;
    },
    use() {
      if (!client && sessions.get(key) !== session) throw new WSEError('WSE_CLOSED', 'not connected');
      return client ?? open();
    },
    configure(latest) {
      config = latest;
    },
    acquire() {
      uses += 1;
      clearTimeout(timer as number);
      for (const other of sessions.values()) if (other.place === place) other.retire();
      sessions.set(key, session);
      session.use();
      return () => {
        if (--uses === 0) timer = setTimeout(session.retire, config.linger ?? 5_000);
      };
    },
    retire() {
      if (uses > 0) return;
      if (sessions.get(key) === session) sessions.delete(key);
      if (!client) return;
      close();
      change({});
    },
    replace() {
      // The store goes on: what it has had must not come again.
      const positions = client?.recoveryState;
      close();
      open(positions);
    },
    watch: (fn) => enter(listeners, fn),
  };
  return session;
}
