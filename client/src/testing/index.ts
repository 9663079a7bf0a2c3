/**
 * The entry of `wse-client/testing`: a real engine for a test, on a port of its own, with everything it hears at hand. Needs the package
 * `wse-server`; in Node, Bun and Deno.
 */

import type { RustWSEServer, WSEEvent, WSEServerOptions } from 'wse-server';

/** A running engine. */
export interface TestServer extends AsyncDisposable {
  /** Where clients connect. */
  readonly url: string;
  readonly server: RustWSEServer;
  /** What it has heard and nobody has taken, oldest first: `connect`, `msg`, `disconnect` … with connection and payload. At most 10,000. */
  readonly events: readonly WSEEvent[];
  /** Takes the first event of a kind, waiting for it. Rejects after `timeout` ms. @default 5000 */
  next<K extends WSEEvent[0]>(kind: K, timeout?: number): Promise<Extract<WSEEvent, readonly [K, unknown, unknown]>>;
  /** Takes the first message of a type, waiting for it; resolves with its payload. */
  message(type: string, timeout?: number): Promise<unknown>;
  /** Closes all connections: clients come back. @default 4300 */
  drop(code?: number): void;
  stop(): Promise<void>;
}

const LIMIT = 10_000;

/** Starts an engine that answers subscriptions and recovers, unless the options say otherwise. Stop it, or declare it with `await using`. */
export async function startTestServer(options: Partial<WSEServerOptions> = {}): Promise<TestServer> {
  const { RustWSEServer: Server } = await import('wse-server');
  const server = new Server({ port: 0, subscriptions: 'acl', recovery: true, ...options });
  const { host, port } = await server.start();
  const events: WSEEvent[] = [];
  const waiting = new Set<() => void>();
  const reading = (async () => {
    for await (const batch of server.batches()) {
      events.push(...batch);
      events.splice(0, events.length - LIMIT);
      for (const look of [...waiting]) look();
    }
  })();
  const stop = async (): Promise<void> => {
    await server.stop({ timeout: 1 });
    await reading;
  };
  const take = <T>(find: (event: WSEEvent) => T | undefined, what: string, timeout = 5_000): Promise<T> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        for (const [index, event] of events.entries()) {
          const found = find(event);
          if (found === undefined) continue;
          events.splice(index, 1);
          waiting.delete(look);
          clearTimeout(timer);
          resolve(found);
          return;
        }
      };
      const timer = setTimeout(() => {
        waiting.delete(look);
        reject(new Error(`no ${what} within ${timeout} ms; heard: ${events.map(([kind]) => kind).join(', ') || 'nothing'}`));
      }, timeout);
      waiting.add(look);
      look();
    });
  return {
    url: `ws://${host === '0.0.0.0' ? '127.0.0.1' : host}:${port}/wse`,
    server,
    events,
    next: (kind, timeout) => take<never>((event) => (event[0] === kind ? (event as never) : undefined), kind, timeout),
    async message(type, timeout) {
      const [payload] = await take<[unknown]>(
        ([kind, , message]) => (kind === 'msg' && message.t === type ? [message.p] : undefined),
        `message ${type}`,
        timeout,
      );
      return payload;
    },
    drop(code = 4300) {
      for (const conn of server.getConnections()) server.disconnect(conn, { code });
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
