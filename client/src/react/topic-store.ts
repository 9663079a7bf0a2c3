/**
 * What topics say, as screens want it: their values and members, changed once a frame however much comes, and asked for as long as somebody
 * looks. Owns who wants which topic. Knows no React, opens no connection.
 */

import { matcher } from '../core/pattern.js';
import type { Off, Position, PresenceEvent, SubscribeOptions, WSEClient, WSEEvent } from '../index.js';
import { nextFrame, type Schedule } from './frame.js';

/** A topic as it is drawn. Replaced, never changed. */
export interface TopicState<T = unknown> {
  /** The last message's payload, a snapshot's data, or what the topic's reducer made of all of them. */
  readonly value: T | undefined;
  /** The last message; undefined before the first one and behind a snapshot. */
  readonly event: WSEEvent<string, T> | undefined;
  /** Messages since the topic was first wanted, those that were not drawn too. */
  readonly count: number;
  /** Who is present, with their data. */
  readonly members: ReadonlyMap<string, unknown>;
}

/** A state from elsewhere, such as the server that rendered the page, and its place in the topic's stream. */
export interface InitialTopic extends Partial<Position> {
  readonly value: unknown;
}

/** Makes a topic's value of the one before and a message; called once for each message. Undefined: there is none yet. */
export type TopicReducer = (value: never, event: WSEEvent) => unknown;

/** How a store works. */
export interface TopicStoreOptions {
  /**
   * States to begin with. A provider that comes later to the same connection gives those of topics that nobody wants when it is first drawn.
   * Positions count where a client is made, as the first provider's: what a later one brings is shown, and goes on with what is published
   * from its subscription on; what came between is missing, and not declared lost. Where that matters, another `name` is another connection.
   */
  readonly initial?: Readonly<Record<string, InitialTopic>> | undefined;
  /** Reducers by topic (or pattern, as it is subscribed). @default the last payload */
  readonly reduce?: Readonly<Record<string, TopicReducer>> | undefined;
  /** Whose message it is. @default `event.topic`, which servers with recovery or `includeTopic` name; else `event.type` */
  readonly topicOf?: ((event: WSEEvent) => string | undefined) | undefined;
  /** When changes are drawn. @default the next animation frame */
  readonly schedule?: Schedule | undefined;
}

/** How somebody is present on a topic. */
export interface PresenceOptions {
  /** Be present yourself, with these data, until the topic is not used any more. */
  readonly data?: Readonly<Record<string, unknown>> | undefined;
  /** Gets who is there: asked after each connect. Without it a list begins empty, with those who come. */
  readonly load?: ((client: WSEClient) => Promise<Readonly<Record<string, unknown>>>) | undefined;
}

/** Topics of one connection after the other. */
export interface TopicStore {
  /** Takes states to begin with, of topics that nobody wants now. */
  begin(initial: TopicStoreOptions['initial']): void;
  /** A topic as it was last drawn; the same object until it changes. */
  get(topic: string): TopicState;
  /** Wants a topic, and calls `fn` when its state was replaced; ends with the function it returns. */
  watch(topic: string, fn: () => void): Off;
  /**
   * Wants topics without drawing them. Whoever asks the client for them itself says with what options: the store then asks only the next
   * client for them, with the same ones.
   */
  want(topics: readonly string[], options?: Pick<SubscribeOptions, 'recover' | 'presence'>): Off;
  /** What a topic was when the store began, for a page that a server rendered. */
  began(topic: string): TopicState;
  /** Wants a topic, and calls `fn` for each of its messages as it comes. */
  listen(topic: string, fn: (event: WSEEvent) => void): Off;
  /** Is present, and gets who else is. Ends the getting, not the being there. */
  present(topic: string, options: PresenceOptions): Off;
  /** All wanted topics. */
  topics(): string[];
  /** Takes its messages from a client from now on, and asks it for what is wanted. */
  attach(client: WSEClient): Off;
  /** Calls `fn` with the next drawing, once however often it was asked for. */
  draw(fn: () => void): void;
}

