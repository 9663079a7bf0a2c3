/** Clients of a server that answers them itself (`subscriptions: 'acl'`), and what is reported meanwhile. */

import { onTestFinished, vi } from 'vitest';
import type { WSEServerOptions } from '../../src/index.js';
import { startServer, type TestServer } from '../support/server.js';
import { type Client, QUIET } from './client.js';

/** A server that answers. */
export function start(options: Partial<WSEServerOptions> = {}): Promise<TestServer> {
  return startServer({ ...QUIET, subscriptions: 'acl', ...options });
}

/** What a client has been told. */
export interface Told {
  c: string;
  t: string;
  p: Record<string, unknown>;
}

/** Sends a `subscription_update`. */
export function send(client: Client, topics: unknown, action = 'subscribe'): void {
  client.send(JSON.stringify({ c: 'WSE', t: 'subscription_update', p: { action, topics }, v: 1 }));
}

/** The next `count` texts. */
export async function next(client: Client, count = 1): Promise<Told[]> {
  await client.heard(count);
  return client.texts.splice(0, count).map((text) => JSON.parse(text) as Told);
}

/** What the reply to an update says: succeeded, failed, why. */
export async function ask(client: Client, topics: unknown, action = 'subscribe'): Promise<[unknown, unknown, unknown]> {
  send(client, topics, action);
  const [reply] = await next(client);
  const { success_topics, failed_topics, failed_reasons } = (reply as Told).p;
  return [success_topics, failed_topics, failed_reasons];
}

/** What is reported, and not shown. */
export function warnings(): { code: string | undefined; message: string }[] {
  const heard: { code: string | undefined; message: string }[] = [];
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation(((warning: unknown, options: unknown) => {
    heard.push({ message: String(warning), code: (options as { code?: string } | undefined)?.code });
  }) as typeof process.emitWarning);
  onTestFinished(() => spy.mockRestore());
  return heard;
}
