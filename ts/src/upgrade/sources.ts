/**
 * Where sockets come from that an engine has given to Node, as it has judged their first request: a proxy may have named the client
 * before it. Knows no other socket.
 */

import type { Duplex } from 'node:stream';
import type { NativeSource } from '../native/index.js';

/** By socket; whoever is not in it is what its ends say. */
export const SOURCES: WeakMap<Duplex, NativeSource> = new WeakMap();
