/** From options to a new engine: the addon is loaded, the options are checked. Starts nothing. */

import { threadId } from 'node:worker_threads';
import { native } from '../errors.js';
import { loadNative } from '../native/loader.js';
import { resolveOptions } from '../options/resolve.js';
import type { WSEServerOptions } from '../options/types.js';
import { EngineHandle } from './engine-handle.js';

/** A new engine, the paths it serves (null: any), and whether to warn at its start that a cookie is trusted whatever page it comes from. */
export function createEngine(given: WSEServerOptions): { engine: EngineHandle; paths: string[] | null; warnOrigin: boolean } {
  const binding = loadNative();
  const options = resolveOptions(given);
  const engine = native(() => new binding.NativeServer(options));
  engine.setThread(threadId);
  return {
    engine: new EngineHandle(binding, engine, 'created'),
    paths: pathsOf(options.endpoints),
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
