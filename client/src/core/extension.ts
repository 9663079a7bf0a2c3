/**
 * The seam for parts that are not in the core, such as the outbox: what they may do to a client, and what they hear of it. An
 * extension belongs to one client.
 */

import type { Outgoing, WSEEvent } from '../protocol/types.js';
import type { Clock } from './clock.js';
import type { SendOptions } from './outgoing.js';

/** What a client lends to an extension. */
export interface ExtensionHost {
  readonly clock: Clock;
  /** Bytes that were sent and are not with the system yet; 0 without a connection. */
  readonly buffered: number;
  /** Whether messages can be sent now. */
  readonly ready: boolean;
  /** Sends at once, past the queue; false: there is no connection, nothing was sent. */
  write(message: Outgoing): boolean;
  /** Reports an error to whoever watches for them. */
  report(error: unknown): void;
}

/** What an extension hears and does. All of it is called in the client's own turn: return soon, throw nothing. */
export interface ExtensionHooks {
  /**
   * The client is ready on a new connection, and subscribed again as far as it has asked. `features` and `limits` are what `server_hello`
   * named, empty where the server never answered the hello.
   */
  connected?(features: Readonly<Record<string, unknown>>, limits?: Readonly<Record<string, unknown>>): void;
  /** The connection is gone. */
  disconnected?(): void;
  /** A message, before anybody else gets it; true: it was for the extension alone. */
  event?(event: WSEEvent): boolean;
  /** A message to be sent: a promise takes it over, undefined leaves it to the client. */
  send?(type: string, payload: unknown, options: SendOptions): Promise<void> | undefined;
  /** The client ends; its `close()` waits for the promise. */
  close?(): void | Promise<void>;
}

/** A part of a client, made by its own entry. */
export interface Extension {
  /** Members of `client_hello`'s `features`. */
  readonly features?: Readonly<Record<string, boolean>>;
  /** Called once, as the client is made. */
  attach(host: ExtensionHost): ExtensionHooks;
}
