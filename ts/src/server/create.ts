/** From options to a new engine: the addon is loaded, the options are checked. Starts nothing. */

import { native } from '../errors.js';
import { loadNative } from '../native/loader.js';
import type { HttpPart } from '../options/http.js';
import { resolveAll } from '../options/resolve.js';
import type { WSEServerOptions } from '../options/types.js';
import { EngineHandle } from './engine-handle.js';
import type { Questions } from './questions.js';

/** What a facade begins with. */
export interface Created {
  engine: EngineHandle;
  /** The paths it serves; null: any. */
  paths: string[] | null;
  /** The HTTP server that gets what is no upgrade. */
  httpServer: HttpPart['server'];
  /** What the engine answers instead. */
  questions: Questions;
  /** Warn at the start that a cookie is trusted whatever page it comes from. */
  warnOrigin: boolean;
}

/** A new engine. */
export function createEngine(given: WSEServerOptions): Created {
  const binding = loadNative();
  const { native: options, httpServer } = resolveAll(given);
  const created = native(() => new binding.NativeServer(options));
  const engine = new EngineHandle(binding, created, 'created');
  return {
    engine,
    paths: pathsOf(options.endpoints),
    httpServer,
    questions: {
      paths: new Set([options.http?.health, options.http?.ready, options.http?.metrics].filter((path) => path != null)),
      header: options.trustProxy?.header ?? 'x-forwarded-for',
    },
    warnOrigin: options.jwt?.from.includes('cookie') === true && options.allowedOrigins === null,
  };
}

function pathsOf(endpoints: readonly { path?: string | null }[]): string[] | null {
  const paths = endpoints.map(({ path }) => path);
  return paths.every((path) => typeof path === 'string') ? paths : null;
}

/** A cookie is sent whatever page asks, and nobody looks at which that is. */
export function warnOfOrigin(): void {
  process.emitWarning('clients are recognised by a cookie but their Origin is not checked: set allowedOrigins', {
    type: 'WSESecurityWarning',
    code: 'WSE_ORIGIN_UNCHECKED',
  });
}
