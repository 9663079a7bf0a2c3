/**
 * Messages on their way out: given names, encoded, taken over by extensions, gathered into batches, or queued (`outgoing.ts`). It writes to
 * no socket itself.
 */

import { encode } from '../protocol/encode.js';
import type { Outgoing } from '../protocol/types.js';
import { WSEError } from './errors.js';
import type { ExtensionHooks } from './extension.js';
import type { Settings } from './options.js';
import { levelOf, type OutgoingQueue, type SendOptions } from './outgoing.js';
import type { PartContext } from './parts.js';

/** What it needs of a client. */
export interface SendingHost {
  readonly settings: Settings;
  readonly context: PartContext;
  readonly outgoing: OutgoingQueue;
  readonly hooks: readonly ExtensionHooks[];
  id(): string;
  /** What has ended the client, if anything has. */
  ending(): WSEError | undefined;
}

/** The ways to send. */
export interface Sending {
  /** Through the queue. */
  queue(message: Outgoing, options?: SendOptions): Promise<void>;
  send(type: string, payload?: unknown, options?: SendOptions): Promise<void>;
  sendWithRetry(type: string, payload?: unknown, options?: SendOptions & { readonly retries?: number }): Promise<void>;
  sendBatch(messages: readonly (readonly [type: string, payload?: unknown])[], options?: SendOptions): Promise<void>;
  /** What is being gathered is sent no more. */
  close(): void;
}

/** Nothing is on its way yet. */
export function createSending({ settings, context, outgoing, hooks, id, ending }: SendingHost): Sending {
  const { timeout: patience, clock } = settings;

  const queue: Sending['queue'] = async (message, { priority, correlationId, timeout = patience, signal } = {}) => {
    const ended = ending();
    if (ended) throw ended;
    const level = levelOf(priority);
    let text: string;
    try {
      // What is normal goes without saying.
      text = encode({ ...message, ...(correlationId && { correlationId }), ...(level !== 5 && { priority: level }), id: id() });
    } catch (cause) {
      throw new WSEError('WSE_ARGUMENT', `${message.type}: no JSON`, { cause });
    }
    return outgoing.add(text, level, timeout, signal);
  };
  const sendBatch: Sending['sendBatch'] = (messages, options) => {
    const list = messages.map(([t, p = {}]) => ({ t, p, id: id(), v: 1 }));
    return queue({ type: 'batch', payload: { messages: list, count: list.length } }, options);
  };
  const batcher = settings.batch?.(context, {
    all: (messages, timeout) => sendBatch(messages, { timeout }),
    one: (type, payload, timeout) => queue({ type, payload }, { timeout }),
  });
  const send: Sending['send'] = async (type, payload, options = {}) => {
    const { priority, correlationId, timeout = patience, signal } = options;
    const level = levelOf(priority);
    for (const hook of hooks) {
      const taken = hook.send?.(type, payload, options);
      if (taken) return taken;
    }
    if (batcher && level <= 5 && !correlationId && !signal && !ending()) return batcher.add(type, payload, timeout);
    return queue({ type, payload }, options);
  };
  return {
    queue,
    send,
    sendBatch,
    async sendWithRetry(type, payload, { retries = 5, ...options } = {}) {
      for (let tries = 0; ; tries += 1) {
        try {
          return await send(type, payload, options);
        } catch (error) {
          if (!/TIMEOUT|FULL/.test((error as WSEError).code) || tries >= retries) throw error;
          await new Promise<void>((resolve) => clock.setTimeout(resolve, Math.min(2_000, 100 * 2 ** tries)));
        }
      }
    },
    close: () => batcher?.close(),
  };
}
