import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Client } from '../border/client.js';
import { frame, RawPeer } from '../support/raw-peer.js';
import { waitUntil } from '../support/wait.js';
import { ADDON, Child, program } from './facade.js';

/** The engine on JavaScript's own event loop (docs/design/drivers.md), whatever driver the other tests have. */
const LINUX = process.platform === 'linux';
const DIST = resolve(import.meta.dirname, '../../../dist');

/** At once, on however busy a machine: below what `stop()` would wait for clients. */
const PROMPT_MS = 8000;

/** Runs a program to its quiet end and returns everything it reported. */
async function run(name: string, args: (string | number)[], deadlineMs = 25_000): Promise<Record<string, unknown>> {
  const child = new Child(name, ...args);
  const end = await child.ended(deadlineMs);
  expect([end, child.stderr]).toMatchObject([{ code: 0, signal: null }, '']);
  return Object.assign({}, ...child.reports) as Record<string, unknown>;
}

describe.skipIf(process.platform === 'win32')('an inline engine', () => {
  it.each(['compute', 'stutter', 'publish'])(
    'calls nobody a zombie because JavaScript was blocked (%s), and loses nothing of what came meanwhile',
    async (what) => {
      const child = new Child('inline', 'blocked', what);
      const port = await child.report('port');
      const clients = await Promise.all(Array.from({ length: 8 }, () => Client.open(port)));
      // The first two only answer pings.
      const senders = clients.slice(2);
      let sent = 0;
      const timer = setInterval(() => {
        for (const client of senders) client.send(`{"t":"n","p":${sent}}`);
        sent += 1;
      }, 5);
      onTestFinished(() => clearInterval(timer));
      await waitUntil(() => sent > 50, 'traffic');
      child.tell();
      await child.report('blocked');
      expect(await child.report<string>('zombies')).toBe('0');
      expect(child.reports.at(-1)).toMatchObject({ disconnects: 0, connections: 8 });
      clearInterval(timer);
      const expected = Array.from({ length: sent }, (_, i) => `${i}`);
      for (const client of senders) expect(await client.heard(sent)).toEqual(expected);
      child.tell();
      expect(await child.report('heard')).toEqual(Array<number>(6).fill(sent));
      expect(child.reports.at(-1)).toMatchObject({ wrong: 0 });
      expect(await child.ended()).toMatchObject({ code: 0, signal: null });
    },
  );

  it('leaves timers and other servers of its loop their turns under a flood', async () => {
    const wanted = 600_000;
    const child = new Child('inline', 'timers', wanted);
    const port = await child.report('port');
    const other = await child.report('other');
    const packet = Buffer.concat(
      Array.from({ length: 500 }, () => frame({ payload: '{"t":"tick","p":{"symbol":"ABC","price":12345.5}}' })),
    );
    const peers = await Promise.all(Array.from({ length: 4 }, () => RawPeer.open(port)));
    const delays: number[] = [];
    let flooding = true;
    const asking = (async () => {
      while (flooding) {
        const began = performance.now();
        if ((await get(other)) !== 'here') return;
        delays.push(performance.now() - began);
        await pause(10);
      }
      // It has ended, maybe before we ask for the last time.
    })().catch(() => {});
    await Promise.all(
      peers.map(async (peer) => {
        for (let sent = 0; sent < wanted / 4; sent += 500) if (!(await peer.write(packet, 20_000))) return;
      }),
    );
    const largest = await child.report('largest');
    flooding = false;
    await asking;
    const { heard, median, seconds } = Object.assign({}, ...child.reports) as Record<string, number>;
    expect(heard).toBe(wanted + 4);
    // On a machine that has nothing else to do: some ten milliseconds. It may be three times as slow as it should be.
    const stretch = Math.max(1, (seconds as number) / (wanted / 50_000));
    expect(largest).toBeLessThan(250 * stretch);
    expect(median).toBeLessThan(50 * stretch);
    delays.sort((a, b) => a - b);
    expect(delays.length).toBeGreaterThan(5);
    expect(delays[delays.length >> 1]).toBeLessThan(250 * stretch);
    expect(await child.ended()).toMatchObject({ code: 0, signal: null });
    expect(child.stderr).toBe('');
  });

  it.skipIf(!LINUX)(
    'dies with its worker at any moment: sockets end, the port is free again, no descriptor is left',
    async () => {
      const { served, ...rest } = await run('inline-workers', ['terminate']);
      expect(rest).toEqual({ ended: 42 * 6, grown: 0 });
      // The first of them die before they have served anybody.
      expect(served).toBeGreaterThan(6 * 6);
    },
  );

  it.each([
    ['inline', 'exit-handler', 21],
    ['inline', 'exit-batches', 22],
    ['inline', 'exit-stopping', 23],
    ['inline-workers', 'exit-main', 25],
  ] as const)('lets process.exit() end the process at once: %s %s', async (name, how, code) => {
    const child = new Child(name, how);
    await child.report('exiting');
    const began = performance.now();
    expect(await child.ended(15_000)).toMatchObject({ code, signal: null });
    expect(performance.now() - began).toBeLessThan(PROMPT_MS);
    expect(child.stderr).toBe('');
  });

  it('lets process.exit() in a worker end the worker with that code, and the process lives on', async () => {
    expect(await run('inline-workers', ['exit'])).toEqual({ code: 24 });
  });

  it('of a module that is loaded again, and again as CommonJS, shares the loop with the first', async () => {
    expect(existsSync(DIST), 'npm run build makes dist').toBe(true);
    expect(await run('inline', ['modules', DIST])).toEqual({ classes: 3, results: [true, true, true] });
  });

  it.skipIf(!LINUX)('is one of twenty of a loop, none has a thread, and the process ends by itself', async () => {
    const { before, during, ...rest } = await run('inline', ['twenty']);
    expect(rest).toEqual({ echoed: 20 * 60, drivers: ['inline'], codes: [1012] });
    expect(during).toBeLessThanOrEqual(before as number);
  });

  it.each(['batches', 'callbacks', 'drainInbound'])('keeps no process alive after stop(), with %s', async (delivery) => {
    expect(await run('inline', ['stop', delivery])).toEqual({ heard: 2, code: 1012 });
  });

  it('of the main thread is read, answered and published to by a worker, and goes on when that dies', async () => {
    expect(await run('inline-workers', ['attach'])).toEqual({
      answers: 500,
      inOrder: true,
      published: true,
      late: 'main late',
    });
  });

  it('serves from a blocking drainInbound() loop, which terminate() ends', async () => {
    const { took, ...rest } = await run('inline-workers', ['loop']);
    expect(rest).toEqual({ echoed: 1000, codes: [1012] });
    expect(took).toBeLessThan(PROMPT_MS);
  });

  it.skipIf(!LINUX)('shares a port with another one (reusePort) until it stops', async () => {
    expect(await run('inline-workers', ['reuse'])).toEqual({ both: 2, after: ['second'] });
  });

  it('takes and sends everything of a loop that publishes and never gives way, in order and bounded', async () => {
    const child = new Child('inline', 'publisher', 20_000);
    const port = await child.report('port');
    const clients = await Promise.all([Client.open(port), Client.open(port)]);
    const heard = clients.map((client) => {
      const numbers: number[] = [];
      client.socket.on('message', (data: Buffer) => numbers.push(Number.parseInt(data.subarray(0, 12).toString('latin1'), 10)));
      return numbers;
    });
    child.tell();
    const published = await child.report('published');
    const { bytes, most, drops, failure } = Object.assign({}, ...child.reports) as Record<string, number>;
    expect(failure).toBeUndefined();
    expect(drops).toBe(0);
    // Many times what may wait.
    expect(bytes).toBeGreaterThan(8 * 4 * 2 ** 20);
    expect(most).toBeLessThanOrEqual(4 * 2 ** 20);
    for (const numbers of heard) {
      await waitUntil(() => numbers.length >= published, 'everything that was taken');
      expect(numbers).toEqual(Array.from({ length: published }, (_, i) => i));
    }
    child.tell();
    expect(await child.ended()).toMatchObject({ code: 0, signal: null });
  });

  it('that finds its port taken starts later, when it is free', async () => {
    const codes = Array<string>(3).fill('WSE_ADDR_IN_USE');
    expect(await run('inline', ['taken'])).toEqual({ codes, same: true, echoed: true });
  });

  it.skipIf(!LINUX)('may lose its worker while it starts', async () => {
    expect(await run('inline-workers', ['starting'])).toEqual({ grown: 0 });
  });
});

