/** `useMessageQueueStore`: messages that wait for a program that takes them in its own time. Bounded; knows no client. */

import { create, type StoreApi, type UseBoundStore } from 'zustand';

/** A message that waits. */
export interface QueuedMessage {
  readonly id: string;
  readonly type: string;
  readonly payload: unknown;
  /** 1, 3, 5, 8 or 10. */
  readonly priority: number;
  /** When it was put here, milliseconds since 1970. */
  readonly timestamp: number;
}

/** What became of messages. */
export interface QueueStats {
  readonly enqueued: number;
  readonly dequeued: number;
  /** Those that found the queue full, and cost another one its place. */
  readonly dropped: number;
}

/** The queue: by priority, then by age. */
export interface MessageQueueState {
  readonly messages: readonly QueuedMessage[];
  readonly size: number;
  readonly capacity: number;
  /** Set by whoever takes messages. */
  readonly processing: boolean;
  readonly stats: QueueStats;
  /** Puts messages in; in a full queue the oldest of the lowest priority makes room. */
  enqueue(...messages: readonly QueuedMessage[]): void;
  /** Takes the first ones. @default 1 */
  dequeue(count?: number): readonly QueuedMessage[];
  removeMessage(id: string): void;
  clearQueue(): void;
  updateStats(stats: Partial<QueueStats>): void;
  setProcessing(processing: boolean): void;
  setCapacity(capacity: number): void;
  getByPriority(priority: number): readonly QueuedMessage[];
  /** Removes the oldest ones. @default 1 */
  removeOldest(count?: number): void;
  /** Whether it is full to four fifths. */
  hasBackpressure(): boolean;
  /** Milliseconds; 0: it is empty. */
  getOldestMessageAge(): number;
}

const byPriority = (a: QueuedMessage, b: QueuedMessage): number => b.priority - a.priority;

/** The queue that `bindStore(client, { queue: true })` fills, as a hook and a zustand store. */
export const useMessageQueueStore: UseBoundStore<StoreApi<MessageQueueState>> = /* @__PURE__ */ create<MessageQueueState>()(
  (set, get) => {
    const put = (messages: readonly QueuedMessage[], stats?: Partial<QueueStats>): void =>
      set((state) => ({ messages, size: messages.length, stats: { ...state.stats, ...stats } }));
    const oldest = (count: number): Set<QueuedMessage> =>
      new Set([...get().messages].sort((a, b) => a.timestamp - b.timestamp).slice(0, count));
    /** Keeps the first ones of each priority's newest, as many as there is room for. */
    const cut = (messages: QueuedMessage[]): QueuedMessage[] => {
      const over = messages.length - get().capacity;
      if (over <= 0) return messages;
      // From the lowest priority up, the oldest of each first.
      const gone = new Set([...messages].sort((a, b) => a.priority - b.priority).slice(0, over));
      return messages.filter((message) => !gone.has(message));
    };
    return {
      messages: [],
      size: 0,
      capacity: 10_000,
      processing: false,
      stats: { enqueued: 0, dequeued: 0, dropped: 0 },
      enqueue(...more) {
        const { messages, stats } = get();
        const all = [...messages, ...more].sort(byPriority);
        const kept = cut(all);
        put(kept, { enqueued: stats.enqueued + more.length, dropped: stats.dropped + all.length - kept.length });
      },
      dequeue(count = 1) {
        const { messages, stats } = get();
        const taken = messages.slice(0, count);
        put(messages.slice(count), { dequeued: stats.dequeued + taken.length });
        return taken;
      },
      removeMessage: (id) => put(get().messages.filter((message) => message.id !== id)),
      clearQueue: () => put([]),
      updateStats: (stats) => put(get().messages, stats),
      setProcessing: (processing) => set({ processing }),
      setCapacity(capacity) {
        set({ capacity });
        put(cut([...get().messages]));
      },
      getByPriority: (priority) => get().messages.filter((message) => message.priority === priority),
      removeOldest(count = 1) {
        const gone = oldest(count);
        put(get().messages.filter((message) => !gone.has(message)));
      },
      hasBackpressure: () => get().size >= 0.8 * get().capacity,
      getOldestMessageAge() {
        const [first] = oldest(1);
        return first ? Date.now() - first.timestamp : 0;
      },
    };
  },
);
