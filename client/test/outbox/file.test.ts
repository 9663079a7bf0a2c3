/** The file store: what it has said it holds is there, however its process ended and whatever its file looks like. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fileStore } from '../../src/outbox/file.js';
import { createOutbox, type OutboxRecord, type OutboxStore, type StoredStream } from '../../src/outbox/index.js';
import { FakeHost, hear, settled } from './host.js';

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'wse-outbox-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const record = (seq: number, stream = 'stream-1'): OutboxRecord => ({
  stream,
  seq,
  n: 0,
  at: 1,
  priority: 5,
  json: JSON.stringify({ type: `${seq}`, pad: 'ü'.repeat(100) }),
});

/** What a store finds. */
async function found(path: string): Promise<StoredStream[]> {
  const store = fileStore(path);
  const left: StoredStream[] = [];
  await store.open(
    'own-stream',
    (stream) => left.push(stream),
    () => {},
  );
  await store.close();
  return left;
}

async function opened(path: string): Promise<OutboxStore> {
  const store = fileStore(path);
  onTestFinished(() => store.close());
  await store.open(
    'own-stream',
    () => {},
    () => {},
  );
  return store;
}

describe('a file', () => {
  it('has what was put into it, less what was removed', async () => {
    const path = join(folder(), 'new', 'outbox.jsonl');
    const store = await opened(path);
    for (let seq = 1; seq <= 5; seq += 1) await store.put(record(seq));
    await store.put(record(1, 'stream-2'));
    await store.assign('stream-1', 3, [
      { ...record(1), n: 2 },
      { ...record(2), n: 3 },
    ]);
    await store.remove('stream-1', [1, 4]);
    await store.assign('stream-2', 9, [{ ...record(1, 'stream-2'), n: 9 }]);
    await store.remove('stream-2', [1]);
    await store.put(record(1, 'stream-3'));
    await store.forget('stream-3');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await store.close();
    const first = { name: 'stream-1', last: 3, records: [{ ...record(2), n: 3 }, record(3), record(5)] };
    for (let i = 0; i < 2; i += 1) {
      const left = await found(path);
      for (const { records } of left) (records as OutboxRecord[]).sort((a, b) => a.seq - b.seq);
      expect(left).toEqual([first, { name: 'stream-2', last: 9, records: [] }]);
    }
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it('is read whatever it ends with', async () => {
    const path = join(folder(), 'outbox.jsonl');
    const store = await opened(path);
    for (let seq = 1; seq <= 3; seq += 1) await store.put(record(seq));
    await store.close();
    const whole = readFileSync(path);
    const seqs = async (): Promise<number[]> => (await found(path)).flatMap(({ records }) => records.map(({ seq }) => seq));
    for (let at = whole.length; at >= 0; at -= 7) {
      writeFileSync(path, whole.subarray(0, at));
      const lines = whole.subarray(0, at).toString().split('\n').length - 1;
      expect((await seqs()).length, `cut at ${at}`).toBe(lines);
      // What comes next is not spoilt by it.
      const next = await opened(path);
      await next.put(record(9));
      await next.close();
      expect(await seqs()).toContain(9);
    }
    for (const rubbish of [
      '\0\0\0\0',
      '\n\n[]\n{}\nnull\n7\n',
      '["put",{}]\n["assign"]\n["remove","x"]\n',
      '["put",null]\n',
      '\ufffd',
    ]) {
      writeFileSync(path, rubbish);
      appendFileSync(path, `\n${JSON.stringify(['put', record(4)])}\n`);
      expect(await seqs()).toEqual([4]);
    }
  });

  it('goes on without what is no record, and says so', async () => {
    const one = JSON.stringify(['put', { ...record(1), at: Date.now() }]);
    const cases = {
      json: one.replace('{\\"type', '[\\"type'),
      'json that was sent': one.replace('{\\"type', '[\\"type').replace('"n":0', '"n":1'),
      'no type': one.replace('\\"type', '\\"typo'),
      stream: one.replace('stream-1', 'stream 1'),
      last: '["assign","stream-1","x",[]]',
      priority: one.replace('"priority":5', '"priority":null'),
      at: one.replace(/"at":\d+/, '"at":"x"'),
      'n: x': one.replace('"n":0', '"n":"x"'),
      'n: NaN': one.replace('"n":0', '"n":null'),
      'n: 2^53-1': one.replace('"n":0', '"n":9007199254740991'),
    };
    for (const [name, bad] of Object.entries(cases)) {
      const path = join(folder(), 'outbox.jsonl');
      const good = JSON.stringify(['put', { ...record(2), at: Date.now() }]);
      writeFileSync(path, `${bad}\n${good}\n`);
      const outbox = createOutbox({ store: fileStore(path) });
      const heard = hear(outbox);
      const host = new FakeHost(outbox);
      await host.send('new');
      await host.connect();
      await expect.poll(() => host.written.map(({ type }) => type)).toEqual(['2', 'new']);
      expect(heard, name).toEqual([expect.stringContaining('storage unreadable: 1 ')]);
      // Which numbers were given is not known.
      expect(host.written[0]?.outbox?.[1], name).toBeGreaterThanOrEqual(name === 'stream' ? 1 : 2 ** 32);
      expect([outbox.durable, host.reported]).toEqual([true, []]);
      await host.hooks.close?.();
      expect((await found(path)).flatMap(({ records }) => records.map(({ seq }) => seq)).sort(), name).toEqual([1, 2]);
    }
  });

  it('is written anew when most of it says nothing any more', async () => {
    const path = join(folder(), 'outbox.jsonl');
    const store = await opened(path);
    await store.put(record(1));
    for (let seq = 2; seq < 6000; seq += 1) {
      await store.put(record(seq));
      await store.remove('stream-1', [seq]);
    }
    expect(statSync(path).size).toBeLessThan(1.2 * 2 ** 20);
    await store.close();
    expect((await found(path)).map(({ records }) => records.map(({ seq }) => seq))).toEqual([[1]]);
  });

  it('is not written anew for letters that take more than one byte', async () => {
    const path = join(folder(), 'outbox.jsonl');
    const store = await opened(path);
    for (let seq = 1; seq <= 8; seq += 1) await store.put({ ...record(seq), json: `{"type":"${'語'.repeat(100_000)}"}` });
    const { ino } = statSync(path);
    await store.put(record(9));
    expect(statSync(path).ino).toBe(ino);
    await store.close();
    expect((await found(path)).map(({ records }) => records.length)).toEqual([9]);
  });

  it('belongs to one at a time; a lock that was left behind is nobody’s', async () => {
    const path = join(folder(), 'outbox.jsonl');
    const store = await opened(path);
    await store.put(record(1));
    await expect(
      fileStore(path).open(
        'x',
        () => {},
        () => {},
      ),
    ).rejects.toThrow('open already');
    await store.close();
    // Of a process that lives: the one that runs this.
    writeFileSync(`${path}.lock`, `${process.ppid}`);
    await expect(
      fileStore(path).open(
        'x',
        () => {},
        () => {},
      ),
    ).rejects.toThrow(`process ${process.ppid}`);
    const outbox = createOutbox({ store: fileStore(path) });
    const heard = hear(outbox);
    const host = new FakeHost(outbox);
    await host.send('a');
    await host.connect();
    await expect.poll(() => heard).toEqual([expect.stringContaining('storage')]);
    await settled();
    expect([outbox.durable, host.take()]).toEqual([false, ['a:1']]);
    // Of another thread of this process.
    writeFileSync(`${path}.lock`, `${process.pid}`);
    await expect(
      fileStore(path).open(
        'x',
        () => {},
        () => {},
      ),
    ).rejects.toThrow(`process ${process.pid}`);
    for (const stale of ['999999999', `${process.pid}`, '', 'rubbish']) {
      writeFileSync(`${path}.lock`, stale);
      // Of a process before this one, with its number.
      utimesSync(`${path}.lock`, 1000, 1000);
      expect((await found(path)).length, stale).toBe(1);
    }
  });

  it.runIf(process.platform === 'linux')('is not a process’s that has the number of its owner', async () => {
    const path = join(folder(), 'outbox.jsonl');
    await (await opened(path)).put(record(1));
    const [pid, start] = readFileSync(`${path}.lock`, 'utf8').split('\n');
    expect([pid, Number(start) > 0]).toEqual([`${process.pid}`, true]);
    const other = join(folder(), 'outbox.jsonl');
    writeFileSync(`${other}.lock`, `${process.pid}\n${start}`);
    await expect(found(other)).rejects.toThrow(`process ${process.pid}`);
    writeFileSync(`${other}.lock`, `${process.pid}\n${Number(start) - 1}`);
    expect(await found(other)).toEqual([]);
    // Who took such a lock and died while nobody else might leaves that, too.
    writeFileSync(`${other}.lock`, '999999999');
    writeFileSync(`${other}.lock.turn`, '999999999');
    expect(await found(other)).toEqual([]);
    expect(readdirSync(dirname(other))).toEqual(['outbox.jsonl']);
  });

  it('goes to one of many that find a lock left behind', async () => {
    const path = folder();
    const program = join(path, 'thread.mjs');
    await build({
      stdin: {
        contents: `
          import { parentPort, workerData } from 'node:worker_threads';
          import { fileStore } from './file.js';
          const gate = new Int32Array(workerData.gate);
          const stores = (globalThis.stores = []);
          for (let round = 0; round < workerData.rounds; round += 1) {
            Atomics.wait(gate, 0, round);
            const store = fileStore(workerData.path + round);
            stores.push(store);
            const owns = await store.open('own', () => {}, () => {}).then(() => true, () => false);
            parentPort.postMessage(owns);
          }`,
        resolveDir: join(import.meta.dirname, '../../src/outbox'),
        loader: 'ts',
      },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: program,
    });
    const [rounds, threads] = [40, 6];
    const shared = new SharedArrayBuffer(4);
    const gate = new Int32Array(shared);
    const file = join(path, 'outbox-');
    for (let round = 0; round < rounds; round += 1) writeFileSync(`${file}${round}.lock`, '999999999');
    const heard: boolean[] = [];
    const workers = Array.from(
      { length: threads },
      () => new Worker(program, { workerData: { gate: shared, path: file, rounds } }),
    );
    for (const worker of workers) worker.on('message', (owns: boolean) => heard.push(owns));
    onTestFinished(async () => void (await Promise.all(workers.map((worker) => worker.terminate()))));
    for (let round = 0; round < rounds; round += 1) {
      Atomics.store(gate, 0, round + 1);
      Atomics.notify(gate, 0);
      await expect.poll(() => heard.length, { interval: 2 }).toBe(threads);
      expect(heard.splice(0).filter((owns) => owns).length, `round ${round}`).toBe(1);
    }
  });

  it('has everything it has said it holds after kill -9, in the midst of writing', async () => {
    const path = folder();
    const program = join(path, 'writer.mjs');
    await build({
      stdin: {
        contents: `
          import { fileStore } from './file.js';
          const store = fileStore(process.argv[2]);
          let from = 0;
          await store.open('own', ({ records }) => { for (const { seq } of records) from = Math.max(from, seq); }, () => {});
          for (let seq = from + 1; ; seq += 1) {
            await store.put({ stream: 'stream-1', seq, n: 0, at: 1, priority: 5, json: JSON.stringify({ seq, pad: 'x'.repeat(seq % 5000) }) });
            process.stdout.write(seq + '\\n');
          }`,
        resolveDir: join(import.meta.dirname, '../../src/outbox'),
        loader: 'ts',
      },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: program,
    });
    const file = join(path, 'outbox.jsonl');
    let said = 0;
    for (let round = 1; round <= 6; round += 1) {
      const child = spawn(process.execPath, [program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
      onTestFinished(() => void child.kill('SIGKILL'));
      let output = '';
      const until = said + 100 * round;
      await new Promise<void>((resolve) => {
        child.stdout.on('data', (data) => {
          output += data;
          said = Math.max(said, ...output.split('\n').slice(0, -1).slice(-5).map(Number));
          if (said >= until) resolve();
        });
      });
      child.kill('SIGKILL');
      await once(child, 'close');
      said = Math.max(said, ...output.split('\n').slice(0, -1).slice(-5).map(Number));
      const [left] = await found(file);
      const seqs = left?.records.map(({ seq }) => seq).sort((a, b) => a - b) ?? [];
      expect(seqs.slice(0, said)).toEqual(Array.from({ length: said }, (_, index) => index + 1));
      expect(seqs.length).toBeLessThanOrEqual(said + 5000);
      for (const { json, seq } of left?.records ?? []) expect((JSON.parse(json) as { seq: number }).seq).toBe(seq);
    }
  });
});
