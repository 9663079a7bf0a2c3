/** Servers that ask `onUpgrade`, for the tests of what it may do and of who waits for it. */

import type { OnUpgrade, UpgradeAnswer, WSEServerOptions } from '../../src/index.js';
import { RawPeer, upgradeRequest } from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { QUIET } from './client.js';

/** An answer that never comes. */
export const never = (): Promise<UpgradeAnswer> => new Promise(() => {});

/** A server that asks `onUpgrade` about everybody. */
export function start(onUpgrade: OnUpgrade, options: Partial<WSEServerOptions> = {}): Promise<TestServer> {
  return startServer({ ...QUIET, ...options, onUpgrade });
}

/** One that answers nobody, with the signals of all it was asked about. */
export async function startUnanswered(): Promise<{ on: TestServer; signals: AbortSignal[] }> {
  const signals: AbortSignal[] = [];
  const on = await start(
    (request) => {
      signals.push(request.signal);
      return never();
    },
    { handshake: { timeout: 600, upgradeTimeout: 599 } },
  );
  return { on, signals };
}

/** The status a request to upgrade is answered with. */
export async function statusOf(port: number, options: Parameters<typeof upgradeRequest>[0] = {}): Promise<number> {
  const [response, peer] = await RawPeer.ask(port, upgradeRequest(options));
  peer.destroy();
  return response.status;
}
