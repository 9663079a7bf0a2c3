/**
 * A store in a browser's IndexedDB, for all tabs of an origin: each has a stream of its own, which a Web Lock says is in use. A stream whose
 * lock is free has lost its tab, and goes to the one that gets the lock. What is written is in the browser's hands when it resolves
 * (`durability: 'relaxed'`): it survives the tab and the browser, not always a power cut.
 */

import type { OutboxRecord, OutboxStore, StoredStream } from './types.js';

/** What it uses of the platform; a program of Node has no types of it. */
interface IDBRequestLike<T = unknown> {
  result: T;
  error: unknown;
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
}
interface IDBOpenRequestLike extends IDBRequestLike<IDBDatabaseLike> {
  onupgradeneeded: (() => void) | null;
  onblocked: (() => void) | null;
}
interface IDBObjectStoreLike {
  put(value: unknown): IDBRequestLike;
  delete(key: unknown): IDBRequestLike;
  get(key: unknown): IDBRequestLike;
  getAll(range?: unknown): IDBRequestLike<unknown[]>;
}
interface IDBTransactionLike {
  oncomplete: (() => void) | null;
  onabort: (() => void) | null;
  error: unknown;
  objectStore(name: string): IDBObjectStoreLike;
}
interface IDBDatabaseLike {
  onversionchange: (() => void) | null;
  createObjectStore(name: string, options: { keyPath: string | string[] }): unknown;
  transaction(names: string[], mode: 'readonly' | 'readwrite', options?: { durability: 'relaxed' }): IDBTransactionLike;
  close(): void;
}
interface LocksLike {
  request(
    name: string,
    options: { ifAvailable?: boolean; signal?: AbortSignal },
    granted: (lock: unknown) => Promise<void> | undefined,
  ): Promise<unknown>;
}
interface Platform {
  indexedDB?: { open(name: string, version: number): IDBOpenRequestLike };
  IDBKeyRange?: { bound(lower: unknown, upper: unknown): unknown };
  navigator?: { locks?: LocksLike };
}

const RECORDS = 'records';
const STREAMS = 'streams';

/**
 * A store in the database `name` of this origin: one for each user, because what is kept goes out as whoever is signed in then.
 *
 * Needs Web Locks, which pages over https and of localhost have: without them nobody knows whose messages are whose. Where they or the
 * database cannot be had, the outbox says so and keeps messages in memory.
 */
export function indexedDBStore(name = 'wse-outbox'): OutboxStore {
  const closing = new AbortController();
  /** Gives up the locks that are held. */
  const held = new Map<string, () => void>();
  /** Streams whose locks are waited for. */
  const watched = new Set<string>();
  let db: IDBDatabaseLike | undefined;
  let take: (left: StoredStream) => void = () => {};

  /** Runs `work` in one transaction: all of it is kept, or nothing. */
  const transact = <T>(
    mode: 'readonly' | 'readwrite',
    work: (records: IDBObjectStoreLike, streams: IDBObjectStoreLike) => T,
  ): Promise<T> =>
    new Promise((resolve, reject) => {
      if (!db) throw new Error('the database is closed');
      const transaction = db.transaction([RECORDS, STREAMS], mode, { durability: 'relaxed' });
      const made = work(transaction.objectStore(RECORDS), transaction.objectStore(STREAMS));
      transaction.oncomplete = () => resolve(made);
      transaction.onabort = () => reject(transaction.error ?? new Error('aborted'));
    });

  /** Takes the lock of a stream, now or not at all, or whenever it is free; false: not at all. */
  const lock = (stream: string, wait: boolean): Promise<boolean> =>
    new Promise((resolve, reject) => {
      const locks = (globalThis as Platform).navigator?.locks;
      if (!locks) throw new Error('there are no Web Locks');
      const options = wait ? { signal: closing.signal } : { ifAvailable: true };
      locks
        .request(`${name}:${stream}`, options, (granted) => {
          if (!granted || closing.signal.aborted) return void resolve(false);
          return new Promise((release) => {
            held.set(stream, release as () => void);
            resolve(true);
          });
        })
        .catch((error: unknown) => (closing.signal.aborted ? resolve(false) : reject(error)));
    });
  const unlock = (stream: string): void => {
    held.get(stream)?.();
    held.delete(stream);
  };

  /** Takes over a stream whose lock is ours. */
  const adopt = async (stream: string): Promise<void> => {
    // All keys that begin with the stream: an array is more than any number.
    const range = (globalThis as Platform as Required<Platform>).IDBKeyRange.bound([stream], [stream, []]);
    const [meta, all] = await transact('readonly', (records, streams) => [streams.get(stream), records.getAll(range)] as const);
    const known = meta.result as { last: number } | undefined;
    // Somebody else has had it, and sent all of it.
    if (!known) return unlock(stream);
    take({ name: stream, last: known.last, records: all.result as OutboxRecord[] });
  };
  const scan = async (): Promise<void> => {
    const all = await transact('readonly', (_, streams) => streams.getAll());
    for (const { name: stream } of all.result as { name: string }[]) {
      if (held.has(stream) || watched.has(stream)) continue;
      if (await lock(stream, false)) {
        await adopt(stream);
        continue;
      }
      // Its tab lives: the lock says when it does no more.
      watched.add(stream);
      void lock(stream, true)
        .then(async (granted) => {
          watched.delete(stream);
          if (granted) await adopt(stream);
        })
        .catch(() => {
          watched.delete(stream);
          unlock(stream);
        });
    }
  };

  return {
    durable: true,
    async open(own, adopted) {
      take = adopted;
      db = await new Promise<IDBDatabaseLike>((resolve, reject) => {
        const factory = (globalThis as Platform).indexedDB;
        if (!factory) throw new Error('there is no IndexedDB');
        const request = factory.open(name, 1);
        request.onupgradeneeded = () => {
          request.result.createObjectStore(RECORDS, { keyPath: ['stream', 'seq'] });
          request.result.createObjectStore(STREAMS, { keyPath: 'name' });
        };
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
        request.onblocked = () => reject(new Error('another version of the database is open'));
      });
      // A later version, or whoever deletes the site's data, must not wait for this page.
      db.onversionchange = () => {
        db?.close();
        db = undefined;
      };
      if (!(await lock(own, false))) throw new Error('the stream is taken');
      await scan();
    },
    put: (record) =>
      transact('readwrite', (records, streams) => {
        records.put(record);
        // A stream is known from its first message on; its numbers begin later.
        if (record.seq === 1) streams.put({ name: record.stream, last: 0 });
      }),
    assign: (stream, last, changed) =>
      transact('readwrite', (records, streams) => {
        streams.put({ name: stream, last });
        for (const record of changed) records.put(record);
      }),
    remove: (stream, seqs) =>
      transact('readwrite', (records) => {
        for (const seq of seqs) records.delete([stream, seq]);
      }),
    async forget(stream) {
      await transact('readwrite', (_, streams) => void streams.delete(stream));
      unlock(stream);
    },
    scan,
    async close() {
      closing.abort();
      for (const stream of [...held.keys()]) unlock(stream);
      db?.close();
      db = undefined;
    },
  };
}
