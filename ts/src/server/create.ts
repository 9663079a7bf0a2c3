/** From options to a new engine: the addon is loaded, the options are checked. Starts nothing. */

import { threadId } from 'node:worker_threads';
import { native } from '../errors.js';
import type { NativeOptions } from '../native/index.js';
import { loadNative } from '../native/loader.js';
import type { HttpPart } from '../options/http.js';
import { resolveAll } from '../options/resolve.js';
import type { WSEServerOptions } from '../options/types.js';
import { EngineHandle } from './engine-handle.js';
import type { Probes } from './probes.js';
import { Questions } from './questions.js';

/** What a facade begins with. */
export interface Created {
  engine: EngineHandle;
  /** The paths it serves; null: any. */
  paths: string[] | null;
  /** The HTTP server that gets what is no upgrade. */
  httpServer: HttpPart['server'];
  /** What the engine answers instead. */
  probes: Probes;
  /** Requests of it that may wait for their answers. */
  maxPendingRequests: number;
  /** Warn at its start that a cookie is trusted whatever page it comes from. */
  warnOrigin: boolean;
  /** What answers the engine, if it has anything to ask. */
  questions: Questions | undefined;
}

/** A new engine. */
export function createEngine(given: WSEServerOptions): Created {
  const binding = loadNative();
  const { native: options, httpServer, answering, maxPendingRequests } = resolveAll(given);
  const made = native(() => new binding.NativeServer(options));
  made.setThread(threadId);
  const engine = new EngineHandle(binding, made, 'created');
  const header = options.trustProxy?.header ?? 'x-forwarded-for';
  return {
    engine,
    paths: pathsOf(options.endpoints),
    httpServer,
    maxPendingRequests,
    probes: {
      paths: new Set([options.http?.health, options.http?.ready, options.http?.metrics].filter((path) => path != null)),
      header: header === 'proxy-protocol' ? null : header,
    },
    questions: asks(options) ? new Questions(engine, given, answering) : undefined,
    warnOrigin: options.jwt?.from.includes('cookie') === true && options.allowedOrigins === null,
  };
}

function pathsOf(endpoints: readonly { path?: string | null }[]): string[] | null {
  const paths = endpoints.map(({ path }) => path);
  return paths.every((path) => typeof path === 'string') ? paths : null;
}

/** Whether the engine has anything to ask. */
function asks({ askUpgrade, jwt, authorize, snapshots }: NativeOptions): boolean {
  return askUpgrade || (jwt?.keysTtl ?? null) !== null || authorize !== null || (snapshots?.provider ?? null) !== null;
}

/** A cookie is sent whatever page asks, and nobody looks at which that is. */
export function warnOfOrigin(): void {
  process.emitWarning('clients are recognised by a cookie but their Origin is not checked: set allowedOrigins', {
    type: 'WSESecurityWarning',
    code: 'WSE_ORIGIN_UNCHECKED',
  });
}
