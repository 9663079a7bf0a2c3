/** A client under test: closed with the test, its notices at hand. */

import { onTestFinished } from 'vitest';
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
