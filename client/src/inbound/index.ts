/**
 * The entry of `wse-client/inbound`: what a client otherwise loads with its first attempt, and for packed frames, for where nothing may be
 * imported later.
 */

import { createInbound, type InboundHost } from '../core/inbound.js';
import type { InboundPart } from '../core/options.js';
import { createOpener } from '../protocol/packed.js';

/** `connect(url, { inbound })`: where nothing may be imported later, such as in service workers. */
export const inbound: InboundPart = (host) => createInbound(host as InboundHost, createOpener);
