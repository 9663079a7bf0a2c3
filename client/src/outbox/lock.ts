/** A lock file: which process has what it stands beside. Knows nothing of that. */

import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';

/** How often an owner says that it lives, ms. */
const BEAT = 10_000;
/** Without a word for so long an owner whose start nobody knows is gone, ms. */
const SILENCE = 60_000;
/** Locks of this very thread. */
const mine = new Set<string>();

/** When a process began, in the words of its system; '' where that is not told. A number is given again, with another of these. */
async function started(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name before it may have anything in it.
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === 'EPERM';
  }
}

/** The process that has a lock and lives; undefined: nobody. */
async function ownerOf(path: string): Promise<number | undefined> {
  const [first = '', start] = (await readFile(path, 'utf8').catch(() => '')).split('\n');
  const pid = Number(first);
  if (!(pid > 0) || !lives(pid)) return undefined;
  const now = start && (await started(pid));
  if (now) return now === start ? pid : undefined;
  const beat = await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  return Date.now() - beat < SILENCE ? pid : undefined;
}

/** Puts a file at `path` that is whole from the first moment on; false: there is one. */
async function place(path: string): Promise<boolean> {
  const own = `${path}.${randomUUID()}`;
  await writeFile(own, `${process.pid}\n${await started(process.pid)}`);
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

/** Takes what nobody has any more out of the way; what was taken since it was looked at is put back. */
async function clear(path: string): Promise<void> {
  const away = `${path}.${randomUUID()}`;
  try {
    await rename(path, away);
  } catch {
    return;
  }
  if ((await ownerOf(away)) !== undefined) await link(away, path).catch(() => {});
  await rm(away, { force: true });
}

/** Takes the lock at `path` once its owner is gone. One at a time looks and takes, by a lock for that: between the two nobody else may. */
async function inherit(path: string): Promise<boolean> {
  const turn = `${path}.turn`;
  for (let attempt = 0; !(await place(turn)); attempt += 1) {
    if (attempt === 200) throw new Error(`${turn} is in use`);
    if ((await ownerOf(turn)) === undefined) await clear(turn);
    else await new Promise((resolve) => setTimeout(resolve, 10));
  }
  try {
    if ((await ownerOf(path)) === undefined) await rm(path, { force: true });
    return await place(path);
  } finally {
    await rm(turn, { force: true });
  }
}

/** Takes the lock at `path` for this process; the result gives it up. @throws where another one, or another thread, has it. */
export async function lock(path: string): Promise<() => Promise<void>> {
  if (mine.has(path)) throw new Error(`${path} is open already`);
  mine.add(path);
  try {
    const taken = (await place(path)) || (await inherit(path));
    if (!taken) throw new Error(`${path} belongs to process ${await ownerOf(path)}`);
  } catch (error) {
    mine.delete(path);
    throw error;
  }
  const beat = setInterval(() => {
    const now = new Date();
    void utimes(path, now, now).catch(() => {});
  }, BEAT);
  beat.unref();
  return async () => {
    clearInterval(beat);
    mine.delete(path);
    await rm(path, { force: true });
  };
}
