/** An honest connection, opened before an attack. It tells whether the server still serves. */

import { expect } from 'vitest';
import { destroyAllBut, RawPeer, type UpgradeOptions } from '../support/raw-peer.js';
import { startServer, type TestServer, type TestServerOptions, waitUntil } from '../support/server.js';

export interface Witness {
  readonly peer: RawPeer;
  readonly conn: number;
  /** One message to the server's JavaScript and one back. */
  echoes(deadlineMs?: number): Promise<void>;
}

/** Opens an honest connection to a server whose events are kept. */
export async function openWitness(target: TestServer, options: UpgradeOptions = {}): Promise<Witness> {
  const before = new Set(target.server.getConnections());
  const peer = await RawPeer.open(target.port, options);
  const conn = await waitUntil(() => target.server.getConnections().find((id) => !before.has(id)), 'connection of the witness');
  let count = 0;
  return {
    peer,
    conn,
    async echoes(deadlineMs) {
      count += 1;
      const asked = `{"t":"echo","p":${count}}`;
      peer.text(asked);
      const heard = count;
      await target.waitForEvent(
        ([type, from, payload]) =>
          type === 'msg' &&
          from === conn &&
          (payload as { t?: unknown }).t === 'echo' &&
          (payload as { p?: unknown }).p === heard,
        deadlineMs,
      );
      expect(target.server.send(conn, `{"t":"echoed","p":${count}}`)).toBe(true);
      await peer.nextText((text) => text === `{"t":"echoed","p":${heard}}`, deadlineMs);
    },
  };
}

/** A server with a witness who was heard once before the attack begins. */
export async function attacked(
  options: TestServerOptions = {},
  upgrade: UpgradeOptions = {},
): Promise<{ target: TestServer; witness: Witness }> {
  const target = await startServer(options);
  const witness = await openWitness(target, upgrade);
  await witness.echoes();
  return { target, witness };
}

/** After an attack: the witness is served, nothing panicked, and once the attackers left, what they held was given back. */
export async function unharmed(target: TestServer, witness: Witness): Promise<void> {
  await witness.echoes();
  expect(target.metric('wse_panics_total')).toBe(0);
  destroyAllBut(witness.peer);
  await waitUntil(() => target.gauge('pending_handshakes') === 0, 'end of all handshakes');
  await waitUntil(() => target.gauge('reassembly_bytes') === 0, 'end of all incomplete messages');
}

/** Waits until only the witness is connected. */
export async function alone(target: TestServer): Promise<void> {
  await waitUntil(() => target.server.getConnectionCount() === 1, 'departure of the attackers');
}
