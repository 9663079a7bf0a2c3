/**
 * A store in a file, for programs of Node, Bun and Deno: `wse-client/outbox/file`. One process has it at a time; the next one finds what
 * the last has left, however that ended.
 */

import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises';
import { resolve as absolute, dirname } from 'node:path';
import { Journal } from './journal.js';
import { lock } from './lock.js';
import { UNKNOWN } from './sound.js';
import type { OutboxStore } from './types.js';

/** What a file store can be told. */
export interface FileStoreOptions {
  /**
   * When what is written is on the disk: `'each'`: before the call resolves (`fdatasync`), so that a power cut costs nothing; `'none'`: when the
   * system does it, so that the end of the process, by `kill -9` too, costs nothing, but a power cut may. @default 'none'
   */
  readonly sync?: 'none' | 'each';
}

/** Bytes of lines that say nothing any more, before the file is written anew. */
const GARBAGE = 1_048_576;

/**
 * A store in the file at `path`, which is made where it is missing. A lock file stands beside it; a process that finds it in use by another
 * that lives is refused, and its outbox keeps messages in memory and says so.
 */
export function fileStore(path: string, { sync = 'none' }: FileStoreOptions = {}): OutboxStore {
  const file = absolute(path);
  let journal = new Journal();
  let handle: FileHandle | undefined;
  let release: (() => Promise<void>) | undefined;
  /** Bytes of the file that are whole lines. */
  let length = 0;

  const write = async (to: FileHandle, text: string, at: number): Promise<number> => {
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await to.write(bytes, done, bytes.length - done, at + done);
      done += bytesWritten;
    }
    return bytes.length;
  };
  /** What still counts, in a file of its own that then takes the other's place: at no moment is there less than one whole file. */
  const rewrite = async (): Promise<void> => {
    const text = journal.text();
    const fresh = await open(`${file}.new`, 'w', 0o600);
    try {
      await write(fresh, text, 0);
      await fresh.sync();
      await rename(`${file}.new`, file);
    } catch (error) {
      await fresh.close();
      throw error;
    }
    const old = handle;
    handle = fresh;
    length = Buffer.byteLength(text);
    await old?.close().catch(() => {});
  };
  const append = async (line: string): Promise<void> => {
    if (!handle) throw new Error('the file is closed');
    try {
      length += await write(handle, line, length);
      if (sync === 'each') await handle.datasync();
    } catch (error) {
      // Half a line would spoil the next one.
      await handle.truncate(length).catch(() => {});
      throw error;
    }
    journal.read(line);
    if (length - journal.live > GARBAGE && length > 2 * journal.live) {
      // The line is kept all the same: to say it is not would have it sent twice.
      await rewrite().catch(() => {});
    }
  };

  return {
    durable: true,
    async open(_own, adopt, unreadable) {
      await mkdir(dirname(file), { recursive: true });
      release = await lock(`${file}.lock`);
      try {
        journal = new Journal();
        journal.read(
          await readFile(file, 'utf8').catch((error) => {
            if (error.code === 'ENOENT') return '';
            throw error;
          }),
        );
        if (journal.bad > 0) {
          unreadable(`${journal.bad} lines of ${file}`);
          journal.skip(UNKNOWN);
        }
        // Without what the last process has begun and not ended.
        await rewrite();
      } catch (error) {
        await release();
        throw error;
      }
      for (const left of journal.streams()) adopt(left);
    },
    put: (record) => append(Journal.put(record)),
    assign: (stream, last, records) => append(Journal.assign(stream, last, records)),
    remove: (stream, seqs) => append(Journal.remove(stream, seqs)),
    forget: (stream) => append(Journal.forget(stream)),
    async close() {
      const open = handle;
      handle = undefined;
      if (!open) return;
      await open.sync().catch(() => {});
      await open.close();
      await release?.();
    },
  };
}
