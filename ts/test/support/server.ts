/** A server under test: on a port of its own, with everything it hears at hand, ended with the test. */

import { onTestFinished } from 'vitest';
import { type HealthSnapshot, RustWSEServer, type WSEEvent, type WSEServerOptions } from '../../src/index.js';
import { threads } from './driver.js';
import { DEADLINE_MS, waitUntil } from './wait.js';

export { DEADLINE_MS, waitUntil, within } from './wait.js';

/** How a test server differs from a plain one. */
export interface TestServerOptions extends Partial<WSEServerOptions> {
  /** Which events are kept in `events`; `false`: nobody drains the server. @default all */
  keep?: boolean | ((event: WSEEvent) => boolean);
  /** Called for every event. @default nothing */
  onEvent?: (event: WSEEvent, server: RustWSEServer) => void;
}

/** An event of one kind. */
export type EventOf<T extends WSEEvent[0]> = Extract<WSEEvent, readonly [T, unknown, unknown]>;

/** A started server and its collector. */
export interface TestServer extends AsyncDisposable {
  readonly server: RustWSEServer;
  readonly port: number;
  /** What was heard and not taken yet. */
  readonly events: WSEEvent[];
  /** Takes the first event that satisfies `wanted`; those before it stay. */
  waitForEvent(wanted: (event: WSEEvent) => boolean, deadlineMs?: number): Promise<WSEEvent>;
  /** Takes the first event of a kind, of one connection or of any. */
  take<T extends WSEEvent[0]>(kind: T, conn?: number): Promise<EventOf<T>>;
  health(): HealthSnapshot;
  /** One value of the health snapshot as a number. */
  gauge(name: string): number;
  /** One unlabelled sample of the metrics. */
  metric(name: string): number;
  stop(): Promise<void>;
}

/** Starts a server with two shards on a free port. Inside a test it is stopped when the test ends. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { keep = true, onEvent, ...rest } = options;
  const server = new RustWSEServer({ port: 0, shards: threads(2), ...rest });
  const { port } = await server.start();
  const events: WSEEvent[] = [];
  const wanted = typeof keep === 'function' ? keep : () => true;
  const reading = keep === false ? Promise.resolve() : collect(server, events, wanted, onEvent);
  // Told where the server is stopped, however long before that it failed.
  reading.catch(() => {});
  const stop = async (): Promise<void> => {
    await server.stop({ timeout: 1 });
    await reading;
  };
  try {
    onTestFinished(stop);
  } catch {
    // In a hook: whoever started it stops it.
  }

  const waitForEvent = async (matches: (event: WSEEvent) => boolean, deadlineMs = DEADLINE_MS): Promise<WSEEvent> => {
    const index = await waitUntil(
      () => {
        const found = events.findIndex(matches);
        return found < 0 ? undefined : { found };
      },
      () =>
        `event among ${
          events
            .map(([type, conn]) => `${type} ${conn}`)
            .join(', ')
            .slice(-500) || 'none'
        }`,
      deadlineMs,
    );
    return events.splice(index.found, 1)[0] as WSEEvent;
  };
  const metric = (name: string): number => {
    const match = new RegExp(`^${name} (\\S+)$`, 'm').exec(server.prometheusMetrics());
    if (match === null) throw new Error(`no metric ${name}`);
    return Number(match[1]);
  };
  return {
    server,
    // Of a server that was given none: nobody connects to it.
    port: port ?? 0,
    events,
    waitForEvent,
    take: async (kind, conn) =>
      (await waitForEvent(([type, from]) => type === kind && (conn === undefined || from === conn))) as EventOf<typeof kind>,
    health: () => server.healthSnapshot(),
    gauge: (name) => {
      const value = server.healthSnapshot()[name];
      if (typeof value !== 'number') throw new Error(`no number ${name} in the health snapshot`);
      return value;
    },
    metric,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function collect(
  server: RustWSEServer,
  events: WSEEvent[],
  wanted: (event: WSEEvent) => boolean,
  onEvent: ((event: WSEEvent, server: RustWSEServer) => void) | undefined,
): Promise<void> {
  for await (const batch of server.batches()) {
    for (const event of batch) {
      onEvent?.(event, server);
      if (wanted(event)) events.push(event);
    }
  }
}

/** Resident memory of this process, bytes. The engine and its peers share it, so leave room in what you expect of it. */
export function rss(): number {
  return process.memoryUsage.rss();
}

export const MIB: number = 2 ** 20;
