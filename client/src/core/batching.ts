/** Messages that share frames: gathered (`batcher.ts`), sent as one, and each told what has become of it. Part of no client that does not name it. */

import { type BatcherOptions, createBatcher } from './batcher.js';

/** How what was gathered is sent. */
export interface BatchSends {
  /** All of them in one message of type `batch`. */
  all(messages: readonly (readonly [type: string, payload: unknown])[], timeout: number): Promise<void>;
  /** One on its own. */
  one(type: string, payload: unknown, timeout: number): Promise<void>;
}

/** Takes messages until it is closed. */
export interface Batching {
  /** Resolves when the message has been sent. */
  add(type: string, payload: unknown, timeout: number): Promise<void>;
  /** What is being gathered is sent at once. */
  close(): void;
}

interface Item {
  readonly message: readonly [type: string, payload: unknown];
  readonly timeout: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** Nothing is gathered yet. */
export function createBatching(options: Omit<BatcherOptions<unknown>, 'flush'>, { all, one }: BatchSends): Batching {
  const flush = (items: Item[]): void => {
    const messages = items.map(({ message }) => message);
    all(messages, Math.max(...items.map(({ timeout }) => timeout))).then(
      () => items.forEach((item) => item.resolve()),
      (error) => {
        // What is wrong with one, or too much for a frame, is nobody else's matter: each goes on its own.
        const apart = items.length > 1 && /ARGUMENT|LARGE/.test(error.code);
        for (const { message, timeout, resolve, reject } of items) {
          if (apart) one(...message, timeout).then(resolve, reject);
          else reject(error);
        }
      },
    );
  };
  const batcher = createBatcher<Item>({ ...options, flush });
  return {
    add: (type, payload, timeout) =>
      new Promise((resolve, reject) => void batcher.add({ message: [type, payload], timeout, resolve, reject })),
    close: batcher.close,
  };
}
