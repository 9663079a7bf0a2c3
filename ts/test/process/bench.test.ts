import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

// The rows are measured by hand, now and then: a server of ours that does not answer would not be noticed until then.

const PEER = fileURLToPath(new URL('../../../bench/peers/wse.mjs', import.meta.url));
const ROWS = new URL('../../../bench/rows.mjs', import.meta.url).href;
const { ROWS: rows } = (await import(ROWS)) as { ROWS: Record<string, { server?: Record<string, string[]> }> };

/** What the rows add to the command, each once. */
const words = new Map(
  Object.values(rows).flatMap(({ server = {} }) =>
    ['wse', 'wse-recovery'].map((peer) => {
      const own = peer === 'wse' ? [] : ['--recovery'];
      const all = [...own, ...(server[peer] ?? [])];
      return [all.join(' '), all] as const;
    }),
  ),
);

let child: ChildProcess | undefined;
afterEach(() => child?.kill('SIGKILL'));

describe('the server that is measured', () => {
  it.each([...words])('answers its first order: %s', async (_, args) => {
    child = spawn(process.execPath, [PEER, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    if (child.stdout === null) throw new Error('it has no output');
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const { port } = JSON.parse(line) as { port: number };
    const client = new WebSocket(`ws://127.0.0.1:${port}/`);
    await once(client, 'open');
    client.send(JSON.stringify({ c: 'U', t: 'bench', p: { op: 'hello' }, v: 1 }));
    const answered = new Promise<unknown>((resolve) => {
      client.on('message', (data) => {
        const { t, p } = JSON.parse(String(data)) as { t: string; p: unknown };
        if (t === 'ctl') resolve(p);
      });
    });
    expect(await answered).toEqual({ op: 'hello' });
    client.close();
  });
});
