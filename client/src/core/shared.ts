/**
 * What the parts that are loaded later share with what is loaded at once. It is handed to them: a part that imported it would have it split
 * off, and a page would load one file more before it can connect. Those parts import the type alone.
 */

import { DecodeError } from '../protocol/errors.js';
import { WSEError } from './errors.js';
import { matcher } from './pattern.js';
import { isPosition } from './seeds.js';
import { NOBODY, VERSION } from './server-info.js';
import { createWait } from './wait.js';

/** What is handed to whatever is loaded later. */
export interface Shared {
  readonly createWait: typeof createWait;
  readonly matcher: typeof matcher;
  readonly isPosition: typeof isPosition;
  readonly DecodeError: typeof DecodeError;
  readonly WSEError: typeof WSEError;
  readonly NOBODY: typeof NOBODY;
  readonly VERSION: typeof VERSION;
}

/** All of it. */
export const SHARED: Shared = { createWait, matcher, isPosition, DecodeError, WSEError, NOBODY, VERSION };
