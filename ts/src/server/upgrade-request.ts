/** A request for an upgrade as `onUpgrade` sees it, and what may be answered. Decides nothing, and never answers. */

import type { JsonObject, JsonValue } from '../events.js';

/** What `onUpgrade` sees of a request that the engine itself has nothing against. */
export interface UpgradeRequest {
  /** Always `GET` (RFC 6455 §4.1). */
  readonly method: string;
  /** The path of the target, without the query; percent-encoding is left as it came. */
  readonly path: string;
  /** The query, without its `?`; empty where there is none. */
  readonly search: string;
  /** The query's parameters, decoded when first asked for. */
  readonly query: URLSearchParams;
  /** Names in lower case, repeated ones joined as Node's `http` does; a byte that is not ASCII is one character (Latin-1). */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** By their names; the first of equal ones, without quotes, percent-decoded where that is possible. Read when first asked for. */
  readonly cookies: Readonly<Record<string, string | undefined>>;
  /** The IP address it came from; behind a proxy that `trustProxy` names, the client's. */
  readonly address: string;
  /** The subprotocols the client offers; a token among them (`jwt.from`) is left out. */
  readonly protocols: readonly string[];
  /** The user its verified token names (`sub`); null without `jwt`. */
  readonly user: string | null;
  /** All claims of that token; null without `jwt`. */
  readonly claims: JsonObject | null;
  /** Aborted when no answer is needed any more: the client is gone, the time is over, the server stops. */
  readonly signal: AbortSignal;
}

/** A client is let in. */
export interface UpgradeTerms {
  /** Who it is: 1 to 1024 bytes. As `sub` of a token would, it makes the event `auth_connect`. @default the token's `sub`, if any */
  user?: string;
  /** Kept with the connection, for `getConnectionInfo()` in any thread: at most 65536 bytes of JSON. @default null */
  data?: JsonValue;
  /** The subprotocol to agree on, one of those the client offers. @default the first of `protocols` that it offers */
  protocol?: string;
  /** What it may subscribe to, as with `setTopicAcl()`. @default what its token says, else everything */
  acl?: { allow?: readonly string[] | null; deny?: readonly string[] | null };
  /**
   * Topics and patterns, at most 1024, it is subscribed to before it hears that it is connected: no publication from then on is
   * missed. What the ACL or the limits do not allow is left out. @default none
   */
  topics?: readonly string[];
}

/** A client is sent away with a response. */
export interface UpgradeRefusal {
  /** 200 to 599. */
  status: number;
  /** At most 64 fields; `Connection`, `Content-Length`, `Transfer-Encoding` and `Upgrade` are the engine's. @default none */
  headers?: Readonly<Record<string, string | number | readonly string[]>>;
  /** At most 65536 bytes of UTF-8, `text/plain` unless `headers` says otherwise. @default '' */
  body?: string;
}

/** What `onUpgrade` answers; nothing lets the client in as it is. */
export type UpgradeAnswer = UpgradeTerms | UpgradeRefusal | undefined | null;

/** Decides who may in. */
export type OnUpgrade = (request: UpgradeRequest) => UpgradeAnswer | PromiseLike<UpgradeAnswer>;

/** A question about a request, as it crosses. @internal */
export interface UpgradeQuestion {
  id: number;
  kind: 'upgrade';
  path: string;
  query: string;
  headers: [name: string, value: string][];
  address: string;
  protocols: string[];
  user: string | null;
  claims: JsonObject | null;
}

/** Fields of which Node's `http` takes the first one and no other. */
const ONCE: ReadonlySet<string> = new Set([
  'age',
  'authorization',
  'content-length',
  'content-type',
  'etag',
  'expires',
  'from',
  'host',
  'if-modified-since',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'referer',
  'retry-after',
  'server',
  'user-agent',
]);

/** What a question asks about. @internal */
export class Upgrade implements UpgradeRequest {
  readonly method = 'GET';
  readonly path: string;
  readonly search: string;
  readonly address: string;
  readonly protocols: readonly string[];
  readonly user: string | null;
  readonly claims: JsonObject | null;
  readonly #fields: UpgradeQuestion['headers'];
  #query: URLSearchParams | undefined;
  #headers: Record<string, string | undefined> | undefined;
  #cookies: Record<string, string | undefined> | undefined;
  #abort: AbortController | undefined;
  #over = false;

  constructor(question: UpgradeQuestion) {
    this.path = question.path;
    this.search = question.query;
    this.address = question.address;
    this.protocols = question.protocols;
    this.user = question.user;
    this.claims = question.claims;
    this.#fields = question.headers;
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.search);
    return this.#query;
  }

  get headers(): Readonly<Record<string, string | undefined>> {
    this.#headers ??= joined(this.#fields);
    return this.#headers;
  }

  get cookies(): Readonly<Record<string, string | undefined>> {
    this.#cookies ??= parseCookies(this.headers['cookie'] ?? '');
    return this.#cookies;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#over) this.#abort.abort(over());
    }
    return this.#abort.signal;
  }

  /** Nobody waits for the answer any more. */
  end(): void {
    this.#over = true;
    this.#abort?.abort(over());
  }
}

function over(): DOMException {
  return new DOMException('the client is gone, or the time for an answer is over', 'AbortError');
}

function joined(fields: UpgradeQuestion['headers']): Record<string, string | undefined> {
  // Without a prototype: a field may have any name.
  const headers: Record<string, string | undefined> = Object.create(null);
  for (const [given, value] of fields) {
    const name = given.toLowerCase();
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (!ONCE.has(name)) headers[name] = `${before}${name === 'cookie' ? '; ' : ', '}${value}`;
  }
  return headers;
}

/** RFC 6265 §5.4, read as leniently as servers do. */
function parseCookies(text: string): Record<string, string | undefined> {
  const cookies: Record<string, string | undefined> = Object.create(null);
  for (const pair of text.split(';')) {
    const equals = pair.indexOf('=');
    if (equals < 0) continue;
    const name = pair.slice(0, equals).trim();
    if (name in cookies) continue;
    const value = pair.slice(equals + 1).trim();
    cookies[name] = decoded(value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value);
  }
  return cookies;
}

function decoded(value: string): string {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
