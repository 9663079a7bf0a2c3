/** The Python client as it is published, in a process and an environment of its own. */

import { fileURLToPath } from 'node:url';
import { encodeJwt } from '../../src/index.js';
import { waitUntil } from '../support/server.js';
import { Child } from './harness.js';

const SCRIPT = fileURLToPath(new URL('python_peer.py', import.meta.url));

/** What the servers of its tests sign with. */
export const SECRET = 'a-secret-of-at-least-32-bytes-for-HS256';
/** How long it may take to be installed. */
export const INSTALL_MS = 300_000;

/** A token of its user. */
export const token = (secret: string = SECRET): string =>
  encodeJwt({ sub: 'py-user', exp: Math.floor(Date.now() / 1000) + 300 }, secret);

/** What it tells, one object a line. */
export type Line = Record<string, unknown> & { kind: string };

/** One client in a process of its own. */
export class Python extends Child {
  readonly #lines: Line[] = [];

  constructor(python: string, command: Record<string, unknown> = {}) {
    super(python, ['-u', SCRIPT]);
    this.do('connect', command);
  }

  static join(python: string, { port }: { port: number }, command: Record<string, unknown> = {}, query = ''): Python {
    return new Python(python, { url: `ws://127.0.0.1:${port}/wse${query}`, token: token(), ...command });
  }

  do(command: string, members: Record<string, unknown> = {}): void {
    this.say(JSON.stringify({ do: command, ...members }));
  }

  /** What it has told so far. */
  get lines(): readonly Line[] {
    for (const line of this.out.slice(this.#lines.length)) this.#lines.push(JSON.parse(line));
    return this.#lines;
  }

  frames(head: string): Line[] {
    return this.lines.filter((line) => line.kind === 'frame' && String(line['head']).startsWith(head));
  }

  /** The n-th line of a kind with these members, from the beginning. */
  async heard(kind: string, members: Record<string, unknown> = {}, n = 1, deadlineMs?: number): Promise<Line> {
    const wanted = Object.entries(members);
    const fits = (line: Line) => line.kind === kind && wanted.every(([name, value]) => line[name] === value);
    const find = () => {
      const found = this.lines.filter(fits)[n - 1];
      if (found === undefined && !this.running) throw new Error(`the client ended: ${this.err.join('\n')}`);
      return found;
    };
    return waitUntil(find, `${kind} ${JSON.stringify(members)} from the Python client`, deadlineMs);
  }

  async stats(): Promise<Line> {
    const before = this.lines.filter(({ kind }) => kind === 'stats').length;
    this.do('stats');
    return this.heard('stats', {}, before + 1);
  }
}
