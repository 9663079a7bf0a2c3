/** The warning that somebody was turned away because of a limit, once for each option that would have let them in. */

import type { EngineHandle } from './engine-handle.js';

const OPTIONS = {
  connections: 'maxConnections',
  pending: 'handshake.maxPending',
  perAddress: 'handshake.maxPendingPerAddress',
} as const;

/** Looks for limits that were met. */
export class FullWarning {
  readonly #warned = new Set<string>();

  /** Warns of what is new since the last look. */
  look(engine: EngineHandle): void {
    const met = engine.calls.limitsMet(engine.id);
    if (met === null) return;
    for (const [name, option] of Object.entries(OPTIONS) as [keyof typeof OPTIONS, string][]) {
      if (!met[name] || this.#warned.has(option)) continue;
      this.#warned.add(option);
      process.emitWarning(`a server is full and has answered a client 503: raise ${option} to let more in`, {
        type: 'WSEFullWarning',
        code: 'WSE_CONNECTIONS_FULL',
      });
    }
  }
}