interface Cell {
  readonly covers: ((topic: string) => boolean) | undefined;
  readonly listeners: Set<() => void>;
  readonly handlers: Set<(event: WSEEvent) => void>;
  uses: number;
  state: TopicState;
  live: TopicState;
  /** How the client is asked for it. */
  settings: SubscribeOptions;
  load?: PresenceOptions['load'];
  /** Members that nobody has seen yet, and that may be changed. */
  fresh?: Map<string, unknown> | undefined;
  /** What was told last of each user since `load` was called, which may never end. */
  told?: Map<string, WSEEvent> | undefined;
}

const NOBODY: TopicState['members'] = new Map();
const EMPTY: TopicState = { value: undefined, event: undefined, count: 0, members: NOBODY };

/** Puts one entry into a set for each caller, even of the same function; what it returns takes it out, and tells whether it was there. */
export const enter = <T>(fns: Set<(value: T) => void>, fn: (value: T) => void): (() => boolean) => {
  const entry = (value: T): void => fn(value);
  fns.add(entry);
  return () => fns.delete(entry);
};

/** A store without a client. */
export function createTopicStore({
  reduce = {},
  topicOf = ({ topic, type }) => topic ?? type,
  schedule = nextFrame,
}: TopicStoreOptions): TopicStore {
  const begun = new Map<string, TopicState>();
  /** The same without topics that nobody wanted any more: what they began with is out of date. */
  const first = new Map<string, TopicState>();
  const cells = new Map<string, Cell>();
  const dirty = new Set<Cell>();
  let drawing = new Set<() => void>();
  let client: WSEClient | undefined;
  let asked = new Set<string>();
  let settling = false;

  const draw = (fn: () => void): void => {
    const due = drawing.size > 0;
    drawing.add(fn);
    if (due) return;
    schedule(() => {
      const all = drawing;
      drawing = new Set();
      for (const one of all) one();
    });
  };
  const flush = (): void => {
    const all = [...dirty];
    dirty.clear();
    // All of them first: who is told may look at another one.
    for (const cell of all) {
      cell.state = cell.live;
      cell.fresh = undefined;
    }
    for (const { listeners } of all) for (const fn of [...listeners]) fn();
  };
  const change = (cell: Cell, state: Partial<TopicState>): void => {
    cell.live = { ...cell.live, ...state };
    dirty.add(cell);
    draw(flush);
  };
  let patterns = false;
  const of = (topic: string): [string, Cell][] => {
    if (patterns) return [...cells].filter(([name, { covers }]) => name === topic || covers?.(topic));
    const cell = cells.get(topic);
    return cell ? [[topic, cell]] : [];
  };

  /** Asks for what is wanted and not asked for, and gives back what nobody wants: once for all that happen in one turn. */
  const settle = (): void => {
    settling = false;
    patterns = false;
    for (const [topic, { uses, covers }] of cells) {
      if (uses > 0) patterns ||= !!covers;
      else {
        cells.delete(topic);
        first.delete(topic);
      }
    }
    if (!client) return;
    const wanted = new Set(cells.keys());
    void client.unsubscribe([...asked].filter((topic) => !wanted.has(topic)));
    const more: string[] = [];
    for (const [topic, { settings }] of cells) {
      if (asked.has(topic)) continue;
      if (settings.presence || settings.recover === false) void client.subscribe([topic], settings);
      else more.push(topic);
    }
    void client.subscribe(more);
    asked = wanted;
  };
  const later = (): void => {
    if (!settling) queueMicrotask(settle);
    settling = true;
  };
  /** With options more it is asked for once more with all of them, unless somebody has `done` that, and these are the last word. */
  const use = (topic: string, options?: SubscribeOptions, done?: boolean): Cell => {
    let cell = cells.get(topic);
    if (!cell) {
      const state = store.get(topic);
      const covers = /[*?]/.test(topic) ? matcher([topic]) : undefined;
      cell = { covers, listeners: new Set(), handlers: new Set(), uses: 0, settings: {}, state, live: state };
      cells.set(topic, cell);
      if (covers) patterns = true;
    }
    cell.uses += 1;
    if (options) {
      if (done && (options.presence || !cell.settings.presence)) asked.add(topic);
      else asked.delete(topic);
      cell.settings = { ...cell.settings, ...options };
    }
    later();
    return cell;
  };
  const leave = (cell: Cell): void => {
    cell.uses -= 1;
    later();
  };

  const join = (topic: string, fnsOf: (cell: Cell) => Set<(event: WSEEvent) => void>, fn: (event: WSEEvent) => void): Off => {
    const cell = use(topic);
    const off = enter(fnsOf(cell), fn);
    return () => void (off() && leave(cell));
  };

  const meet = (cell: Cell, events: Iterable<WSEEvent>): void => {
    cell.fresh ??= new Map(cell.live.members);
    for (const { type, payload } of events) {
      const { user_id: user, data } = payload as PresenceEvent;
      if (/leave$/.test(type)) cell.fresh.delete(user);
      else cell.fresh.set(user, data);
    }
    change(cell, { members: cell.fresh });
  };
  const load = (cell: Cell): void => {
    if (!client?.isConnected || !cell.load) return;
    const told = new Map<string, WSEEvent>();
    cell.told = told;
    cell
      .load(client)
      .catch(console.error)
      .then((list) => {
        // Another connection has asked again, or nobody asks any more.
        if (cell.told !== told) return;
        cell.told = undefined;
        if (!list) return;
        cell.fresh = new Map(Object.entries(list));
        meet(cell, told.values());
      });
  };

  const take = (event: WSEEvent): void => {
    const { type, payload } = event;
    const own = payload as { topic?: unknown; data?: unknown } | undefined;
    const presence = /^presence_(join|update|leave)$/.test(type);
    const snapshot = type === 'topic_snapshot';
    const topic = (presence || snapshot) && typeof own?.topic === 'string' ? own.topic : topicOf(event);
    if (topic === undefined) return;
    for (const [name, cell] of of(topic)) {
      const { value, count } = cell.live;
      if (presence) {
        cell.told?.set((payload as PresenceEvent).user_id, event);
        meet(cell, [event]);
      } else if (snapshot) change(cell, { value: own?.data, event: undefined });
      else {
        const made = reduce[name] ? reduce[name](value as never, event) : payload;
        change(cell, { value: made, event, count: count + 1 });
        for (const fn of [...cell.handlers]) fn(event);
      }
    }
  };

  const store: TopicStore = {
    begin(more) {
      for (const topic in more) {
        const state = { ...EMPTY, value: (more[topic] as InitialTopic).value };
        // A component that is there again brings what is out of date by now.
        if (begun.get(topic)?.value !== state.value) {
          begun.set(topic, state);
          first.set(topic, state);
        }
      }
    },
    get: (topic) => cells.get(topic)?.state ?? first.get(topic) ?? EMPTY,
    began: (topic) => begun.get(topic) ?? EMPTY,
    watch: (topic, fn) => join(topic, ({ listeners }) => listeners, fn),
    want(topics, options) {
      let all = topics.map((topic) => use(topic, options, true));
      return () => {
        all.forEach(leave);
        all = [];
      };
    },
    listen: (topic, fn) => join(topic, ({ handlers }) => handlers, fn),
    present(topic, { data, load: get }) {
      const cell = use(topic, data && { presence: data });
      if (get) {
        cell.load = get;
        load(cell);
      }
      return () => leave(cell);
    },
    topics: () => [...cells].filter(([, { uses }]) => uses > 0).map(([topic]) => topic),
    attach(next) {
      client = next;
      asked = new Set(next.wantedTopics);
      settle();
      const offs = [
        next.onAny(take),
        next.watch('state', ({ state, previous }) => {
          if (state !== 'connected' || previous === 'degraded') return;
          for (const cell of cells.values()) {
            // Who has come and gone meanwhile is not told afterwards.
            if (!cell.load && cell.live.members.size > 0) {
              cell.fresh = undefined;
              change(cell, { members: NOBODY });
            }
            load(cell);
          }
        }),
      ];
      return () => {
        client = undefined;
        for (const off of offs) off();
      };
    },
    draw,
  };
  return store;
}
