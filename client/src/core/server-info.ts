/** What a server has said of itself, and who asks it. Constants and a type; nothing here acts. */

/** This package's version, as `client_hello` names it. */
export const VERSION = '0.1.0';

/** What a server has said of itself on this connection. */
export interface ServerInfo {
  /** Its name for this connection. */
  readonly connectionId: string | undefined;
  /** Whom it takes this client for: the token's `sub`. */
  readonly userId: string | undefined;
  /** What it can, from `server_ready` and `server_hello`. */
  readonly features: Readonly<Record<string, unknown>>;
  /** Its limits, from `server_hello`. */
  readonly limits: Readonly<Record<string, unknown>>;
  /** Whether it has said `server_ready`. */
  readonly ready: boolean;
  /** Whether it has answered `client_hello`. */
  readonly hello: boolean;
}

/** It has said nothing yet. */
export const NOBODY: ServerInfo = {
  connectionId: undefined,
  userId: undefined,
  features: {},
  limits: {},
  ready: false,
  hello: false,
};
