/** From options to a new engine: the addon is loaded, the options are checked. Starts nothing. */

import { native } from '../errors.js';
import { loadNative } from '../native/loader.js';
import { resolveAll } from '../options/resolve.js';
import type { WSEServerOptions } from '../options/types.js';
import { EngineHandle } from './engine-handle.js';
import { HttpDoor } from './http-door.js';

/** What a facade begins with. */
export interface Created {
  engine: EngineHandle;
  /** Takes the requests that are no upgrades. */
  door: HttpDoor | null;
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
    door: httpServer === null ? null : new HttpDoor(engine, httpServer),
    warnOrigin: options.jwt?.from.includes('cookie') === true && options.allowedOrigins === null,
  };
}

/** A cookie is sent whatever page asks, and nobody looks at which that is. */
export function warnOfOrigin(): void {
  process.emitWarning('clients are recognised by a cookie but their Origin is not checked: set allowedOrigins', {
    type: 'WSESecurityWarning',
    code: 'WSE_ORIGIN_UNCHECKED',
  });
}
