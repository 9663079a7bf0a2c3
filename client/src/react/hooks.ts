/** Hooks around a session: what they show is replaced once a frame. They hold no state of their own and decide nothing. */

import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from 'react';
import type { WSEClient, WSEEvent } from '../index.js';
import { type ConnectionInfo, keyOf, NOWHERE, type Session, type SessionConfig, sessionFor } from './session.js';
import type { PresenceOptions, TopicState } from './topic-store.js';

const Context = /* @__PURE__ */ createContext<Session | undefined>(undefined);

/** What a provider is told. */
export interface WSEProviderProps extends SessionConfig {
  /** Topics wanted as long as the provider is there, beside those of `useTopic`. */
  readonly topics?: readonly string[];
  readonly children?: ReactNode;
}

/** Connects for the components below it. Connections are made in the browser only, and shared by all providers and `useWSE` with the same configuration. */
export function WSEProvider({ children, topics, ...config }: WSEProviderProps): ReactElement {
  return createElement(Context.Provider, { value: useSession(config, topics) }, children);
}

/** The page's session for a configuration, as long as the component is there; or the one that is given. Internal to this folder. */
export function useSession(config: SessionConfig, topics: readonly string[] = [], given?: Session): Session {
  const key = keyOf(config);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for the configuration, which is another object each time.
  const session = useMemo(() => given ?? sessionFor(config), [key, given]);
  useEffect(() => {
    if (!given) session.configure(config);
  });
  const list = JSON.stringify(topics);
  useEffect(() => session.store.want(JSON.parse(list)), [session, list]);
  useEffect(() => session.acquire(), [session]);
  return session;
}

/** The session above. @throws Error where there is none. Internal to this folder. */
export function useAbove(): Session {
  const session = useContext(Context);
  if (!session) throw new Error('no <WSEProvider> above');
  return session;
}

/** The session above, if there is one. Internal to this folder. */
export const useMaybeAbove = (): Session | undefined => useContext(Context);

/** What `select` makes of a state: the same result for the same state. */
const selected = <S, R>(select: (state: S) => R): ((state: S) => R) => {
  let memo: readonly [state: S, result: R] | undefined;
  return (state) => {
    if (memo?.[0] !== state) memo = [state, select(state)];
    return memo[1];
  };
};

const same = <T>(value: T): T => value;

/** Shows the connection of a session. Internal to this folder. */
export function useInfo<R = ConnectionInfo>(session: Session, select: (info: ConnectionInfo) => R = same as never): R {
  const pick = useMemo(() => selected(select), [select]);
  return useSyncExternalStore(
    session.watch,
    () => pick(session.info),
    () => pick(NOWHERE),
  );
}

/** The connection: state, quality, confirmed topics. With a selector a component is drawn again only when its result changes. */
export function useConnection(): ConnectionInfo;
export function useConnection<R>(select: (info: ConnectionInfo) => R): R;
export function useConnection<R>(select?: (info: ConnectionInfo) => R): R {
  return useInfo(useAbove(), select);
}

/**
 * What a topic says: the last payload, or what the topic's reducer made of all; undefined before the first. The topic is subscribed as long
 * as a component asks for it. With a selector a component is drawn again only when its result changes (`Object.is`).
 */
export function useTopic<T = unknown>(topic: string): T | undefined;
export function useTopic<T, R>(topic: string, select: (value: T | undefined, state: TopicState<T>) => R): R;
export function useTopic<T, R>(topic: string, select: (value: T | undefined, state: TopicState<T>) => R = same as never): R {
  const { store } = useAbove();
  const watch = useMemo(() => (fn: () => void) => store.watch(topic, fn), [store, topic]);
  const pick = useMemo(() => selected((state: TopicState) => select(state.value as T, state as TopicState<T>)), [select]);
  return useSyncExternalStore(
    watch,
    () => pick(store.get(topic)),
    () => pick(store.began(topic)),
  );
}

/** What was drawn last, for what happens later. Internal to this folder. */
export function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** Calls a function for each message of a topic, as it comes: drawn by nobody, lost by nobody. The latest function counts. */
export function useTopicEvents<T = unknown>(topic: string, handler: (event: WSEEvent<string, T>) => void): void {
  const { store } = useAbove();
  const latest = useLatest(handler);
  useEffect(() => store.listen(topic, (event) => latest.current(event as WSEEvent<string, T>)), [store, topic, latest]);
}

/**
 * Who is present on a topic, with their data. With `data` this user is, too, until the topic is not used any more. Servers tell who comes and
 * goes, not who is there: `load` gets that, after each connect.
 */
export function usePresence<D = unknown>(topic: string, { data, load }: PresenceOptions = {}): ReadonlyMap<string, D> {
  const { store } = useAbove();
  const members = useTopic(topic, membersOf);
  const text = data && JSON.stringify(data);
  // Programs without types write `load: isKnown && load`.
  const loads = typeof load === 'function';
  const latest = useLatest(loads ? load : undefined);
  useEffect(() => {
    const get: PresenceOptions['load'] = (client) => latest.current?.(client) ?? Promise.resolve({});
    return store.present(topic, { data: text && JSON.parse(text), load: loads ? get : undefined });
  }, [store, topic, text, loads, latest]);
  return members as ReadonlyMap<string, D>;
}
const membersOf = (_: unknown, { members }: TopicState): TopicState['members'] => members;

/** The client of the provider, for effects and handlers: `useClient()().send(…)`. Not to be called while rendering. */
export function useClient(): () => WSEClient {
  return useAbove().use;
}
