/** A client under test: closed with the test, its notices at hand. */

import { onTestFinished } from 'vitest';
import { within } from '../../../ts/test/support/wait.js';
import { type ClientOptions, connect, type Notices, type WSEClient, type WSEEvent } from '../../src/index.js';

/** A client and everything it said. */
export interface TestClient {
  readonly client: WSEClient;
  /** Every event but the protocol's own. */
  readonly events: WSEEvent[];
  readonly states: Notices['state'][];
  readonly errors: Error[];
  readonly lost: Notices['lost'][];
}

/** Connects; inside a test the client is closed when the test ends. */
export function open(url: string | string[], options: ClientOptions = {}): TestClient {
  const client = connect(url, options);
  const test: TestClient = { client, events: [], states: [], errors: [], lost: [] };
  client.onAny((event) => test.events.push(event));
  client.watch('state', (change) => test.states.push(change));
  client.watch('error', (error) => test.errors.push(error));
  client.watch('lost', (range) => test.lost.push(range));
  onTestFinished(() => client.close());
  return test;
}

/** Ends a connection, and waits until the client has noticed. Whoever looks from time to time may come when the next one is there. */
export async function cut(client: WSEClient, end: () => void): Promise<void> {
  const noticed = new Promise<void>((resolve) => {
    client.watch('state', ({ state }) => state === 'reconnecting' && resolve());
  });
  end();
  await within(noticed, 'the end of the connection');
}
