// The page's client: where it connects, as whom, and how patient it is.
//
// Owns: the options of `wse-client`, the engine's address, this tab's number.
// Never: listens to a message (link.js), keeps a position or counts an attempt (the client does).

import { networkQuality } from 'wse-client';
import { createNetwork } from './network.js';

const KEY = 'wse-tab';
const ASK_AGAIN_MS = 500;

/** This tab's number: it is the same one after a reload, and another one in a copy of the tab that is open beside it. */
export const tab = ownTab();
export const network = createNetwork();

/** The engine's address, as soon as the server says it. */
export async function findEngine() {
  for (;;) {
    const url = await address();
    if (url !== undefined) return url;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

/** The configuration of the provider. `follow` gets the client before anything comes. */
export function configure(url, follow) {
  let known = url;
  let client;
  return {
    url,
    webSocket: network.Socket,
    quality: networkQuality(),
    heartbeat: 1000, // the page says within two that nothing comes
    idleTimeout: 8000, // and tries another connection
    connectTimeout: 6000,
    readyTimeout: 6000,
    reconnect: { baseDelay: 400, factor: 2, maxDelay: 10_000 },
    prepare(made) {
      client = made;
      return follow(made);
    },
    // Called for each attempt. There is no token here; but a server that was restarted has another port.
    async token() {
      const now = network.off ? undefined : await address();
      if (now !== undefined && now !== known) {
        known = now;
        client.changeEndpoint(now);
      }
      return null;
    },
  };
}

/** Undefined where nobody answers. */
async function address() {
  try {
    const response = await fetch('/config.json', { cache: 'no-store', signal: AbortSignal.timeout(3000) });
    if (response.ok) return `${(await response.json()).url}?tab=${tab}`;
  } catch {
    // The client goes on trying, and asks again.
  }
  return undefined;
}

function ownTab() {
  let own = null;
  try {
    own = sessionStorage.getItem(KEY);
    if (own === null) {
      own = crypto.randomUUID();
      sessionStorage.setItem(KEY, own);
    }
  } catch {
    // Storage is switched off: a new one each time.
  }
  return own ?? crypto.randomUUID();
}
