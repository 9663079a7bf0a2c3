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

/** Where those begin that are low enough, in a list that is in order. */
const where = (messages: readonly QueuedMessage[], low: (priority: number) => boolean): number => {
  let [from, to] = [0, messages.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (low((messages[middle] as QueuedMessage).priority)) to = middle;
    else from = middle + 1;
  }
  return from;
};

/** The queue that `bindStore(client, { queue: true })` fills, as a hook and a zustand store. */
export const useMessageQueueStore: UseBoundStore<StoreApi<MessageQueueState>> = /* @__PURE__ */ create<MessageQueueState>()(
  (set, get) => {
    const put = (messages: readonly QueuedMessage[], stats?: Partial<QueueStats>): void =>
      set((state) => ({ messages, size: messages.length, stats: { ...state.stats, ...stats } }));
    /** From the lowest priority up, the oldest of each first, until there is room. */
    const cut = (messages: QueuedMessage[]): QueuedMessage[] => {
      const { capacity } = get();
      while (messages.length > capacity) {
        const { priority: lowest } = messages[messages.length - 1] as QueuedMessage;
        const first = where(messages, (priority) => priority <= lowest);
        messages.splice(first, messages.length - capacity);
      }
      return messages;
    };
    return {
      messages: [],
      size: 0,
      capacity: 10_000,
      processing: false,
      stats: { enqueued: 0, dequeued: 0, dropped: 0 },
      enqueue(...more) {
        const { messages, stats } = get();
        const all = [...messages];
        for (const message of more) {
          const at = where(all, (priority) => priority < message.priority);
          all.splice(at, 0, message);
        }
        const size = all.length;
        put(cut(all), { enqueued: stats.enqueued + more.length, dropped: stats.dropped + size - all.length });
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
        const { messages } = get();
        const gone = new Set([...messages].sort((a, b) => a.timestamp - b.timestamp).slice(0, count));
        put(messages.filter((message) => !gone.has(message)));
      },
      hasBackpressure: () => get().size >= 0.8 * get().capacity,
      getOldestMessageAge() {
        const now = Date.now();
        return now - get().messages.reduce((first, { timestamp }) => Math.min(first, timestamp), now);
      },
    };
  },
);