describe.skipIf(!LINUX)('the driver of a server that does not say which', () => {
  const taskset = (() => {
    try {
      execFileSync('taskset', ['--version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  })();
  /** What a process on the first of our cores, or on all of them, says. */
  const driver = (shards: string, pinned: boolean): unknown => {
    const allowed = /^Cpus_allowed_list:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] as string;
    const pin = pinned ? ['taskset', '-c', allowed] : [];
    const [command = '', ...args] = [...pin, process.execPath, program('inline'), 'driver', shards];
    const env = { ...process.env, WSE_NATIVE_PATH: ADDON, NODE_OPTIONS: '' };
    return JSON.parse(execFileSync(command, args, { env, encoding: 'utf8' })).driver;
  };
  /** More than one core, and not only a part of one (cgroup). */
  const quota = (): string => (existsSync('/sys/fs/cgroup/cpu.max') ? readFileSync('/sys/fs/cgroup/cpu.max', 'utf8') : 'max');
  const several = LINUX && availableParallelism() > 1 && quota().startsWith('max');

  it.skipIf(!taskset)('is JavaScript’s loop where one core is all there is (needs taskset of util-linux)', () => {
    expect(driver('', true)).toBe('inline');
    expect(driver('0', true)).toBe('inline');
  });

  it.skipIf(!taskset)('is threads where they were asked for, on one core too (needs taskset of util-linux)', () => {
    expect(driver('1', true)).toBe('threads');
  });

  it.skipIf(!several)('is threads where there are several cores', () => {
    expect(driver('', false)).toBe('threads');
    expect(driver('"inline"', false)).toBe('inline');
  });
});

/** The body of an HTTP answer. */
function get(port: number): Promise<string> {
  return new Promise((done, fail) => {
    http
      .get({ host: '127.0.0.1', port, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.on('end', () => done(text));
      })
      .on('error', fail);
  });
}
