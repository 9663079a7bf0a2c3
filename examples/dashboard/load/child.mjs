// A child process of the load.
//
// Owns: starting one, its messages, its end. It is told to end by closing its channel, and made to end by a signal; what
// this process leaves behind when it is killed ends by itself, for the same reason.
// Never: restarts one.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

export class Child {
  #process;
  #ending = false;
  /** Resolves when it is gone. */
  ended;

  /** @param {{ message(m: object): void, lost(code: number | string): void }} events  lost: it ended, and nobody had asked it to */
  constructor(script, args, events) {
    const file = fileURLToPath(new URL(script, import.meta.url));
    const child = fork(file, args.map(String), { execArgv: ['--expose-gc'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#process = child;
    alive.add(child);
    child.on('message', (message) => this.#ending || events.message(message));
    this.ended = new Promise((resolve) => {
      const end = (how) => {
        alive.delete(child);
        resolve();
        if (!this.#ending) events.lost(how);
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, signal) => end(code ?? signal));
    });
  }

  get pid() {
    return this.#process.pid;
  }

  send(message) {
    if (this.#process.connected) this.#process.send(message, () => {}); // it is gone: `lost` says so
  }

  /** What it holds is only a load: nothing has to be saved. */
  end() {
    this.#ending = true;
    this.#process.kill('SIGKILL');
    return this.ended;
  }
}
